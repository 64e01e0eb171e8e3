"""History: the newest events of a member, with type, time and value."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple, cast

import msgspec

from streams.events import Event
from streams.features.type_codes import ALL_TYPES, TYPE_BITS, TYPE_CODES, TYPE_MASK, TYPE_NAMES

_PROGRESS = TYPE_CODES["progress"]


class HistoryEntry(NamedTuple):
    """One event of a history. item_id: empty for a search. value: stars, watched seconds, or None."""

    item_id: str
    type: str
    event_time_ms: int
    value: float | None


class HistoryState(msgspec.Struct, array_like=True, gc=False):
    """Columns, oldest event first. codes: time and type (see type_codes), ascending."""

    codes: list[int]
    items: list[str]
    values: list[float | None]

    def __post_init__(self) -> None:
        if not len(self.codes) == len(self.items) == len(self.values):
            raise ValueError("history columns differ in length")


@dataclass(frozen=True)
class History:
    """The newest `bound` events by event time, then by type, title and value, whatever order they arrive in.

    A player reports its progress again and again: a progress event right after one of the same title replaces it.
    """

    bound: int
    version: ClassVar[int] = 1
    types: ClassVar[frozenset[str]] = ALL_TYPES
    state_type: ClassVar[Any] = HistoryState

    def names(self, genres: tuple[str, ...]) -> list[str]:
        return []

    def initialize(self) -> HistoryState:
        return HistoryState([], [], [])

    def update(self, state: HistoryState, event: Event, genres: tuple[str, ...]) -> HistoryState:
        code = event.event_time_ms << TYPE_BITS | TYPE_CODES[event.type]
        codes = state.codes
        value = event.value
        if value is not None:
            value = float(value)
        if codes:
            last = codes[-1]
            if code <= last:
                self._insert(state, code, event.item_id, value)
                return state
            if code & TYPE_MASK == _PROGRESS == last & TYPE_MASK and state.items[-1] == event.item_id:
                codes[-1] = code
                state.values[-1] = value
                return state
        codes.append(code)
        state.items.append(event.item_id)
        state.values.append(value)
        if len(codes) > self.bound:
            del codes[0], state.items[0], state.values[0]
        return state

    def _insert(self, state: HistoryState, code: int, item_id: str, value: float | None) -> None:
        codes, items, values = state.codes, state.items, state.values
        rank = (item_id, _value_rank(value))
        at = bisect_right(codes, code)
        while at and codes[at - 1] == code and (items[at - 1], _value_rank(values[at - 1])) > rank:
            at -= 1
        codes.insert(at, code)
        items.insert(at, item_id)
        values.insert(at, value)
        if len(codes) > self.bound:
            del codes[0], items[0], values[0]

    def merge(self, left: HistoryState, right: HistoryState) -> HistoryState:
        rows = [*_rows(left), *_rows(right)]
        rows.sort(key=_row_rank)
        rows = rows[-self.bound :]
        return HistoryState([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])

    def result(self, state: HistoryState, now_ms: int) -> list[HistoryEntry]:
        """Return the entries, newest first."""
        return newest_entries(state, self.bound)


def newest_entries(state: HistoryState, limit: int) -> list[HistoryEntry]:
    """Return the newest `limit` entries, newest first."""
    codes = state.codes[: -limit - 1 : -1]
    types = [TYPE_NAMES[code & TYPE_MASK] for code in codes]
    times_ms = [code >> TYPE_BITS for code in codes]
    columns = zip(state.items[: -limit - 1 : -1], types, times_ms, state.values[: -limit - 1 : -1], strict=True)
    return list(map(_entry, columns))


_entry = cast("Callable[[tuple[Any, ...]], HistoryEntry]", partial(tuple.__new__, HistoryEntry))
"""`HistoryEntry._make` without its detour: half the time of a page's first look at a member."""


def _rows(state: HistoryState) -> list[tuple[int, str, float | None]]:
    return list(zip(state.codes, state.items, state.values, strict=True))


def _row_rank(row: tuple[int, str, float | None]) -> tuple[int, str, tuple[bool, float]]:
    return row[0], row[1], _value_rank(row[2])


def _value_rank(value: float | None) -> tuple[bool, float]:
    return (False, 0.0) if value is None else (True, value)
