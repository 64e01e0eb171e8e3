from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from streams.catalogue import Title
from streams.errors import FixRequest
from streams.events import check_event
from streams.importers.kuairand import read_kuairand
from tests.streams.importers.real_data import folder_or_skip

HEADER = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
    "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab"
)
VIDEOS = 'video_id,author_id,upload_dt,video_duration,tag\n52,9,2022-04-10,87433.0,"20,43"\n53,9,2022-04-11,,\n'


def row(user: int = 7, video: int = 52, time_ms: int = 1000, *, click: int = 0, like: int = 0, hate: int = 0,
        long_view: int = 0, watched_ms: int = 500) -> str:  # fmt: skip
    return f"{user},{video},20220425,0,{time_ms},{click},{like},0,0,0,{hate},{long_view},{watched_ms},49866,0,0,0,0,1"


def write(folder: Path, *rows: str) -> Path:
    (folder / "log_standard.csv.gz").write_bytes(gzip.compress("\n".join([HEADER, *rows, ""]).encode()))
    (folder / "video_features_basic.csv").write_text(VIDEOS)
    return folder


@pytest.mark.parametrize(
    ("text", "types"),
    [
        (row(), ["skip"]),
        (row(click=1), ["play"]),
        (row(click=1, long_view=1, like=1), ["play", "complete", "like"]),
        (row(long_view=1), ["complete"]),
        (row(hate=1), ["dislike"]),
    ],
)
def test_a_row_is_the_events_it_stands_for(tmp_path: Path, text: str, types: list[str]) -> None:
    events = read_kuairand(write(tmp_path, text)).events
    assert [event.type for event in events] == types
    assert {(event.member_id, event.item_id) for event in events} == {("u7", "v52")}


def test_a_play_says_how_long_and_what_follows_comes_at_its_end(tmp_path: Path) -> None:
    play, like = read_kuairand(write(tmp_path, row(click=1, like=1, watched_ms=61_802))).events
    assert (play.value, play.event_time_ms) == (61.802, 1000)
    assert like.event_time_ms == 62_802


def test_the_same_row_twice_has_the_same_ids_and_any_other_row_has_others(tmp_path: Path) -> None:
    events = read_kuairand(write(tmp_path, row(click=1), row(click=1), row(click=1, watched_ms=501))).events
    ids = [event.event_id for event in events]
    assert ids[0] == ids[1] != ids[2]


def test_videos_are_titles_named_by_their_id_with_tags_as_genres(tmp_path: Path) -> None:
    assert read_kuairand(write(tmp_path)).titles == [
        Title("v52", "Video 52", 2022, ("Tag 20", "Tag 43"), 87),
        Title("v53", "Video 53", 2022, (), 0),
    ]


def test_a_folder_without_a_log_says_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(FixRequest, match=r"it holds no log_\*\.csv"):
        read_kuairand(tmp_path)


def test_the_whole_data_set_is_read_with_its_duplicates() -> None:
    dataset = read_kuairand(folder_or_skip("kuairand-pure"))
    rows = [event.event_id.rsplit("-", 1)[0] for event in dataset.events if event.type in ("skip", "play")]
    assert len({event.member_id for event in dataset.events}) == 25_156
    assert len({event.item_id for event in dataset.events}) == 6_361
    assert len(dataset.titles) == 7_583
    others = {event.event_id.rsplit("-", 1)[0] for event in dataset.events} - set(rows)
    assert len(set(rows)) + len(others) == 228_329 - 5_460
    assert dataset.bad_rows.count == 0
    known = {title.item_id for title in dataset.titles}
    assert all(event.item_id in known for event in dataset.events)
    for event in dataset.events[::5000]:
        check_event(event)
