"""A view: the features of one kind of entity, folded together into one state, packed into one value.

A packed state is: position (8 bytes, big-endian), fingerprint of the view (4 bytes, big-endian), and a MessagePack
array of the watermark and each aggregation's state. The fingerprint covers every definition and parameter that shapes
the state, so a state of another version is never misread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from struct import Struct
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.errors import Corrupt
from streams.events import EVENT_TYPES
from streams.features import strength
from streams.features.aggregation import Aggregation, Derived, State
from streams.features.compiled_fold import Fold, compile_fold
from streams.features.entity_state import EntityState
from streams.positions import NOTHING

_HEADER: Final = Struct(">QI")
_encoder = msgspec.msgpack.Encoder()

PLANS_KEPT: Final = 64
"""Vector plans remembered, one for each list of feature names; a few models are in use at a time."""


class OtherVersion(Corrupt):
    """A state was packed by another version of its view; it must be rebuilt from the log or the history."""


@dataclass(frozen=True, eq=False)
class View:
    """Features of one kind of entity, folded from one topic.

    aggregations: by name; the name starts the feature names. derived: computed when read. distinct: the name of the
    aggregation that remembers event ids, if the view takes a repeated event id for a client's retry. ttl_ms: an entity
    without events for so long starts anew, and events older than that are not folded in; None for never.
    """

    name: str
    topic: str
    aggregations: dict[str, Aggregation]
    derived: tuple[Derived, ...] = ()
    distinct: str | None = None
    ttl_ms: int | None = None
    fingerprint: int = field(init=False)
    slots: dict[str, int] = field(init=False, repr=False)
    fold: Fold = field(init=False, repr=False)
    """Folds the event at `position` into a state, in place, given its title's genres. Returns False, having changed
    nothing, if the state covers the position already; and False, having advanced the position only, if the event id is
    one that the state remembers."""
    _decoder: msgspec.msgpack.Decoder[Any] = field(init=False, repr=False)
    _plan: Callable[[tuple[str, ...]], VectorPlan] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        names = list(self.aggregations)
        for name, value in {
            "fingerprint": _fingerprint(self),
            "slots": {name: slot for slot, name in enumerate(names)},
            "fold": compile_fold(self.aggregations, self.distinct, self.ttl_ms),
            "_decoder": msgspec.msgpack.Decoder(_state_type(self.aggregations.values())),
            "_plan": lru_cache(maxsize=PLANS_KEPT)(lambda names: VectorPlan(self, names)),
        }.items():
            object.__setattr__(self, name, value)

    def initialize(self) -> EntityState:
        """Return the state of no events, at position NOTHING."""
        return EntityState(NOTHING, 0, [aggregation.initialize() for aggregation in self.aggregations.values()])

    def expired(self, state: EntityState, now_ms: int) -> bool:
        """Return whether the entity has had no event for longer than the view's TTL."""
        return self.ttl_ms is not None and now_ms - state.watermark_ms > self.ttl_ms

    def pack(self, state: EntityState) -> bytes:
        """Return the stored form of a state."""
        return _HEADER.pack(state.position, self.fingerprint) + _encoder.encode([state.watermark_ms, *state.parts])

    def unpack(self, value: bytes) -> EntityState:
        """Return a state from its stored form. Raises Corrupt, and OtherVersion if another version packed it."""
        if len(value) <= _HEADER.size:
            raise Corrupt(f"a {self.name} state has {len(value)} bytes")
        position, fingerprint = _HEADER.unpack_from(value)
        if fingerprint != self.fingerprint:
            raise OtherVersion(f"a {self.name} state has fingerprint {fingerprint:08x}, not {self.fingerprint:08x}")
        try:
            watermark_ms, *parts = self._decoder.decode(memoryview(value)[_HEADER.size :])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Corrupt(f"a {self.name} state cannot be read: {error}") from None
        return EntityState(position, watermark_ms, parts)

    def merge(self, states: Sequence[EntityState]) -> EntityState:
        """Return the state of the events of all `states`, which share none, at the highest position; changes none."""
        if not states:
            return self.initialize()
        merged = states[0]
        for state in states[1:]:
            merged = EntityState(
                max(merged.position, state.position),
                max(merged.watermark_ms, state.watermark_ms),
                [
                    aggregation.merge(left, right)
                    for aggregation, left, right in zip(
                        self.aggregations.values(), merged.parts, state.parts, strict=True
                    )
                ],
            )
        return merged

    def result(self, state: EntityState, now_ms: int) -> dict[str, float | list[Any]]:
        """Return all features by name at `now_ms`: scalars, of which zeros may be left out, and lists.

        A state cannot be read as of before its newest event: an earlier `now_ms` counts as the time of that.
        """
        now_ms = max(now_ms, state.watermark_ms)
        values: dict[str, float | list[Any]] = {}
        for (name, aggregation), part in zip(self.aggregations.items(), state.parts, strict=True):
            result = aggregation.result(part, now_ms)
            if isinstance(result, list):
                values[name] = result
            else:
                values.update({full_name(name, suffix): value for suffix, value in result.items()})
        if state.position != NOTHING:
            for derived in self.derived:
                values.update(derived.result(self._sources(derived, state), state.watermark_ms, now_ms))
        return values

    def _sources(self, derived: Derived, state: EntityState) -> list[State]:
        return [state.parts[self.slots[name]] for name in derived.reads]

    def feature_names(self, genres: Sequence[str]) -> list[str]:
        """Return the names of all scalar features, given the genres of the catalogue."""
        names = [
            full_name(name, suffix)
            for name, aggregation in self.aggregations.items()
            for suffix in aggregation.names(tuple(genres))
        ]
        return names + [name for derived in self.derived for name in derived.names()]

    def vector(self, state: EntityState, names: Sequence[str], now_ms: int) -> NDArray[np.float32]:
        """Return the features `names` at `now_ms`, float32 [len(names)]; 0.0 for those that are unknown or missing."""
        return np.array(self._plan(tuple(names)).values(state, now_ms), dtype=np.float32)

    def vector_plan(self, names: Sequence[str]) -> VectorPlan:
        """Return the plan by which `vector` reads the features `names`; keep it to save the look-up."""
        return self._plan(tuple(names))


