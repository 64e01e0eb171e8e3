"""How much an event says that a member wants more of such a title."""

from __future__ import annotations

from typing import Final

STRENGTHS: Final[dict[str, float]] = {
    "view": 0.2,
    "click": 0.4,
    "play": 1.0,
    "progress": 0.6,
    "complete": 1.5,
    "like": 1.5,
    "list_add": 0.8,
    "skip": -0.5,
    "dislike": -1.5,
    "list_remove": -0.4,
    "search": 0.0,
}
"""Strengths of the event types whose value does not matter; a `play` is the unit."""

NEUTRAL_STARS: Final = 2.5
"""The middle of the scale of 0.5 to 5 stars, as near as its half-star steps come to it."""

STARS_PER_UNIT: Final = 1.25
MIN_RATE_STRENGTH: Final = -1.0
MAX_RATE_STRENGTH: Final = 2.0


def strength(event_type: str, value: float | None) -> float:
    """Return the strength of an event, in plays: negative against the title, 0 for a `rate` without stars.

    >>> strength("play", None), strength("rate", 5.0), strength("rate", 0.5)
    (1.0, 2.0, -1.0)
    """
    if event_type == "rate":
        worth = _HALF_STARS.get(value)
        return _rated(value) if worth is None else worth
    return STRENGTHS[event_type]


def _rated(stars: float | None) -> float:
    if stars is None:
        return 0.0
    return min(max((stars - NEUTRAL_STARS) / STARS_PER_UNIT, MIN_RATE_STRENGTH), MAX_RATE_STRENGTH)


_HALF_STARS: Final[dict[float | None, float]] = {
    stars: _rated(stars) for stars in (None, *(n / 2 for n in range(1, 11)))
}
"""What members give, so that folding a rating is a look-up."""


def is_positive(event_type: str, value: float | None) -> bool:
    """Return whether an event speaks for its title."""
    if event_type == "rate":
        return value is not None and value > NEUTRAL_STARS
    return STRENGTHS[event_type] > 0


POSITIVE_TYPES: Final = frozenset({"rate", *(name for name, worth in STRENGTHS.items() if worth > 0)})
"""The types of which some events are positive."""

PARAMETERS: Final = repr((STRENGTHS, NEUTRAL_STARS, STARS_PER_UNIT, MIN_RATE_STRENGTH, MAX_RATE_STRENGTH))
"""Everything the table says, for the fingerprint of views that fold by it."""
