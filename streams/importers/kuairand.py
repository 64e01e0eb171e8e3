"""KuaiRand (Gao et al., CIKM 2022): one impression of a short video a row, as the events that it stands for.

| row | event | at | value |
|---|---|---|---|
| `is_click` | play | `time_ms` | watched seconds |
| `long_view` | complete | the end of watching | |
| `is_like` | like | the end of watching | |
| `is_hate` | dislike | the end of watching | |
| none of these | skip | `time_ms` | |

A row's events carry ids derived from the whole row, so that a row that stands in the file twice is a duplicate
delivery: the platform counts it once. `is_follow`, `is_comment` and `is_forward` speak of authors and friends, and
are left out. Videos have no titles: their name is "Video <id>", their genres are their tags. Ids get a letter
(`u712`, `v5239`).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streams.catalogue import Title
from streams.errors import FixRequest
from streams.events import MAX_EVENT_TIME_MS, Event
from streams.importers.columns import Column, Rows, read_columns
from streams.importers.dataset import Dataset, address_of

MAX_DURATION_MS: Final = 86_400_000
"""A day: longer watching of one short video is a fault of the record."""

_LOG_COLUMNS: Final = (
    Column("user_id", "integer"),
    Column("video_id", "integer"),
    Column("time_ms", "integer", 0, MAX_EVENT_TIME_MS - MAX_DURATION_MS - 1),
    Column("is_click", "integer", 0, 1),
    Column("long_view", "integer", 0, 1),
    Column("is_like", "integer", 0, 1),
    Column("is_hate", "integer", 0, 1),
    Column("play_time_ms", "integer", 0, MAX_DURATION_MS),
    Column("is_follow", "integer", 0, 1),
    Column("is_comment", "integer", 0, 1),
    Column("is_forward", "integer", 0, 1),
    Column("duration_ms", "integer", 0, MAX_DURATION_MS),
    Column("date", "integer"),
    Column("hourmin", "integer"),
    Column("is_rand", "integer", 0, 1),
    Column("profile_stay_time", "integer"),
    Column("comment_stay_time", "integer"),
    Column("is_profile_enter", "integer", 0, 1),
    Column("tab", "integer"),
)
"""All that tells rows apart: ids are derived from these."""
_VIDEO_COLUMNS: Final = (
    Column("video_id", "integer"),
    Column("upload_dt", "text"),
    Column("video_duration", "number", 0, MAX_DURATION_MS, optional=True),
    Column("tag", "text", optional=True),
)


def read_kuairand(folder: Path) -> Dataset:
    """Return the data set in `folder`: every `log_*.csv(.gz)`, and `video_features_basic*.csv(.gz)` for the titles.

    Raises FixRequest naming file, line and fix when a file is missing or not what it should be.
    """
    logs, videos = _find(folder, "log_*.csv*"), _find(folder, "video_features_basic*.csv*")
    titles = [read_columns(file, _VIDEO_COLUMNS) for file in videos]
    rows = [read_columns(file, _LOG_COLUMNS) for file in logs]
    bad = titles[0].bad
    for part in (*titles[1:], *rows):
        bad.extend(part.bad)
    events = _events({c.name: np.concatenate([part[c.name] for part in rows]) for c in _LOG_COLUMNS})
    return Dataset("kuairand", address_of(*videos, *logs), [t for part in titles for t in _titles(part)], events, bad)


def _find(folder: Path, pattern: str) -> list[Path]:
    files = sorted(folder.glob(pattern))
    if not files:
        raise FixRequest(str(folder), f"it holds no {pattern}; name the folder of KuaiRand's CSV files")
    return files


def _titles(rows: Rows) -> list[Title]:
    durations = np.nan_to_num(rows["video_duration"] / 1000).astype(np.int64).tolist()
    return [
        Title(f"v{video}", f"Video {video}", _year(uploaded), _genres(tag), duration)
        for video, uploaded, tag, duration in zip(
            rows["video_id"].tolist(), rows["upload_dt"], rows["tag"], durations, strict=True
        )
    ]


def _year(date: str) -> int:
    return int(date[:4]) if date[:4].isdecimal() else 0


def _genres(tag: str) -> tuple[str, ...]:
    return tuple(f"Tag {part}" for part in tag.split(",") if part)


def _events(columns: dict[str, NDArray[Any]]) -> list[Event]:
    """Return the rows' events, ordered by (event time, order of the rows)."""
    ids = _row_ids([columns[c.name] for c in _LOG_COLUMNS])
    names = [_LOG_COLUMNS[i].name for i in range(8)]
    events: list[Event] = []
    for row_id, *values in zip(ids, *(columns[name].tolist() for name in names), strict=True):
        events += _row_events(row_id, *values)
    events.sort(key=lambda event: event.event_time_ms)
    return events


def _row_events(
    row_id: str,
    user: int,
    video: int,
    time_ms: int,
    click: int,
    long_view: int,
    liked: int,
    hated: int,
    watched_ms: int,
) -> list[Event]:
    member_id, item_id, end_ms = f"u{user}", f"v{video}", time_ms + watched_ms
    if not (click or long_view or liked or hated):
        return [Event(f"{row_id}-skip", "skip", member_id, time_ms, item_id)]
    events = []
    if click:
        events.append(Event(f"{row_id}-play", "play", member_id, time_ms, item_id, value=watched_ms / 1000))
    if long_view:
        events.append(Event(f"{row_id}-complete", "complete", member_id, end_ms, item_id))
    if liked:
        events.append(Event(f"{row_id}-like", "like", member_id, end_ms, item_id))
    if hated:
        events.append(Event(f"{row_id}-dislike", "dislike", member_id, end_ms, item_id))
    return events


def _row_ids(columns: list[NDArray[Any]]) -> list[str]:
    """Return an id for each row, the same for the same row: 96 bits of BLAKE2b, no two alike in 2**40 rows or so."""
    texts = pc.binary_join_element_wise(*(pa.array(column).cast(pa.string()) for column in columns), ",")
    blake2b = hashlib.blake2b
    return [f"kr-{blake2b(text.encode(), digest_size=12).hexdigest()}" for text in texts.to_pylist()]
