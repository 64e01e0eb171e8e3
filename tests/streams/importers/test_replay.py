from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from streams import topics
from streams.catalogue import GRACE_MS, Title, read_catalogue
from streams.errors import TryAgain
from streams.event_log.embedded import EmbeddedLog
from streams.event_log.open import open_event_log
from streams.event_log.protocol import Appended, EventLog, Message
from streams.events import Event, decode_event
from streams.importers import replay as replay_module
from streams.importers.dataset import Dataset
from streams.importers.pace import Pace
from streams.importers.replay import DAY_MS, Clock, replay, shift_to
from streams.settings import Settings
from streams.stores.sql import open_sql

NOW_MS = 1_700_000_000_000


class TestClock(Clock):
    """A clock that only sleeping moves."""

    __test__ = False

    def __init__(self) -> None:
        self.ms = float(NOW_MS)

    def now_ms(self) -> int:
        return int(self.ms)

    def now_s(self) -> float:
        return self.ms / 1000

    def sleep(self, seconds: float) -> None:
        self.ms += 1000 * seconds


class FlakyLog:
    """A log that refuses now and then, and can break in the middle of a replay."""

    def __init__(self, log: EventLog, refusals: int = 0, breaks_after: int | None = None) -> None:
        self._log = log
        self._refusals = refusals
        self._left = breaks_after

    def __getattr__(self, name: str) -> object:
        return getattr(self._log, name)

    def append(self, topic: str, messages: Sequence[Message]) -> list[Appended]:
        if self._refusals:
            self._refusals -= 1
            raise TryAgain("away", retry_after_s=2.0)
        if self._left == 0:
            raise KeyboardInterrupt
        if self._left is not None:
            self._left -= 1
        return self._log.append(topic, messages)


def dataset(events: int = 50) -> Dataset:
    made = [Event(f"e{i}", "play", f"m{i % 7}", 1_000_000 * i, f"t{i % 5}") for i in range(events)]
    return Dataset(
        "test", f"address-{events}", [Title(f"t{i}", f"Title {i}", 2000, ("Drama",)) for i in range(5)], made
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state=tmp_path, log_sync=False)


@pytest.fixture
def engine(settings: Settings) -> Iterator[sa.Engine]:
    engine = open_sql(settings)
    yield engine
    engine.dispose()


@pytest.fixture
def log(settings: Settings) -> Iterator[EventLog]:
    log = open_event_log(settings)
    yield log
    log.close()


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_module, "BATCH_EVENTS", 4)
    monkeypatch.setattr(replay_module, "CHECKPOINT_EVENTS", 12)


def logged(log: EventLog) -> list[Event]:
    assert isinstance(log, EmbeddedLog)
    partitions = range(log.partition_count(topics.MEMBER_EVENTS))
    records = [record for p in partitions for record in log.read(topics.MEMBER_EVENTS, p, 0, 10_000)]
    return sorted((decode_event(record.value) for record in records), key=lambda event: int(event.event_id[1:]))


def test_every_event_is_appended_once_after_its_titles_are_live(log: EventLog, engine: sa.Engine) -> None:
    clock = TestClock()
    done = replay(dataset(), log, engine, Pace(), clock=clock)
    assert (done.published, done.appended, done.before) == (5, 50, 0)
    assert logged(log) == dataset().events
    assert max(title.live_from_ms for title in read_catalogue(engine).values()) == NOW_MS + GRACE_MS <= clock.now_ms()


def test_a_finished_replay_does_nothing_more(log: EventLog, engine: sa.Engine) -> None:
    replay(dataset(), log, engine, Pace(), clock=TestClock())
    again = replay(dataset(), log, engine, Pace(), clock=TestClock())
    assert (again.published, again.appended, again.before) == (0, 0, 50)
    assert len(logged(log)) == 50


