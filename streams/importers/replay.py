"""Replay a data set into the log: titles first, then events, in order, once.

An interrupted replay goes on where it stopped. What was appended after the last progress was kept is found in the log
itself, by event id, so that no event is appended twice however the replay ended.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import msgspec
import sqlalchemy as sa

from streams import topics
from streams.catalogue import newest_live_from_ms, publish_titles
from streams.errors import SlowDown, TryAgain
from streams.event_log.epochs import partitions_in
from streams.event_log.protocol import EventLog, Message
from streams.events import Event, encode_event
from streams.importers.dataset import Dataset
from streams.importers.pace import Pace
from streams.importers.progress import Progress, ProgressTable

BATCH_EVENTS: Final = 2_000
"""One append each: enough for its fixed costs to vanish, few enough that an interruption repeats little work."""
BATCH_WAIT_S: Final = 0.1
"""A paced replay sends what is due this often."""
MAX_SLEEP_S: Final = 1.0
"""So that an interrupt is noticed soon."""
CHECKPOINT_EVENTS: Final = 20_000
"""Progress is kept this often; on going on, so many records at most are read back."""
MAX_ATTEMPTS: Final = 60
"""So many refusals in a row (log full or away) before the replay gives up: after a minute or more."""
WAIT_STEP_S: Final = 0.1
DAY_MS: Final = 86_400_000

Result = TypeVar("Result")


class Clock:
    """Real time; tests pass their own."""

    def now_ms(self) -> int:
        """Return Unix time in ms."""
        return time.time_ns() // 1_000_000

    def now_s(self) -> float:
        """Return monotonic seconds."""
        return time.perf_counter()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


@dataclass(frozen=True)
class Replayed:
    """What a replay did. published: new titles; appended: events put by this run; before: events there already."""

    published: int
    appended: int
    before: int
    shift_ms: int
    seconds: float


class _Id(msgspec.Struct, gc=False):
    event_id: str


_id_decoder = msgspec.json.Decoder(_Id)


def shift_to(events: Sequence[Event], now_ms: int) -> int:
    """Return the whole days, in ms, that bring the last of time-ordered events to the 24 hours before `now_ms`.

    >>> shift_to([Event("e", "play", "m", 1_000, "t")], 5 * DAY_MS) == 4 * DAY_MS
    True
    """
    return 0 if not events else (now_ms - events[-1].event_time_ms) // DAY_MS * DAY_MS


def replay(
    dataset: Dataset,
    log: EventLog,
    engine: sa.Engine,
    pace: Pace,
    *,
    shift_to_now: bool = False,
    clock: Clock | None = None,
    on_progress: Callable[[int], None] = lambda _done: None,
) -> Replayed:
    """Publish the data set's titles, wait until they are live, append its events. Raises SlowDown or TryAgain when the
    log refuses MAX_ATTEMPTS times in a row; the same call then goes on where this one stopped.

    on_progress: called with the number of events that are in the log by then.
    """
    clock = clock or Clock()
    published = publish(dataset, engine, clock)
    table = ProgressTable(engine)
    shift_ms = shift_to(dataset.events, clock.now_ms()) if shift_to_now else 0
    start = _patiently(clock, lambda: _begin(dataset, log, table, shift_ms))
    started_s = clock.now_s()
    done = _append_all(dataset, log, table, start, pace, clock, on_progress)
    return Replayed(published, done - start.appended, start.appended, start.shift_ms, clock.now_s() - started_s)


def publish(dataset: Dataset, engine: sa.Engine, clock: Clock) -> int:
    """Publish the data set's titles and wait until all of the catalogue is live; return how many were new."""
    published = publish_titles(engine, dataset.titles, clock.now_ms())
    live_from_ms = newest_live_from_ms(engine)
    while (wait_ms := live_from_ms - clock.now_ms()) > 0:
        clock.sleep(wait_ms / 1000)
    return published


def _begin(dataset: Dataset, log: EventLog, table: ProgressTable, shift_ms: int) -> Progress:
    """Return where to go on: the progress kept, and what the log has got since."""
    kept = table.read(dataset.address)
    epochs = log.epochs(topics.MEMBER_EVENTS)
    epoch = epochs[-1].epoch
    if kept is None or partitions_in(epochs, kept.epoch) is None:  # the topic was made anew; one that grew was not
        start = Progress(0, epoch, _ends(log), shift_ms)
        table.write(dataset.address, start)
        return start
    unsure = dataset.events[kept.appended : kept.appended + CHECKPOINT_EVENTS + BATCH_EVENTS]
    since = _ids_since(log, kept.offsets, unsure)
    start = Progress(kept.appended + since, epoch, _ends(log), kept.shift_ms)
    table.write(dataset.address, start)
    return start


