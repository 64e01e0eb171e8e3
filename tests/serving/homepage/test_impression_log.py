from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.homepage import impression_log
from serving.homepage.impression_log import ImpressionLog
from serving.homepage.page_cache import CachedPage, Origin, PageKey
from serving.homepage.page_finder import first_since
from serving.homepage.page_id import PageIds, parse_page_id
from serving.homepage.showing import Showing, encoded_impression, impression_of
from serving.homepage.spool import Spool
from serving.pages.page import Page, PageTitle, Row
from streams.errors import FixRequest, SlowDown, TryAgain
from streams.event_log.open import open_event_log
from streams.event_log.protocol import Appended, EventLog, Message
from streams.impressions import MAX_IMPRESSION_BYTES, Impression, decode_impression, showings_of
from streams.partitioner import partition_for
from streams.topics import IMPRESSIONS
from tests.serving.platform import small_settings

NOW_MS = 1_700_000_000_000
IDS = PageIds(b"tests")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    log = open_event_log(small_settings(tmp_path))
    yield log
    log.close()


def entry_of(member_id: str = "ann", items: int = 3, state: bytes | None = b"state") -> CachedPage:
    titles = [PageTitle(f"t{n}", f"Title {n}", 2000, (), 0.5, 0.25, "") for n in range(items)]
    page = Page(member_id, [Row("top_picks", "top_picks", "Top", "", 1.0, titles)], NOW_MS, "m1", 7, NOW_MS - 5, "snap")
    origin = Origin(page, state, None, "v1")
    partition = partition_for(member_id.encode(), 4)
    return CachedPage.computed(
        PageKey(member_id, "NL", "tv"), origin, rows=b"[]", version=7, partition=partition, seed=42
    )


def first(entry: CachedPage, at_ms: int | None = None) -> Showing:
    at_ms = at_ms or time.time_ns() // 1_000_000
    page_id = IDS.next(at_ms, entry.partition)
    entry.origin_page_id = page_id.decode()
    return (page_id, at_ms, "fresh", None, entry, entry.origin)


def again(entry: CachedPage, step: str = "fresh", degraded: str | None = None) -> Showing:
    at_ms = time.time_ns() // 1_000_000
    return (IDS.next(at_ms, entry.partition), at_ms, step, degraded, entry, None)


def logged(log: EventLog) -> list[Impression]:
    return [
        impression
        for partition in range(log.partition_count(IMPRESSIONS))
        for record in log.read(IMPRESSIONS, partition, 0, 100_000)
        for impression in showings_of(decode_impression(record.value))
    ]


def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come about in time"
        time.sleep(0.01)


def started(log: Any, folder: Path, queue: int = 1_000, spool_bytes: int = 1 << 20) -> ImpressionLog:
    impressions = ImpressionLog(log, Spool(folder / "spool", spool_bytes), queue, lambda _: None, linger_s=0.01)
    impressions.start()
    return impressions


class Ailing:
    """A log that fails while `error` is set."""

    def __init__(self, log: EventLog) -> None:
        self.log = log
        self.error: Exception | None = None
        self.calls = 0

    def append(self, topic: str, messages: list[Message]) -> list[Appended]:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return self.log.append(topic, messages)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)


def test_a_first_showing_carries_the_page_and_all_it_was_computed_from() -> None:
    entry = entry_of()
    impression = decode_impression(encoded_impression([first(entry)]))
    assert [item.item_id for row in impression.rows for item in row.items] == ["t0", "t1", "t2"]
    assert [item.position for item in impression.rows[0].items] == [0, 1, 2]
    assert (impression.state, impression.title_snapshot, impression.page_version) == (b"state", "snap", "v1")
    assert impression.request == {"country": "NL", "device": "tv", "now_ms": str(NOW_MS), "seed": "42"}
    assert impression.origin_page_id is None


