"""Windowed counts: how many events in the last day, week, month, in event time.

Time is cut into panes of a fixed length, and a window is the last so many panes, the current one included (Li et al.,
"No Pane, No Gain", SIGMOD Record 34(1), 2005). Windows with panes of one length share them.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, NamedTuple

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


Panes = list[int]
"""Counts of the panes that have any, ascending: (pane index * categories + category) << COUNT_BITS | count."""

COUNT_BITS: Final = 32
"""A pane counts up to 4 billion, 49,000 a second all day; with the codes of the year 2100 that makes 56 bits."""

COUNT_MASK: Final = (1 << COUNT_BITS) - 1


class _Step(NamedTuple):
    """How windows with panes of one length are counted. place: of the panes in the state. width: codes of a pane."""

    place: int
    pane_ms: int
    width: int
    kept: int
    """From the newest pane's first code back to the oldest kept pane's."""


@dataclass(frozen=True)
class WindowedCount:
    """Counts events of some types in windows, by type or together.

    counted: event types. positive_only: leaves out ratings that do not speak for the title. from_page_only: counts only
    events that followed a page (with `page_id`). Events older than the newest by more than the window are dropped.
    """

    counted: tuple[str, ...]
    windows: tuple[Window, ...] = (DAY, WEEK, MONTH)
    by_type: bool = False
    positive_only: bool = False
    from_page_only: bool = False
    version: ClassVar[int] = 1
    _categories: dict[str, int] = field(init=False, repr=False, compare=False)
    _steps: tuple[_Step, ...] = field(init=False, repr=False, compare=False)
    _none: tuple[tuple[int, ...], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        width = len(self.counted) if self.by_type else 1
        lengths = sorted({window.pane_ms for window in self.windows})
        steps = tuple(_Step(place, length, width, self._kept(length) * width) for place, length in enumerate(lengths))
        object.__setattr__(self, "_categories", {n: i if self.by_type else 0 for i, n in enumerate(self.counted)})
        object.__setattr__(self, "_steps", steps)
        object.__setattr__(self, "_none", ((),) * len(steps))

    def _kept(self, pane_ms: int) -> int:
        return max(window.span_ms // pane_ms for window in self.windows if window.pane_ms == pane_ms) - 1

    @property
    def types(self) -> frozenset[str]:
        return frozenset(self.counted)

    @property
    def state_type(self) -> Any:
        return tuple[(Panes,) * len(self._steps)]  # type: ignore[misc]  # as many as there are pane lengths

    def names(self, genres: tuple[str, ...]) -> list[str]:
        labels = [f"{name}:" for name in self.counted] if self.by_type else [""]
        return [f"{label}{window.name}" for label in labels for window in self.windows]

    def initialize(self) -> tuple[Panes, ...]:
        return tuple(map(list, self._none))

    def update(self, state: tuple[Panes, ...], event: Event, genres: tuple[str, ...]) -> tuple[Panes, ...]:
        if self.from_page_only and event.page_id is None:
            return state
        if self.positive_only and event.type == "rate" and (event.value is None or event.value <= NEUTRAL_STARS):
            return state
        category = self._categories[event.type]
        event_time_ms = event.event_time_ms
        for place, pane_ms, width, kept in self._steps:
            panes = state[place]
            code = event_time_ms // pane_ms * width + category
            if not panes:
                panes.append(code << COUNT_BITS | 1)
                continue
            newest = panes[-1] >> COUNT_BITS
            if code == newest:
                panes[-1] += 1
            elif code > newest:
                oldest = code - category - kept
                if panes[0] >> COUNT_BITS < oldest:
                    del panes[: _place(panes, oldest)]
                panes.append(code << COUNT_BITS | 1)
            elif code >= newest - newest % width - kept:
                _count_late(panes, code)
        return state

    def merge(self, left: tuple[Panes, ...], right: tuple[Panes, ...]) -> tuple[Panes, ...]:
        pairs = zip(left, right, self._steps, strict=True)
        return tuple(_merge(mine, other, step.width, step.kept) for mine, other, step in pairs)

    def result(self, state: tuple[Panes, ...], now_ms: int) -> dict[str, float]:
        """Return the counts that are not zero; of panes that lie ahead of `now_ms` too, since clocks differ."""
        values: dict[str, float] = {}
        for place, length, width, _ in self._steps:
            panes = state[place]
            for name, span_ms, pane_ms in self.windows:
                if pane_ms != length:
                    continue
                oldest = (now_ms // pane_ms - span_ms // pane_ms + 1) * width
                for category, total in _totals(panes[_place(panes, oldest) :], width).items():
                    values[f"{self.counted[category]}:{name}" if self.by_type else name] = float(total)
        return values


def _place(panes: Panes, code: int) -> int:
    """Return where the first count of `code` or later is."""
    return bisect_left(panes, code << COUNT_BITS)


def _count_late(panes: Panes, code: int) -> None:
    """Count an event of another than the newest pane and type."""
    at = _place(panes, code)
    if panes[at] >> COUNT_BITS == code:
        panes[at] += 1
    else:
        panes.insert(at, code << COUNT_BITS | 1)


def _merge(left: Panes, right: Panes, width: int, kept: int) -> Panes:
    counts: dict[int, int] = {}
    for pane in (*left, *right):
        code = pane >> COUNT_BITS
        counts[code] = counts.get(code, 0) + (pane & COUNT_MASK)
    merged = [code << COUNT_BITS | count for code, count in sorted(counts.items())]
    if merged:
        del merged[: _place(merged, (merged[-1] >> COUNT_BITS) // width * width - kept)]
    return merged


def _totals(panes: Panes, width: int) -> dict[int, int]:
    """Return the sum of each category that has any."""
    totals: dict[int, int] = {}
    for pane in panes:
        category = (pane >> COUNT_BITS) % width
        totals[category] = totals.get(category, 0) + (pane & COUNT_MASK)
    return totals