def _ends(log: EventLog) -> list[int]:
    return [log.end_offset(topics.MEMBER_EVENTS, p) for p in range(log.partition_count(topics.MEMBER_EVENTS))]


def _ids_since(log: EventLog, offsets: Sequence[int], expected: Sequence[Event]) -> int:
    """Return how many of the `expected` events, from the first on, are in the log from `offsets` on.

    Events are appended in order, so those that are there are the first ones; a data set may hold an id twice.
    """
    wanted = {event.event_id for event in expected}
    found = Counter(event_id for event_id in _read_ids(log, offsets) if event_id in wanted)
    count = 0
    for event in expected:
        if not found[event.event_id]:
            break
        found[event.event_id] -= 1
        count += 1
    return count


def _read_ids(log: EventLog, offsets: Sequence[int]) -> Iterator[str]:
    for partition in range(log.partition_count(topics.MEMBER_EVENTS)):
        offset = offsets[partition] if partition < len(offsets) else 0
        while records := log.read(topics.MEMBER_EVENTS, partition, offset, BATCH_EVENTS):
            offset = records[-1].offset + 1
            for record in records:
                try:
                    yield _id_decoder.decode(record.value).event_id
                except (msgspec.DecodeError, UnicodeDecodeError):
                    continue  # another producer's message, on its way to the dead letters


def _append_all(
    dataset: Dataset,
    log: EventLog,
    table: ProgressTable,
    start: Progress,
    pace: Pace,
    clock: Clock,
    on_progress: Callable[[int], None],
) -> int:
    done, kept = start.appended, start.appended
    on_progress(done)
    for batch in _paced(dataset.events, done, pace, clock):
        _append(log, batch, start.shift_ms, clock)
        done += len(batch)
        on_progress(done)
        if done - kept >= CHECKPOINT_EVENTS or done == len(dataset.events):
            _patiently(clock, partial(_keep, dataset, log, table, start, done))
            kept = done
    return done


def _keep(dataset: Dataset, log: EventLog, table: ProgressTable, start: Progress, done: int) -> None:
    table.write(dataset.address, Progress(done, start.epoch, _ends(log), start.shift_ms))


def _paced(events: Sequence[Event], first: int, pace: Pace, clock: Clock) -> Iterator[Sequence[Event]]:
    """Yield the events from `first` on, in batches, each when its last event is due."""
    if first >= len(events):
        return
    origin_ms, started_s, index = events[first].event_time_ms, clock.now_s(), first
    while index < len(events):
        elapsed_s = clock.now_s() - started_s
        end = index
        while end < min(index + BATCH_EVENTS, len(events)):
            if pace.due_s(end - first, events[end].event_time_ms - origin_ms) > elapsed_s:
                break
            end += 1
        if end > index:
            yield events[index:end]
            index = end
        else:
            due_s = pace.due_s(index - first, events[index].event_time_ms - origin_ms)
            clock.sleep(min(due_s - elapsed_s + BATCH_WAIT_S, MAX_SLEEP_S))


def _append(log: EventLog, events: Sequence[Event], shift_ms: int, clock: Clock) -> None:
    """Append one batch."""
    messages = [_message(event, shift_ms) for event in events]
    _patiently(clock, lambda: log.append(topics.MEMBER_EVENTS, messages))


def _patiently(clock: Clock, work: Callable[[], Result]) -> Result:
    """Return what `work` returns; while an engine is full or away, wait as asked, ever longer, and try again."""
    for attempt in range(1, MAX_ATTEMPTS):
        try:
            return work()
        except (SlowDown, TryAgain) as error:
            clock.sleep(max(error.retry_after_s, min(attempt * WAIT_STEP_S, MAX_SLEEP_S)))
    return work()


def _message(event: Event, shift_ms: int) -> Message:
    shifted = msgspec.structs.replace(event, event_time_ms=event.event_time_ms + shift_ms) if shift_ms else event
    return Message(event.member_id.encode(), encode_event(shifted))