class VectorPlan:
    """How to read a list of features from a state: which aggregations to ask, and where each value goes."""

    def __init__(self, view: View, names: tuple[str, ...]) -> None:
        places = {name: place for place, name in enumerate(names)}
        self._width = len(names)
        self._kept: list[tuple[int, Callable[[State, int], Any], dict[str, int]]] = []
        for slot, (name, aggregation) in enumerate(view.aggregations.items()):
            wanted = {_suffix(name, full): place for full, place in places.items() if _belongs(name, full)}
            if wanted and aggregation.names(("a genre",)):
                self._kept.append((slot, aggregation.result, wanted))
        self._derived = [
            (derived, [view.slots[name] for name in derived.reads], places)
            for derived in view.derived
            if any(name in places for name in derived.names())
        ]

    def values(self, state: EntityState, now_ms: int) -> list[float]:
        """Return the features in the order of the names, at the earliest as of the state's newest event."""
        now_ms = max(now_ms, state.watermark_ms)
        row = [0.0] * self._width
        parts = state.parts
        for slot, result, places in self._kept:
            for suffix, value in result(parts[slot], now_ms).items():
                place = places.get(suffix)
                if place is not None:
                    row[place] = value
        if state.position != NOTHING:
            for derived, slots, places in self._derived:
                values = derived.result([parts[slot] for slot in slots], state.watermark_ms, now_ms)
                for name, value in values.items():
                    place = places.get(name)
                    if place is not None:
                        row[place] = value
        return row


def full_name(name: str, suffix: str) -> str:
    """Return a feature's name from its aggregation's name and the suffix.

    >>> full_name("count", "play:7d"), full_name("age_days", "")
    ('count:play:7d', 'age_days')
    """
    return f"{name}:{suffix}" if suffix else name


def _belongs(name: str, full: str) -> bool:
    return full == name or full.startswith(f"{name}:")


def _suffix(name: str, full: str) -> str:
    return full[len(name) + 1 :]


def _state_type(aggregations: Any) -> Any:
    return tuple[(int, *(aggregation.state_type for aggregation in aggregations))]  # type: ignore[misc]  # built at run time


def _fingerprint(view: View) -> int:
    text = repr(
        (
            view.name,
            view.ttl_ms,
            view.distinct,
            [(name, repr(aggregation), aggregation.version) for name, aggregation in view.aggregations.items()],
            EVENT_TYPES,
            strength.PARAMETERS,
        )
    )
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big")
