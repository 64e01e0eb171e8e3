"""An aggregation: one feature, defined once, folded the same online and offline.

`update` may change the state in place; it returns the state to go on with. States are made of lists, dicts with string
keys, strings, bytes, ints, floats and None only, so that packing is exact: a state unpacked folds on to the same bytes.
"""

from __future__ import annotations

from typing import Any, Protocol

from streams.events import Event

State = Any


class Aggregation(Protocol):
    """Folds events of one entity into a state. Implementations are frozen dataclasses: parameters version the state.

    version: raised by hand when the meaning of the state changes though the parameters do not.
    """

    version: int

    def initialize(self) -> State:
        """Return the state of no events."""
        ...

    def update(self, state: State, event: Event, genres: tuple[str, ...]) -> State:
        """Return the state with one more event; `genres` are the title's."""
        ...

    def merge(self, left: State, right: State) -> State:
        """Return the state of both's events, changing neither. Associative, commutative; initialize() is neutral."""
        ...

    def result(self, state: State, now_ms: int) -> dict[str, float] | list[Any]:
        """Return the feature's values at `now_ms` (Unix, ms): scalars by name suffix ("" for none), or a list."""
        ...
