"""Windowed counts: how many events in the last day, week, month, in event time.

Time is cut into panes of a fixed length, and a window is the last so many panes, the current one included (Li et al.,
"No Pane, No Gain", SIGMOD Record 34(1), 2005). Windows with panes of one length share them.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, NamedTuple

import msgspec

from streams.events import Event
from streams.features.strength import NEUTRAL_STARS

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000


class Window(NamedTuple):
    """A window in event time. name: as in feature names. span_ms: a multiple of pane_ms."""

    name: str
    span_ms: int
    pane_ms: int


DAY: Final = Window("1d", DAY_MS, HOUR_MS)
WEEK: Final = Window("7d", 7 * DAY_MS, DAY_MS)
MONTH: Final = Window("30d", 30 * DAY_MS, DAY_MS)


class Panes(msgspec.Struct, array_like=True, gc=False):
    """Counts of the panes that have any. codes: pane index * number of categories + category, ascending."""

    codes: list[int]
    counts: list[int]

    def __post_init__(self) -> None:
        if len(self.codes) != len(self.counts):
            raise ValueError("pane columns differ in length")


class _Resolution(NamedTuple):
    pane_ms: int
    kept: int


@dataclass(frozen=True)
class WindowedCount:
    """Counts events of some types in windows, by type or together.

    counted: event types. positive_only: leaves out ratings that do not speak for the title. from_page_only: counts only
    events that followed a page (with `page_id`). Events older than the newest by more than the window's span are dropped.
    """

    counted: tuple[str, ...]
    windows: tuple[Window, ...] = (DAY, WEEK, MONTH)
    by_type: bool = False
    positive_only: bool = False
    from_page_only: bool = False
    version: ClassVar[int] = 1
    state_type: ClassVar[Any] = list[Panes]
    _categories: dict[str, int] = field(init=False, repr=False, compare=False)
    _width: int = field(init=False, repr=False, compare=False)
    _resolutions: tuple[_Resolution, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        pane_lengths = sorted({window.pane_ms for window in self.windows})
        resolutions = tuple(
            _Resolution(length, max(window.span_ms // length for window in self.windows if window.pane_ms == length))
            for length in pane_lengths
        )
        categories = {name: place if self.by_type else 0 for place, name in enumerate(self.counted)}
        object.__setattr__(self, "_categories", categories)
        object.__setattr__(self, "_width", len(self.counted) if self.by_type else 1)
        object.__setattr__(self, "_resolutions", resolutions)

    @property
    def types(self) -> frozenset[str]:
        return frozenset(self.counted)

    def names(self, genres: tuple[str, ...]) -> list[str]:
        labels = [f"{name}:" for name in self.counted] if self.by_type else [""]
        return [f"{label}{window.name}" for label in labels for window in self.windows]

    def initialize(self) -> list[Panes]:
        return [Panes([], []) for _ in self._resolutions]

    def update(self, state: list[Panes], event: Event, genres: tuple[str, ...]) -> list[Panes]:
        if self.from_page_only and event.page_id is None:
            return state
        if self.positive_only and event.type == "rate" and (event.value is None or event.value <= NEUTRAL_STARS):
            return state
        category = self._categories[event.type]
        event_time_ms = event.event_time_ms
        width = self._width
        place = 0
        for pane_ms, kept in self._resolutions:
            panes = state[place]
            place += 1
            codes = panes.codes
            code = event_time_ms // pane_ms * width + category
            at = bisect_left(codes, code)
            if at == len(codes):
                codes.append(code)
                panes.counts.append(1)
                if codes[0] < (code // width - kept + 1) * width:
                    _evict(panes, (code // width - kept + 1) * width)
            elif codes[at] == code:
                panes.counts[at] += 1
            elif code >= (codes[-1] // width - kept + 1) * width:
                codes.insert(at, code)
                panes.counts.insert(at, 1)
        return state

    def merge(self, left: list[Panes], right: list[Panes]) -> list[Panes]:
        return [
            self._merge_panes(mine, other, resolution.kept)
            for mine, other, resolution in zip(left, right, self._resolutions, strict=True)
        ]

    def _merge_panes(self, left: Panes, right: Panes, kept: int) -> Panes:
        counts = dict(zip(left.codes, left.counts, strict=True))
        for code, count in zip(right.codes, right.counts, strict=True):
            counts[code] = counts.get(code, 0) + count
        codes = sorted(counts)
        merged = Panes(codes, [counts[code] for code in codes])
        if codes:
            _evict(merged, (codes[-1] // self._width - kept + 1) * self._width)
        return merged

    def result(self, state: list[Panes], now_ms: int) -> dict[str, float]:
        """Return the counts that are not zero; of panes that lie ahead of `now_ms` too, since clocks differ."""
        width = self._width
        place_of = {resolution.pane_ms: place for place, resolution in enumerate(self._resolutions)}
        values: dict[str, float] = {}
        for name, span_ms, pane_ms in self.windows:
            panes = state[place_of[pane_ms]]
            codes, counts = panes.codes, panes.counts
            first = bisect_left(codes, (now_ms // pane_ms - span_ms // pane_ms + 1) * width)
            if first == len(codes):
                continue
            if not self.by_type:
                values[name] = float(sum(counts[first:]))
                continue
            sums: dict[int, int] = {}
            for code, count in zip(codes[first:], counts[first:], strict=True):
                category = code % width
                sums[category] = sums.get(category, 0) + count
            for category, total in sums.items():
                values[f"{self.counted[category]}:{name}"] = float(total)
        return values


def _evict(panes: Panes, first_code: int) -> None:
    gone = bisect_left(panes.codes, first_code)
    del panes.codes[:gone]
    del panes.counts[:gone]