@pytest.mark.parametrize("batches", range(13))
def test_a_replay_broken_anywhere_goes_on_where_it_stopped(log: EventLog, engine: sa.Engine, batches: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        replay(dataset(), FlakyLog(log, breaks_after=batches), engine, Pace(), clock=TestClock())  # type: ignore[arg-type]  # the rest is the log's
    done = replay(dataset(), log, engine, Pace(), clock=TestClock())
    assert (done.before, done.appended) == (4 * batches, 50 - 4 * batches)
    assert logged(log) == dataset().events


def test_events_that_stand_in_the_data_twice_are_appended_twice_though_broken(log: EventLog, engine: sa.Engine) -> None:
    doubled = msgspec.structs.replace(dataset().events[3])
    data = Dataset("test", "doubled", dataset().titles, [*dataset().events[:4], doubled, *dataset().events[4:]])
    with pytest.raises(KeyboardInterrupt):
        replay(data, FlakyLog(log, breaks_after=2), engine, Pace(), clock=TestClock())  # type: ignore[arg-type]  # the rest is the log's
    replay(data, log, engine, Pace(), clock=TestClock())
    assert sorted(e.event_id for e in logged(log)) == sorted(e.event_id for e in data.events)


def test_other_producers_do_not_confuse_the_going_on(log: EventLog, engine: sa.Engine) -> None:
    with pytest.raises(KeyboardInterrupt):
        replay(dataset(), FlakyLog(log, breaks_after=1), engine, Pace(), clock=TestClock())  # type: ignore[arg-type]  # the rest is the log's
    log.append(topics.MEMBER_EVENTS, [Message(b"m1", b"not JSON"), Message(b"m2", b'{"event_id": "x"}')])
    assert replay(dataset(), log, engine, Pace(), clock=TestClock()).before == 4


def test_a_log_that_is_away_is_waited_for(log: EventLog, engine: sa.Engine) -> None:
    clock = TestClock()
    replay(dataset(), FlakyLog(log, refusals=3), engine, Pace(), clock=clock)  # type: ignore[arg-type]  # the rest is the log's
    assert clock.now_ms() == NOW_MS + GRACE_MS + 3 * 2000
    assert len(logged(log)) == 50


def test_a_log_that_stays_away_ends_the_replay(log: EventLog, engine: sa.Engine) -> None:
    with pytest.raises(TryAgain):
        replay(dataset(), FlakyLog(log, refusals=10_000), engine, Pace(), clock=TestClock())  # type: ignore[arg-type]  # the rest is the log's


def test_a_rate_takes_its_time(log: EventLog, engine: sa.Engine) -> None:
    clock = TestClock()
    replay(dataset(), log, engine, Pace(rate=5), clock=clock)
    assert 9.8 <= (clock.now_ms() - NOW_MS - GRACE_MS) / 1000 <= 12.0
    assert logged(log) == dataset().events


def test_a_speed_follows_event_time(log: EventLog, engine: sa.Engine) -> None:
    clock = TestClock()
    replay(dataset(), log, engine, Pace(speed=1000), clock=clock)
    assert 49.0 <= (clock.now_ms() - NOW_MS - GRACE_MS) / 1000 <= 56.0


def test_shifting_moves_by_whole_days_and_the_last_event_to_within_a_day_of_now(
    log: EventLog, engine: sa.Engine
) -> None:
    done = replay(dataset(), log, engine, Pace(), shift_to_now=True, clock=TestClock())
    moved = [event.event_time_ms for event in logged(log)]
    assert done.shift_ms % DAY_MS == 0
    assert [after - before.event_time_ms for after, before in zip(moved, dataset().events, strict=True)] == [
        done.shift_ms
    ] * 50
    assert NOW_MS - DAY_MS < moved[-1] <= NOW_MS


def test_the_shift_stays_the_same_when_a_replay_goes_on_another_day(log: EventLog, engine: sa.Engine) -> None:
    with pytest.raises(KeyboardInterrupt):
        replay(
            dataset(), FlakyLog(log, breaks_after=3), engine, Pace(), shift_to_now=True, clock=TestClock()  # type: ignore[arg-type]  # the rest is the log's
        )  # fmt: skip
    later = TestClock()
    later.sleep(5 * 86_400)
    done = replay(dataset(), log, engine, Pace(), shift_to_now=True, clock=later)
    assert done.shift_ms == shift_to(dataset().events, NOW_MS)


def test_nothing_needs_no_shift() -> None:
    assert shift_to([], NOW_MS) == 0