def test_a_repeat_names_the_page_it_repeats_and_is_small() -> None:
    entry = entry_of(items=200)
    origin = decode_impression(encoded_impression([first(entry)]))
    for _ in range(3):
        showing = again(entry)
        encoded = encoded_impression([showing])
        repeat = decode_impression(encoded)
        assert repeat.page_id == showing[0].decode()
        assert repeat.served_at_ms == showing[1]
        assert repeat.origin_page_id == origin.page_id
        assert (repeat.member_id, repeat.model_version, repeat.feature_position) == ("ann", "m1", 7)
        assert repeat.rows == []
        assert len(encoded) < 400


def test_a_repeat_says_what_was_away() -> None:
    entry = entry_of()
    encoded_impression([first(entry)])
    encoded_impression([again(entry)])
    stale = decode_impression(encoded_impression([again(entry, "stale", "hot store unavailable")]))
    assert (stale.step, stale.degraded) == ("stale", "hot store unavailable")


def test_the_repeats_of_a_page_share_a_message_and_are_found_one_by_one(tmp_path: Path, log: EventLog) -> None:
    entries = [entry_of("ann"), entry_of("ben")]
    showings = [first(entry) for entry in entries] + [again(entries[n % 2]) for n in range(20)]
    showings.insert(7, again(entries[0], "fresh", "hot store unavailable"))
    impressions = ImpressionLog(log, Spool(tmp_path / "spool"), 100, lambda _: None)
    for showing in showings:
        impressions.put(showing)
    impressions.start()
    impressions.close(5)
    records = [record for n in range(4) for record in log.read(IMPRESSIONS, n, 0, 100)]
    assert len(records) == 2 + 2 + 1
    other_process = ImpressionLog(log, Spool(tmp_path / "other"), 10, lambda _: None)
    for showing in showings:
        for finder in (impressions, other_process):
            found = finder.find(showing[0].decode())
            assert found is not None
            assert found.page_id == showing[0].decode()
            assert found.served_at_ms == showing[1]
            assert found.repeats == []
            assert found.member_id == showing[4].key.member_id
            assert found.degraded == showing[3]
            assert (found.origin_page_id is None) == (showing[5] is not None)
    assert len(logged(log)) == len(showings)


