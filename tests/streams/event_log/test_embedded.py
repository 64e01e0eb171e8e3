"""The embedded event log: the contract, and what is its own: bounds, retention, files that get lost or broken."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streams import topics
from streams.errors import Corrupt, FixRequest, MarqueeError, SlowDown, TryAgain
from streams.event_log.embedded import EmbeddedLog
from streams.event_log.open import ensure_topics, open_event_log
from streams.event_log.protocol import Message, TopicPartition
from streams.partitioner import partition_for
from streams.settings import Settings
from tests.streams.event_log import processes
from tests.streams.event_log.contract import EventLogContract, next_offsets, numbered, poll_until, read_all

MAX_BYTES = 2 << 20
DAY_MS = 86_400_000


class TestEmbeddedLog(EventLogContract):
    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        return Settings(state=tmp_path, log_url="embedded:log", session_timeout_ms=500, log_sync=False)


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now_ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def small(tmp_path: Path, clock: Clock) -> Iterator[EmbeddedLog]:
    """A log of 2 MiB a topic that keeps records for a day."""
    log = EmbeddedLog(
        tmp_path / "log", max_bytes=MAX_BYTES, retention_ms=DAY_MS, sync=False, session_timeout_ms=500, clock_ms=clock
    )
    log.create_topic("events", 2)
    yield log
    log.close()


def batch_of(count: int, size: int = 1000) -> list[Message]:
    return [Message(b"key-%d" % n, bytes(size)) for n in range(count)]


def fill(log: EmbeddedLog, topic: str = "events", count: int = 20, size: int = 1000) -> int:
    """Append until the log refuses; return how many messages it took."""
    taken = 0
    while True:
        try:
            log.append(topic, batch_of(count, size))
        except SlowDown:
            return taken
        taken += count


def size_of(log_root: Path) -> int:
    return max(path.stat().st_size for path in log_root.glob("topics/*/data.mdb"))


# Bounds


@pytest.mark.parametrize("size", [10, 1000, 5000, 100_000])
def test_a_full_log_refuses_whole_batches_and_can_still_be_read(small: EmbeddedLog, tmp_path: Path, size: int) -> None:
    taken = fill(small, size=size, count=5)
    assert len(read_all(small, "events")) == taken
    assert size_of(tmp_path / "log") <= MAX_BYTES
    with pytest.raises(SlowDown) as refusal:
        small.append("events", batch_of(5, size))
    assert refusal.value.retry_after_s > 0
    assert len(read_all(small, "events")) == taken


def test_a_full_topic_does_not_stop_the_others(small: EmbeddedLog) -> None:
    small.create_topic("pages", 1)
    fill(small)
    small.append("pages", numbered(10))
    assert len(read_all(small, "pages")) == 10


def test_a_batch_larger_than_the_whole_log_is_refused_whole(small: EmbeddedLog) -> None:
    with pytest.raises(SlowDown):
        small.append("events", batch_of(40, 100_000))
    assert read_all(small, "events") == []
    small.append("events", numbered(10))


def test_a_disk_without_room_is_something_to_try_again(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path, log_sync=False)
    log = open_event_log(settings)
    log.create_topic("events", 2)
    worker = processes.start(settings, "append_until_refused", "events", str(1 << 20))
    taken, error = processes.read_line(worker).split()
    processes.kill(worker)
    assert error == "TryAgain"
    assert len(read_all(log, "events")) == int(taken) > 0
    log.append("events", numbered(10))
    assert len(read_all(log, "events")) == int(taken) + 10
    log.close()


# Retention


def test_records_past_their_age_go_and_the_rest_stays(small: EmbeddedLog, clock: Clock) -> None:
    small.append("events", numbered(100))
    clock.now_ms += DAY_MS // 2
    small.append("events", numbered(10, start=100))
    clock.now_ms += DAY_MS // 2 + 1
    assert small.enforce_retention(clock.now_ms) == 100
    assert sorted(int(record.value) for record in read_all(small, "events")) == list(range(100, 110))
    assert sum(small.start_offset("events", n) for n in range(2)) == 100
    assert small.enforce_retention(clock.now_ms) == 0


@pytest.mark.parametrize("size", [100, 1000, 5000, 100_000])
def test_a_full_log_is_writable_again_after_retention(
    small: EmbeddedLog, clock: Clock, tmp_path: Path, size: int
) -> None:
    first = fill(small, size=size, count=5)
    for _ in range(3):
        ends = [small.end_offset("events", n) for n in range(2)]
        clock.now_ms += DAY_MS + 1
        small.enforce_retention(clock.now_ms)
        assert read_all(small, "events") == []
        assert [small.end_offset("events", n) for n in range(2)] == ends
        assert fill(small, size=size, count=5) >= 0.8 * first
    assert size_of(tmp_path / "log") <= MAX_BYTES


def test_when_space_is_short_the_oldest_that_every_group_has_read_goes(small: EmbeddedLog, clock: Clock) -> None:
    taken = fill(small)
    consumer = small.consumer("group", ["events"])
    offsets = next_offsets(poll_until(consumer, taken))
    assert small.enforce_retention(clock.now_ms) == 0
    consumer.commit(offsets)
    deleted = small.enforce_retention(clock.now_ms)
    assert 0 < deleted < taken
    assert small.used_bytes("events") <= MAX_BYTES * 3 // 4
    assert len(read_all(small, "events")) == taken - deleted
    small.append("events", batch_of(20))
    consumer.close()


def test_when_space_is_short_and_nobody_reads_the_oldest_goes(small: EmbeddedLog, clock: Clock) -> None:
    fill(small)
    assert small.enforce_retention(clock.now_ms) > 0
    small.append("events", batch_of(20))


def test_retention_leaves_a_log_below_its_bounds_alone(small: EmbeddedLog, clock: Clock) -> None:
    small.append("events", batch_of(20))
    assert small.enforce_retention(clock.now_ms) == 0


def test_a_clock_set_back_does_not_make_append_times_fall(small: EmbeddedLog, clock: Clock) -> None:
    key = b"a"
    small.append("events", [Message(key, b"1")])
    clock.now_ms -= 5000
    small.append("events", [Message(key, b"2")])
    small.delete_records("events", partition_for(key, 2), 2)
    clock.now_ms -= 5000
    small.append("events", [Message(key, b"3")])
    [record] = read_all(small, "events")
    assert (record.offset, record.timestamp_ms) == (2, 1_700_000_000_000)


# Files that get lost or broken


def unavailable(log: EmbeddedLog) -> list[Callable[[], object]]:
    return [
        lambda: log.append("events", numbered(1)),
        lambda: log.read("events", 0, 0, 1),
        lambda: log.end_offset("events", 0),
        lambda: log.epoch("events"),
        lambda: log.committed("group", TopicPartition("events", 0)),
        lambda: log.enforce_retention(0),
        lambda: log.consumer("group", ["events"]).poll(1, 0.0),
    ]


def test_while_the_folder_is_away_calls_say_try_again_and_nothing_is_lost_once_it_is_back(
    small: EmbeddedLog, tmp_path: Path
) -> None:
    small.append("events", numbered(10))
    consumer = small.consumer("group", ["events"])
    consumer.commit(next_offsets(poll_until(consumer, 10)))
    (tmp_path / "log").rename(tmp_path / "away")
    for call in unavailable(small):
        with pytest.raises(TryAgain):
            call()
    with pytest.raises(TryAgain):
        consumer.poll(1, 0.0)
    (tmp_path / "away").rename(tmp_path / "log")
    small.append("events", numbered(5, start=10))
    assert len(read_all(small, "events")) == 15
    assert small.epoch("events") == 1
    assert sorted(int(r.value) for b in poll_until(consumer, 5) for r in b.records) == list(range(10, 15))
    consumer.close()


def test_an_empty_folder_in_the_place_of_a_lost_one_begins_anew_in_a_higher_epoch(
    small: EmbeddedLog, tmp_path: Path
) -> None:
    small.append("events", numbered(10))
    shutil.rmtree(tmp_path / "log")
    with pytest.raises(TryAgain):
        small.append("events", numbered(1))
    (tmp_path / "log").mkdir()
    small.append("events", numbered(3))
    assert small.epoch("events") == 2
    assert len(read_all(small, "events")) == 3


def test_a_new_process_after_the_folder_was_lost_begins_in_a_higher_epoch(small: EmbeddedLog, tmp_path: Path) -> None:
    small.append("events", numbered(10))
    small.close()
    shutil.rmtree(tmp_path / "log")
    again = EmbeddedLog(tmp_path / "log", sync=False)
    again.create_topic("events", 2)
    assert again.epoch("events") == 2
    again.close()


def test_a_topic_whose_own_files_were_lost_begins_anew_when_it_is_created_again(
    small: EmbeddedLog, tmp_path: Path
) -> None:
    small.append("events", numbered(10))
    shutil.rmtree(tmp_path / "log" / "topics" / "events-1")
    with pytest.raises(TryAgain):
        small.append("events", numbered(1))
    small.create_topic("events", 2)
    small.append("events", numbered(2))
    assert (small.epoch("events"), len(read_all(small, "events"))) == (2, 2)


def test_a_handle_notices_that_another_recreated_the_topic(small: EmbeddedLog, tmp_path: Path) -> None:
    small.append("events", numbered(10))
    settings = Settings(state=tmp_path, log_sync=False)
    worker = processes.start(settings, "recreate", "events", "3")
    assert worker.wait(30) == 0
    processes.kill(worker)
    assert read_all(small, "events") == []
    assert (small.epoch("events"), small.partition_count("events")) == (2, 3)


def test_broken_files_are_called_corrupt(small: EmbeddedLog, tmp_path: Path) -> None:
    small.close()
    (tmp_path / "log" / "topics" / "events-1" / "data.mdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(Corrupt):
        small.read("events", 0, 0, 1)


def test_a_folder_that_cannot_be_made_is_something_to_try_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    settings = Settings(state=tmp_path, log_url="embedded:file/log", log_sync=False)
    log = open_event_log(settings)
    with pytest.raises(TryAgain):
        log.append(topics.MEMBER_EVENTS, numbered(1))
    (tmp_path / "file").unlink()
    log.append(topics.MEMBER_EVENTS, numbered(1))
    assert len(read_all(log, topics.MEMBER_EVENTS)) == 1
    log.close()


# Processes and threads


def test_threads_may_share_a_log(small: EmbeddedLog) -> None:
    failures: list[MarqueeError] = []

    def work(name: str) -> None:
        try:
            for n in range(50):
                small.append("events", [Message(name.encode(), b"%d" % n)])
                small.read("events", 0, 0, 10)
        except MarqueeError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("ann", "bob", "cem")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    found = read_all(small, "events")
    for name in (b"ann", b"bob", b"cem"):
        assert [int(record.value) for record in found if record.key == name] == list(range(50))


def test_files_may_be_lost_while_threads_use_them(small: EmbeddedLog, tmp_path: Path) -> None:
    stop = threading.Event()
    surprises: list[Exception] = []

    def work() -> None:
        while not stop.is_set():
            try:
                small.append("events", numbered(3))
                small.read("events", 0, 0, 10)
            except (TryAgain, SlowDown):  # three threads may fill so small a log
                pass
            except Exception as error:  # noqa: BLE001 - whatever it is, the test is to show it
                surprises.append(error)
                return

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        shutil.rmtree(tmp_path / "log", ignore_errors=True)
        (tmp_path / "log").mkdir(exist_ok=True)
        time.sleep(0.01)
    stop.set()
    for thread in threads:
        thread.join()
    assert surprises == []


def test_a_frozen_process_is_put_out_after_its_session(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path, log_sync=False, session_timeout_ms=500)
    log = open_event_log(settings)
    log.create_topic("events", 2)
    log.append("events", numbered(10))
    worker = processes.start(settings, "hold", "events", "group")
    assert processes.read_line(worker) == "holding"
    consumer = log.consumer("group", ["events"])
    assert len(poll_until(consumer, 10)) >= 1
    processes.say(worker, "commit")
    assert processes.read_line(worker) == "Fenced"
    processes.kill(worker)
    consumer.close()
    log.close()


# By settings


def test_the_settings_open_a_log_with_the_platforms_topics(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path, partitions=3, log_sync=False)
    log = open_event_log(settings)
    ensure_topics(log, settings)
    assert {topic: log.partition_count(topic) for topic in topics.ALL} == dict.fromkeys(topics.ALL, 3)
    log.close()


def test_an_unknown_engine_is_refused_by_the_settings_name(tmp_path: Path) -> None:
    with pytest.raises(FixRequest, match="MARQUEE_LOG_URL"):
        open_event_log(Settings(state=tmp_path, log_url="pigeon://loft"))


def test_what_is_read_after_a_change_number_includes_every_write_up_to_it(tmp_path: Path) -> None:
    """Another process appends one by one; a reader that sees the number of a write sees the write."""
    log = EmbeddedLog(tmp_path / "log", sync=True)
    log.create_topic("events", 1)
    topic = log.topic_log("events")
    writer = (
        "import sys; from pathlib import Path; from streams.event_log.embedded import EmbeddedLog\n"
        "from streams.event_log.protocol import Message\n"
        "log = EmbeddedLog(Path(sys.argv[1]), sync=True); log.create_topic('events', 1)\n"
        "[log.append('events', [Message(b'k', b'%d' % n)]) for n in range(60)]"
    )
    before = topic.changes()
    process = subprocess.Popen([sys.executable, "-c", writer, str(tmp_path / "log")])
    seen: dict[int, int] = {}
    while process.poll() is None:
        change = topic.changes()
        seen.setdefault(change, log.end_offset("events", 0))
    assert process.returncode == 0
    assert len(seen) > 1
    others = topic.changes() - before - log.end_offset("events", 0)
    assert all(end >= change - before - others for change, end in seen.items())
    log.close()
