"""The title views: what members did with a title, and how often it was shown.

A title's state is kept for each partition of the topic that it is folded from, and merged when it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.events import Event
from streams.features.click_through import click_through
from streams.features.entity_state import EntityState
from streams.features.first_event import FirstEvent
from streams.features.popularity import Popularity
from streams.features.trend import Trend
from streams.features.view import View
from streams.features.windowed_count import DAY_MS, MONTH, WindowedCount
from streams.impressions import Impression
from streams.topics import IMPRESSIONS, MEMBER_EVENTS

PARTITION_BYTES: Final = 2

HALF_LIVES_MS: Final = tuple((f"{days}d", days * DAY_MS) for days in (1, 7, 30, 90, 365))

_COUNT = WindowedCount(counted=("play", "rate"), positive_only=True)
_CLICKS = WindowedCount(counted=("click", "play"), windows=(MONTH,), from_page_only=True)
_SHOWN = WindowedCount(counted=("view",))

TITLE: Final = View(
    name="title",
    topic=MEMBER_EVENTS,
    aggregations={
        "popularity": Popularity(half_lives_ms=HALF_LIVES_MS),
        "count": _COUNT,
        "clicks": _CLICKS,
        "age_days": FirstEvent(),
    },
    derived=(Trend(counts=_COUNT),),
)

TITLE_SHOWN: Final = View(name="title_shown", topic=IMPRESSIONS, aggregations={"shown": _SHOWN})

CLICK_THROUGH: Final = "click_through"
"""Clicks and plays that followed a page over impressions, in the last 30 days; from both views."""

TITLE_FEATURES: Final = (*TITLE.feature_names(()), *TITLE_SHOWN.feature_names(()), CLICK_THROUGH)
"""The names of all scalar features of a title."""


def title_key(item_id: str, partition: int) -> bytes:
    """Return the key of a title's state in one partition.

    >>> split_title_key(title_key("t1", 3))
    ('t1', 3)
    """
    return item_id.encode() + b"\0" + partition.to_bytes(PARTITION_BYTES, "big")


def split_title_key(key: bytes) -> tuple[str, int]:
    """Return (item id, partition) of a title's key."""
    return key[: -PARTITION_BYTES - 1].decode(), int.from_bytes(key[-PARTITION_BYTES:], "big")


def shown_event(impression: Impression, item_id: str) -> Event:
    """Return what TITLE_SHOWN folds for one title of an impression: a `view` at the time of serving."""
    return Event(
        event_id=impression.page_id,
        type="view",
        member_id=impression.member_id,
        event_time_ms=impression.served_at_ms,
        item_id=item_id,
        page_id=impression.page_id,
    )


def title_features(title: EntityState | None, shown: EntityState | None, now_ms: int) -> dict[str, float]:
    """Return a title's features by name, from its merged states; those that are zero may be left out."""
    values: dict[str, float] = {}
    for view, state in ((TITLE, title), (TITLE_SHOWN, shown)):
        if state is not None:
            values.update(
                {name: value for name, value in view.result(state, now_ms).items() if isinstance(value, float)}
            )
    values[CLICK_THROUGH] = click_through(values.get("clicks:30d", 0.0), values.get("shown:30d", 0.0))
    return values


def title_vector(
    title: EntityState | None, shown: EntityState | None, names: Sequence[str], now_ms: int
) -> NDArray[np.float32]:
    """Return a title's features `names`, float32 [len(names)]; 0.0 for those that are unknown or missing."""
    values = title_features(title, shown, now_ms)
    return np.array([values.get(name, 0.0) for name in names], dtype=np.float32)
