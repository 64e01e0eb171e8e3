"""Who the members are and what they like: latent tastes, fixed by a world's seed and a member's id.

A title's traits follow from its series, its genres and its id, a member's tastes from their id, so that a simulator
that only sees served pages and a generated past agree on who likes what. The attraction of a title for a member is the
logistic of a dot product of latent factors, as in matrix factorisation (Koren, Bell & Volinsky 2009), plus the title's
appeal to everybody.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.simulation.catalogue import series_of
from streams.simulation.names import GENRES

FACTORS: Final = 8
FAVOURITES: Final = 3
"""Genres a member is fond of, the first most."""
TASTE_SCALE: Final = 1.6
"""Spread of the taste term: some titles of a favourite genre attract nine times in ten, most titles hardly ever."""
APPEAL_SCALE: Final = 0.7
BASE_LOGIT: Final = -2.2
"""A title that is nothing special to a member attracts them one time in ten."""
MAX_TRAITS: Final = 100_000
"""Titles whose traits a world holds at once, some 20 MB."""

COUNTRIES: Final = ("NL", "DE", "FR", "GB", "US", "BR", "IN", "JP")
COUNTRY_SHARES: Final = (0.12, 0.14, 0.12, 0.15, 0.25, 0.08, 0.09, 0.05)
DEVICES: Final = ("tv", "phone", "web", "tablet")
DEVICE_SHARES: Final = (0.45, 0.3, 0.17, 0.08)

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Traits:
    """What a title is like. vector: float64 [FACTORS]; appeal: to everybody, in logits."""

    vector: Vector
    appeal: float


@dataclass(frozen=True)
class Member:
    """Who a member is. tastes: float64 [FACTORS]; activity: how often they come, 1 on average; patience: how far down a
    page they look, 1 on average."""

    member_id: str
    tastes: Vector
    favourites: tuple[str, ...]
    activity: float
    patience: float
    country: str
    device: str


def member_name(index: int) -> str:
    """Return the id of a simulated member, from 0.

    >>> member_name(0)
    'm0001'
    """
    return f"m{index + 1:04d}"


class World:
    """Traits and tastes by seed, derived when asked for and held within bounds."""

    def __init__(self, seed: int = 1) -> None:
        self.seed = seed
        self._genres: dict[str, Vector] = {}
        self._traits: dict[str, Traits] = {}

    def traits(self, item_id: str, title: str, genres: Sequence[str]) -> Traits:
        """Return a title's traits: mostly its genres', some of its series', a little of its own."""
        if item_id not in self._traits:
            if len(self._traits) >= MAX_TRAITS:
                self._traits.clear()
            self._traits[item_id] = self._derive(item_id, title, genres)
        return self._traits[item_id]

    def _derive(self, item_id: str, title: str, genres: Sequence[str]) -> Traits:
        series = self._rng("series", series_of(title)[0])
        own = self._rng("title", item_id)
        mixed = np.mean([self._genre(genre) for genre in genres], axis=0) if genres else np.zeros(FACTORS)
        vector = _unit(mixed) + 0.75 * _unit(series.normal(size=FACTORS)) + 0.25 * _unit(own.normal(size=FACTORS))
        return Traits(_unit(vector), float(0.8 * series.normal() + 0.6 * own.normal()))

    def member(self, member_id: str) -> Member:
        """Return who a member is."""
        rng = self._rng("member", member_id)
        favourites = [GENRES[i] for i in rng.choice(len(GENRES), size=FAVOURITES, replace=False)]
        liked = sum(weight * self._genre(genre) for weight, genre in zip((1.0, 0.6, 0.4), favourites, strict=True))
        tastes = _unit(np.asarray(liked)) + 0.7 * _unit(rng.normal(size=FACTORS))
        return Member(
            member_id,
            _unit(tastes),
            tuple(favourites),
            activity=float(rng.lognormal(-0.32, 0.8)),
            patience=float(rng.lognormal(-0.05, 0.3)),
            country=COUNTRIES[int(rng.choice(len(COUNTRIES), p=COUNTRY_SHARES))],
            device=DEVICES[int(rng.choice(len(DEVICES), p=DEVICE_SHARES))],
        )

    def _genre(self, genre: str) -> Vector:
        if genre not in self._genres:
            self._genres[genre] = _unit(self._rng("genre", genre).normal(size=FACTORS))
        return self._genres[genre]

    def _rng(self, kind: str, name: str) -> np.random.Generator:
        digest = hashlib.blake2b(f"{self.seed}/{kind}/{name}".encode(), digest_size=16).digest()
        return np.random.default_rng(int.from_bytes(digest, "big"))


def attraction(member: Member, traits: Traits) -> float:
    """Return the probability that a member who looks at a title wants it, between 0 and 1."""
    return 1.0 / (1.0 + math.exp(-float(logits(member.tastes, traits.vector, np.asarray(traits.appeal)))))


def logits(tastes: Vector, vectors: Vector, appeals: Vector) -> Vector:
    """Return the attraction in logits of titles (vectors [..., FACTORS], appeals [...]) for a member's tastes."""
    taste = TASTE_SCALE * math.sqrt(FACTORS) * (vectors @ tastes)
    result: Vector = BASE_LOGIT + taste + APPEAL_SCALE * appeals
    return result


def _unit(vector: Vector) -> Vector:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
