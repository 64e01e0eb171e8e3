"""An aggregation: one feature, defined once, folded the same online and offline.

`update` may change the state in place; it returns the state to go on with. States are made of lists, tuples, dicts with
string keys, strings, bytes, ints, floats and None only (or msgspec Structs of these, array-like), so that packing is
exact: unpack(pack(state)) folds on to the same bytes.
"""

from __future__ import annotations

from typing import Any, Protocol

from streams.events import Event

State = Any


class Aggregation(Protocol):
    """Folds events of one entity into a state. Implementations are frozen dataclasses, whose parameters are part of the
    view's fingerprint."""

    @property
    def version(self) -> int:
        """A number raised by hand when the meaning of the state changes though the parameters do not."""
        ...

    @property
    def types(self) -> frozenset[str]:
        """The event types that can change the state; a fold need not call `update` for others."""
        ...

    @property
    def state_type(self) -> Any:
        """The type of the state, by which packed bytes are checked when they are read."""
        ...

    def names(self, genres: tuple[str, ...]) -> list[str]:
        """Return the name suffixes of the scalars that `result` may hold ([] for a list), given all genres."""
        ...

    def initialize(self) -> State:
        """Return the state of no events."""
        ...

    def update(self, state: State, event: Event, genres: tuple[str, ...]) -> State:
        """Return the state with one more event; `genres` are the title's."""
        ...

    def merge(self, left: State, right: State) -> State:
        """Return the state of both's events, without changing either. Associative and commutative, and initialize() is
        neutral."""
        ...

    def result(self, state: State, now_ms: int) -> dict[str, float] | list[Any]:
        """Return the feature's values at `now_ms` (Unix, ms): scalars by name suffix ("" for none), or a list.

        Scalars that are zero may be left out.
        """
        ...


class Derived(Protocol):
    """A feature computed from the states of other aggregations when it is read; it keeps no state of its own.

    reads: the names of those aggregations. Implementations are frozen dataclasses.
    """

    @property
    def reads(self) -> tuple[str, ...]:
        """The names of the aggregations whose states `result` takes, in order."""
        ...

    def names(self) -> list[str]:
        """Return the full names of the scalars that `result` holds."""
        ...

    def result(self, states: list[State], watermark_ms: int, now_ms: int) -> dict[str, float]:
        """Return values by full name at `now_ms`; `watermark_ms` is the entity's highest event time."""
        ...