def test_what_is_remembered_is_bounded_in_pages_and_bytes(
    tmp_path: Path, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(impression_log, "RECENT_PAGES", 12)
    impressions = ImpressionLog(log, Spool(tmp_path / "spool"), 100, lambda _: None)
    entry = entry_of()
    for count in (1, 8, 3, 5):
        for _ in range(count):
            impressions.put(again(entry))
        impressions._write_next()
    assert len(impressions._recent) == 5 + 3
    assert impressions._recent_bytes == sum(len(value) for value in set(impressions._recent.values()))


@given(st.text(min_size=1).filter(str.isprintable))
def test_ids_of_any_letters_survive(member_id: str) -> None:
    entry = entry_of(member_id)
    showing = first(entry)
    assert impression_of(showing) == decode_impression(encoded_impression([showing]))
    assert decode_impression(encoded_impression([again(entry)])).member_id == member_id


def test_page_ids_are_unique_ordered_and_say_when_and_where() -> None:
    ids = [IDS.next(NOW_MS + n // 100, 3).decode() for n in range(1_000)]
    assert sorted(set(ids)) == ids
    assert parse_page_id(ids[250]).served_at_ms == NOW_MS + 2
    assert parse_page_id(ids[0]).partition == 3
    assert all(len(page_id) == 32 for page_id in ids)


@pytest.mark.parametrize("page_id", ["", "x" * 32, "0" * 31, "0" * 33, "é" * 32, "A" * 32])
def test_what_is_no_page_id_is_refused(page_id: str) -> None:
    with pytest.raises(FixRequest, match="page_id"):
        parse_page_id(page_id)


def test_showings_are_appended_and_found(tmp_path: Path, log: EventLog) -> None:
    impressions = started(log, tmp_path)
    entries = [entry_of(f"m{n}") for n in range(20)]
    showings = [make(entry) for entry in entries for make in (first, again)]
    assert all(impressions.put(showing) for showing in showings)
    found = [impressions.find(showing[0].decode()) for showing in showings]
    assert [impression.page_id for impression in found if impression] == [showing[0].decode() for showing in showings]
    impressions.close(2)
    assert {impression.page_id for impression in logged(log)} == {showing[0].decode() for showing in showings}


def test_a_page_is_found_while_it_is_on_its_way_from_the_queue_to_the_log(
    tmp_path: Path, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, go_on = threading.Event(), threading.Event()

    def slowly(group: list[Showing]) -> bytes:
        taken.set()
        go_on.wait(5)
        return encoded_impression(group)

    monkeypatch.setattr(impression_log, "encoded_impression", slowly)
    impressions = started(log, tmp_path)
    showing = first(entry_of())
    impressions.put(showing)
    assert taken.wait(5)
    threading.Timer(0.05, go_on.set).start()
    found = impressions.find(showing[0].decode())
    impressions.close(2)
    assert found is not None


def test_a_page_is_found_in_the_log_by_another_process(tmp_path: Path, log: EventLog) -> None:
    writer = started(log, tmp_path)
    showings = []
    for round_number in range(5):
        for member in range(40):
            showings.append(first(entry_of(f"m{member}")))
            writer.put(showings[-1])
        time.sleep(0.02 * (round_number % 2))
    writer.close(2)
    reader = ImpressionLog(log, Spool(tmp_path / "other"), 10, lambda _: None)
    for showing in showings[::7]:
        found = reader.find(showing[0].decode())
        assert found is not None
        assert found.member_id == showing[4].key.member_id
    assert reader.find(IDS.next(NOW_MS, 1).decode()) is None
    assert reader.find(IDS.next(NOW_MS, 900).decode()) is None


def test_the_first_record_since_a_time_is_found(tmp_path: Path) -> None:
    times = [10, 10, 20, 30, 30, 30, 40]
    clock = iter(times)
    settings = small_settings(tmp_path)
    open_event_log(settings).close()
    log: Any = open_event_log(settings)
    log.now_ms = lambda: next(clock)
    for _ in times:
        log.append(IMPRESSIONS, [Message(b"ann", b"{}")])
    partition = partition_for(b"ann", 4)
    for time_ms in range(0, 50, 5):
        expected = sum(at < time_ms for at in times)
        assert first_since(log, partition, time_ms) == expected
    log.close()


@pytest.mark.parametrize("error", [TryAgain("away"), SlowDown("full"), RuntimeError("a bug")])
def test_nothing_is_lost_while_the_log_is_away_and_the_order_is_kept(
    tmp_path: Path, log: EventLog, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    ailing = Ailing(log)
    impressions = started(ailing, tmp_path)
    ailing.error = error
    entry = entry_of()
    showings = [first(entry)] + [again(entry) for _ in range(30)]
    for showing in showings:
        impressions.put(showing)
        time.sleep(0.002)
    until(lambda: impressions.problem is not None)
    ailing.error = None
    last = again(entry)
    impressions.put(last)
    until(lambda: len(logged(log)) == 32)
    assert [impression.page_id for impression in logged(log)] == [s[0].decode() for s in [*showings, last]]
    impressions.close(2)
    assert impressions.problem is None
    assert not (tmp_path / "spool").exists()


def test_what_is_queued_at_the_end_goes_to_the_spool_and_from_there_to_the_log(tmp_path: Path, log: EventLog) -> None:
    ailing = Ailing(log)
    ailing.error = TryAgain("away")
    impressions = started(ailing, tmp_path)
    showings = [first(entry_of(f"m{n}")) for n in range(10)]
    for showing in showings:
        impressions.put(showing)
    impressions.close(2)
    assert logged(log) == []
    heir = started(log, tmp_path)
    until(lambda: len(logged(log)) == 10)
    found = heir.find(showings[3][0].decode())
    heir.close(2)
    assert found is not None
    assert found.member_id == "m3"


def test_beyond_the_queue_and_the_spool_showings_are_refused(tmp_path: Path, log: EventLog) -> None:
    ailing = Ailing(log)
    ailing.error = TryAgain("away")
    impressions = started(ailing, tmp_path, queue=5, spool_bytes=10)
    impressions.put(first(entry_of()))
    until(lambda: impressions.problem is not None and "spool" in impressions.problem)
    outcomes = [impressions.put(first(entry_of())) for _ in range(7)]
    assert outcomes == [True] * 5 + [False] * 2
    ailing.error = None
    until(lambda: len(logged(log)) == 6)
    impressions.close(2)


def test_an_impression_too_large_for_its_topic_goes_without_the_state(tmp_path: Path, log: EventLog) -> None:
    impressions = started(log, tmp_path)
    impressions.put(first(entry_of(state=bytes(MAX_IMPRESSION_BYTES))))
    impressions.close(2)
    assert [(impression.state, len(impression.rows)) for impression in logged(log)] == [(None, 1)]


def test_a_snapshot_that_cannot_be_stored_does_not_keep_the_impression_back(tmp_path: Path, log: EventLog) -> None:
    stored: list[object] = []

    def persist(snapshot: object) -> None:
        stored.append(snapshot)
        raise TryAgain("the disk is full")

    impressions = ImpressionLog(log, Spool(tmp_path / "spool"), 10, persist, linger_s=0.01)
    impressions.start()
    entry = entry_of()
    assert entry.origin is not None
    entry.origin = entry.origin._replace(snapshot="a snapshot")  # type: ignore[arg-type]  # only handed on
    impressions.put(first(entry))
    impressions.close(2)
    assert stored == ["a snapshot"]
    assert len(logged(log)) == 1


def test_putting_never_waits_for_the_log(tmp_path: Path, log: EventLog) -> None:
    released = threading.Event()

    class Hanging(Ailing):
        def append(self, topic: str, messages: list[Message]) -> list[Appended]:
            released.wait(5)
            return super().append(topic, messages)

    impressions = started(Hanging(log), tmp_path)
    for _ in range(100):
        assert impressions.put(first(entry_of()))
        time.sleep(0.0005)
    assert logged(log) == []
    released.set()
    impressions.close(2)
    assert len(logged(log)) == 100


messages = st.lists(st.builds(Message, st.binary(max_size=20), st.binary(max_size=200)), min_size=1, max_size=10)


@given(st.lists(messages, max_size=5), st.integers(1, 7))
def test_a_spool_gives_back_what_was_put_in_order(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[Message]], chunk: int
) -> None:
    path = tmp_path_factory.mktemp("spool") / "spool"
    for batch in batches:
        Spool(path).append(batch)
    drained = []
    while True:
        spool = Spool(path)
        found, end = spool.peek(chunk)
        if not found:
            break
        drained += found
        spool.drained(end)
    assert drained == [message for batch in batches for message in batch]
    assert not path.exists()


def test_a_torn_message_is_cut_off_and_what_follows_it_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    Spool(path).append([Message(b"k", b"one"), Message(b"k", b"two")])
    path.write_bytes(path.read_bytes()[:-1])
    spool = Spool(path)
    found, end = spool.peek(10)
    assert found == [Message(b"k", b"one")]
    spool.append([Message(b"k", b"three")])
    found, end = spool.peek(10)
    assert [message.value for message in found] == [b"one", b"three"]
    spool.drained(end)
    assert spool.waiting_bytes == 0


def test_a_damaged_message_ends_the_spool(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    Spool(path).append([Message(b"k", b"one"), Message(b"k", b"two")])
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    spool = Spool(path)
    assert spool.peek(10)[0] == [Message(b"k", b"one")]


def test_a_full_spool_takes_nothing_and_loses_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", max_bytes=100)
    spool.append([Message(b"k", bytes(50))])
    with pytest.raises(SlowDown):
        spool.append([Message(b"k", bytes(50))])
    assert len(spool.peek(10)[0]) == 1


def test_a_spool_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TryAgain):
        Spool(tmp_path / "file" / "spool").append([Message(b"k", b"v")])


class Hanging:
    """A log whose appends wait for a gate; then they are made, or fail."""

    def __init__(self, log: EventLog, error: Exception | None = None) -> None:
        self.log, self.error = log, error
        self.gate = threading.Event()

    def append(self, topic: str, messages: list[Message]) -> list[Appended]:
        self.gate.wait(10)
        if self.error is not None:
            raise self.error
        return self.log.append(topic, messages)


@pytest.mark.parametrize("error", [None, TryAgain("no answer from the brokers")])
def test_while_the_log_hangs_impressions_are_spooled_and_each_arrives_once(
    log: EventLog, tmp_path: Path, error: Exception | None
) -> None:
    hanging, spool = Hanging(log, error), Spool(tmp_path / "spool")
    impressions = ImpressionLog(hanging, spool, 1_000, lambda _: None, linger_s=0.01, append_s=0.05)  # type: ignore[arg-type]  # only `append` is used
    impressions.start()
    entry = entry_of()
    shown = [first(entry)]
    impressions.put(shown[0])
    until(lambda: impressions.problem is not None)
    for _ in range(20):
        shown.append(again(entry))
        impressions.put(shown[-1])
        time.sleep(0.005)
    until(lambda: spool.waiting_bytes > 0)
    hanging.gate.set()
    hanging.error = None
    until(lambda: spool.waiting_bytes == 0 and impressions.problem is None)
    impressions.close(2)
    assert sorted(ids_in(log)) == sorted(showing[0].decode() for showing in shown)


def test_what_a_hanging_log_may_not_have_is_spooled_at_the_end(log: EventLog, tmp_path: Path) -> None:
    hanging, spool = Hanging(log), Spool(tmp_path / "spool")
    impressions = ImpressionLog(hanging, spool, 1_000, lambda _: None, linger_s=0.01, append_s=0.05)  # type: ignore[arg-type]  # only `append` is used
    impressions.start()
    entry = entry_of()
    for showing in (first(entry), again(entry)):
        impressions.put(showing)
        time.sleep(0.05)
    impressions.close(2)
    messages, _ = spool.peek(10)
    ids = {one.page_id for _, value in messages for one in showings_of(decode_impression(value))}
    assert len(ids) == 2
    hanging.gate.set()


def test_what_neither_log_nor_spool_could_take_is_written_once_one_can(log: EventLog, tmp_path: Path) -> None:
    hanging, no_folder = Hanging(log, TryAgain("no answer from the brokers")), tmp_path / "folder"
    no_folder.write_bytes(b"")
    spool = Spool(no_folder / "spool")
    impressions = ImpressionLog(hanging, spool, 1_000, lambda _: None, linger_s=0.01, append_s=0.05)  # type: ignore[arg-type]  # only `append` is used
    impressions.start()
    entry = entry_of()
    shown = [first(entry), again(entry)]
    impressions.put(shown[0])
    until(lambda: "does not answer" in (impressions.problem or ""))
    impressions.put(shown[1])
    hanging.gate.set()
    until(lambda: "no answer from the brokers; " in (impressions.problem or ""))
    hanging.error = None
    until(lambda: len(ids_in(log)) == 2)
    impressions.close(2)
    assert ids_in(log) == [showing[0].decode() for showing in shown]


def ids_in(log: EventLog) -> list[str]:
    return [
        one.page_id
        for partition in range(log.partition_count(IMPRESSIONS))
        for record in log.read(IMPRESSIONS, partition, 0, 1_000)
        for one in showings_of(decode_impression(record.value))
    ]
