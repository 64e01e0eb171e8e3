"""Live aggregates are those of the warehouse, whatever came in which order: a platform in small, with the real fold.

Every kind of metric; retries, late and odd events; late, degraded, forced and crossing exposures; topics that grow;
two owners between whom partitions move, and who are given records again; a start, a stop, and who is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import msgspec
import pytest
import sqlalchemy as sa

from streams.agents.experiment_agent import ExperimentAgent
from streams.agents.feature_agent import FeatureAgent
from streams.agents.protocol import Agent, NotYet
from streams.agents.refilling import HotStoreWatch
from streams.errors import Fenced, Undeliverable
from streams.event_log.epochs import first_epoch, grown, split
from streams.event_log.protocol import Batch, Epochs, Message, Record, TopicPartition
from streams.events import Event, decode_event, encode_event
from streams.experiments.aggregates import Cell, Sums
from streams.experiments.definition import Definition, Experiment, Variant
from streams.experiments.metric import Measure, Metric
from streams.experiments.outcome_store import forget_outcomes, read_aggregates
from streams.experiments.recompute import StoredExposure, aggregates_of
from streams.forget import forget_member
from streams.impressions import Exposure, decode_exposure, encode_exposure
from streams.partitioner import partition_for
from streams.positions import pack_position
from streams.settings import Settings
from streams.stores.sql import open_sql
from streams.topics import EXPOSURES, MEMBER_EVENTS
from streams.warehouse import StoredEvent
from tests.streams.agents.experiment_world import TITLES, put
from tests.streams.agents.state_stores import Letters, MemoryStore
from tests.streams.experiments.world import DAY_MS, METRICS, PLAY, START_MS, an_experiment

HOUR_MS = DAY_MS // 24
MEMBERS = [f"m{n}" for n in range(12)]
QUIET = 5
"""So many of the members do nothing once the experiment runs, and are seen once: what they did before is read then, or
never."""
VARIANTS = ("control", "one", "two")

DEFINITION: Definition = msgspec.structs.replace(
    an_experiment(segments=("device", "country")).definition,
    variants=(Variant("control", 0.4), Variant("one", 0.3), Variant("two", 0.3)),
    metrics=(
        *METRICS,
        Metric("liked", "conversion", Measure(("rate",), min_value=4.0)),
        Metric("stars-capped", "sum", Measure(("rate",), of="value", min_value=2.0), cap=6.0),
        Metric("day-two", "count", PLAY, after_s=86_400, window_s=2 * 86_400),
        Metric("watched", "percentile", Measure(("progress",), of="value"), quantile=0.9),
        Metric("per-play", "ratio", Measure(("progress",), of="value"), per=PLAY, cap=50.0, window_s=86_400),
        Metric("page-share", "ratio", Measure(("click",)), per=Measure(("view", "click")), attribution="page"),
        Metric("page-liked", "conversion", Measure(("like",)), attribution="page", direction="decrease"),
    ),
)


class SmallLog:
    """A log in lists, whose topics can grow."""

    def __init__(self) -> None:
        self.of: dict[str, Epochs] = {EXPOSURES: first_epoch(1, 1), MEMBER_EVENTS: first_epoch(1, 2)}
        self.records: dict[TopicPartition, list[Record]] = {}
        self.now_ms = START_MS

    def topic_id(self, topic: str) -> str:
        return topic

    def raise_epoch(self, topic: str, above: int) -> None:
        raise AssertionError("this log is never lost")

    def epochs(self, topic: str) -> Epochs:
        return self.of[topic]

    def committed(self, group: str, partition: TopicPartition) -> int | None:
        return None

    def end_offset(self, topic: str, partition: int) -> int:
        return len(self.records.get(TopicPartition(topic, partition), []))

    def read(self, topic: str, partition: int, offset: int, max_records: int) -> list[Record]:
        return self.records.get(TopicPartition(topic, partition), [])[offset : offset + max_records]

    def append(self, topic: str, messages: Sequence[Message]) -> None:
        for key, value in messages:
            place = TopicPartition(topic, partition_for(key, self.of[topic][-1].partitions))
            records = self.records.setdefault(place, [])
            records.append(Record(len(records), self.now_ms, key, value))

    def grow(self, topic: str) -> None:
        last = self.of[topic][-1]
        ends = [self.end_offset(topic, number) for number in range(last.partitions)]
        self.of[topic] = grown(self.of[topic], last.epoch + 1, last.partitions + 1, ends)

    def places(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for number in range(self.of[topic][-1].partitions)]

    def batches(self, topic: str) -> Iterator[Batch]:
        for place in self.places(topic):
            yield from split(*place, self.of[topic], self.records.get(place, []))


class Owner:
    """Gives an agent the records of the partitions that it owns, some of them again."""

    def __init__(self, agent: Agent, log: SmallLog, rng: Random) -> None:
        self.agent, self._log, self._rng = agent, log, rng
        self._next: dict[TopicPartition, int] = {}

    def take_over(self, places: Sequence[TopicPartition]) -> None:
        self._next.update(dict.fromkeys(places, 0) | dict(self.agent.assigned(places)))

    def let_go(self, places: Sequence[TopicPartition]) -> None:
        self.agent.revoked(places)
        for place in places:
            self._next.pop(place, None)

    @property
    def owned(self) -> list[TopicPartition]:
        return sorted(self._next)

    def deliver(self, place: TopicPartition, most: int, again: int = 0) -> bool:
        """Give up to so many records, after some that were given before; return whether all there were are taken in."""
        begin = max(0, self._next[place] - again)
        records = self._log.read(*place, begin, most + again)
        for batch in split(*place, self._log.epochs(place.topic), records):
            try:
                self.agent.process(batch)
            except NotYet:
                return False
            except Fenced:
                self.let_go([place])
                self.take_over([place])
                return False
            self._next[place] = batch.records[-1].offset + 1
        return self._next[place] == self._log.end_offset(*place)


class Platform:
    """A log, the feature agent, two experiment agents, and what happens to them."""

    def __init__(self, engine: sa.Engine, rng: Random) -> None:
        self.engine, self.rng, self.log = engine, rng, SmallLog()
        self.hot, self.durable = MemoryStore(), MemoryStore()
        watch = HotStoreWatch(self.hot, self.durable, run=lambda work: work())
        features = FeatureAgent(
            lambda: TITLES,
            self.hot,
            self.durable,
            Letters(),
            self.log,
            watch=watch,
            clock_ms=lambda: self.log.now_ms,
        )
        self.features = Owner(features, self.log, rng)
        self.owners = [self._owner(), self._owner()]
        self.experiment = Experiment(DEFINITION, "running", salt="salt", started_at_ms=START_MS)
        self.is_started = False
        self.gone: dict[str, dict[TopicPartition, int]] = {}
        self.number = 0
        self.seen_once: set[int] = set()
        self.features.take_over(self.log.places(MEMBER_EVENTS))
        for number, place in enumerate(self.log.places(EXPOSURES) + self.log.places(MEMBER_EVENTS)):
            self.owners[number % 2].take_over([place])

    def _owner(self) -> Owner:
        return Owner(ExperimentAgent(self.engine, self.durable, self.log, Letters()), self.log, self.rng)

    def step(self) -> None:
        """Have one thing happen."""
        self.log.now_ms += self.rng.randrange(HOUR_MS)
        happened = self.rng.choices(
            [self.event, self.exposure, self.fold, self.count, self.move, self.restart, self.start, self.grow],
            [40, 15 * self.is_started, 1 + 14 * self.is_started, 25, 4, 3, 1, 1],
        )[0]
        happened()

    def event(self) -> None:
        rng, now_ms = self.rng, self.log.now_ms
        self.number += 1
        kind = rng.choice(["play", "play", "complete", "rate", "progress", "click", "view", "like", "skip"])
        value = {"rate": rng.choice([0.5, 2.0, 3.5, 5.0]), "progress": round(rng.uniform(0, 90), 3)}.get(kind)
        page_ms = now_ms - rng.randrange(2 * DAY_MS)
        page = rng.choice([None, "odd", f"{page_ms:012x}{0:020x}"])
        at_ms = now_ms - rng.choice([0, 0, 1, rng.randrange(3 * DAY_MS), -30_000, -HOUR_MS, -3 * DAY_MS])
        title = rng.choice(["t", "t", "t", "t", "unknown"])
        member = rng.choice(MEMBERS[:-QUIET] if self.is_started else MEMBERS)
        event = Event(f"e{self.number}", kind, member, at_ms, title, page, value=value)  # type: ignore[arg-type]  # one of the types
        raw = encode_event(event) if rng.random() < 0.97 else b"{"
        for _ in range(rng.choice([1, 1, 1, 1, 2])):
            self.log.append(MEMBER_EVENTS, [Message(member.encode(), raw)])

    def exposure(self) -> None:
        rng, now_ms = self.rng, self.log.now_ms
        number = rng.choice([n for n in range(len(MEMBERS)) if n not in self.seen_once])
        if number >= len(MEMBERS) - QUIET:
            self.seen_once.add(number)
        usual = VARIANTS[number % 3] if number > 2 else rng.choice([*VARIANTS, "unheard-of"])
        at_ms = max(START_MS, now_ms - rng.choice([0, 0, 1, rng.randrange(2 * DAY_MS)]))
        exposure = Exposure(
            DEFINITION.id if rng.random() < 0.9 else "another",
            usual,
            MEMBERS[number],
            f"{at_ms:012x}{0:020x}",
            at_ms,
            True,
            step=rng.choice(["fresh", "fresh", "stale", "fallback"]),
            country=rng.choice(["US", "nl", "Utopia", ""]),
            device=rng.choice(["tv", "toaster", ""]),
            forced=rng.random() < 0.1,
        )
        self.log.append(EXPOSURES, [Message(MEMBERS[number].encode(), encode_exposure(exposure))])

    def fold(self) -> None:
        self.features.deliver(self.rng.choice(self.features.owned), self.rng.randrange(1, 20))
        assert isinstance(self.features.agent, FeatureAgent)
        self.features.agent.write()

    def count(self) -> None:
        owner = self.rng.choice(self.owners)
        if owner.owned:
            owner.deliver(self.rng.choice(owner.owned), self.rng.randrange(1, 20), self.rng.choice([0, 0, 3]))
        if self.rng.random() < 0.3:
            self._flush(owner)

    def move(self) -> None:
        """Give a partition to the other owner; the former one may not have heard of it, and is fenced then."""
        giver, taker = self.rng.sample(self.owners, 2)
        if giver.owned:
            place = self.rng.choice(giver.owned)
            if self.rng.random() < 0.7:
                giver.let_go([place])
            taker.take_over([place])

    def restart(self) -> None:
        """Have an owner die with what it had not noted."""
        number = self.rng.randrange(2)
        heir = self._owner()
        heir.take_over(self.owners[number].owned)
        self.owners[number] = heir

    def start(self) -> None:
        if not self.is_started:
            put(self.engine, self.experiment)
            self.is_started = True

    def grow(self) -> None:
        topic = self.rng.choice([EXPOSURES, MEMBER_EVENTS])
        if len(self.log.epochs(topic)) < 3:
            before = self.log.places(topic)
            self.log.grow(topic)
            new = [place for place in self.log.places(topic) if place not in before]
            self.rng.choice(self.owners).take_over(new)
            if topic == MEMBER_EVENTS:
                self.features.take_over(new)

    def stop(self) -> None:
        """End the experiment at a moment of the last days; what was before it is told, and counted, after it, too."""
        stopped_at_ms = self.log.now_ms - self.rng.randrange(DAY_MS)
        status = self.rng.choice(["stopped", "decided", "archived"])
        self.experiment = msgspec.structs.replace(
            self.experiment, status=status, stopped_at_ms=stopped_at_ms, revision=2
        )
        put(self.engine, self.experiment)

    def forget(self, member_id: str) -> None:
        """Forget a member of whom all is counted; what they do later counts."""
        places = self.log.places(EXPOSURES) + self.log.places(MEMBER_EVENTS)
        self.gone[member_id] = {place: self.log.end_offset(*place) for place in places}
        newest = self.log.epochs(MEMBER_EVENTS)[-1]
        end = self.log.end_offset(MEMBER_EVENTS, partition_for(member_id.encode(), newest.partitions))
        forget_member(member_id, self.hot, self.durable, None, pack_position(newest.epoch, end) - 1)
        forget_outcomes(self.engine, {DEFINITION.id: DEFINITION}, member_id)

    def catch_up(self) -> None:
        """Have everything folded and counted."""
        for _ in range(200):
            done = [self.features.deliver(place, 1_000) for place in self.features.owned]
            assert isinstance(self.features.agent, FeatureAgent)
            self.features.agent.write()
            done += [owner.deliver(place, 1_000) for owner in self.owners for place in owner.owned]
            for owner in self.owners:
                self._flush(owner)
            if all(done):
                return
        raise AssertionError("it never ends")

    def _flush(self, owner: Owner) -> None:
        try:
            owner.agent.flush(self.log.now_ms)
        except Fenced:
            places = owner.owned
            owner.let_go(places)
            owner.take_over(places)

    def counted(self) -> dict[Cell, Sums]:
        return dict(read_aggregates(self.engine, DEFINITION.id)[0])

    def recomputed(self) -> dict[Cell, Sums]:
        events, exposures = [], []
        for batch in self.log.batches(MEMBER_EVENTS):
            for record in self._kept(batch):
                try:
                    event = decode_event(record.value)
                except Undeliverable:
                    continue
                position = pack_position(batch.epoch, record.offset)
                events.append(StoredEvent(batch.partition, position, record.timestamp_ms, event))
        for batch in self.log.batches(EXPOSURES):
            exposures += [
                StoredExposure(pack_position(batch.epoch, record.offset), decode_exposure(record.value))
                for record in self._kept(batch)
            ]
        self.rng.shuffle(exposures)
        return aggregates_of(self.experiment, exposures, events, TITLES, self.log.epochs(MEMBER_EVENTS))

    def _kept(self, batch: Batch) -> Iterator[Record]:
        for record in batch.records:
            ends = self.gone.get(record.key.decode(), {})
            if record.offset >= ends.get(TopicPartition(batch.topic, batch.partition), 0):
                yield record


@pytest.mark.parametrize("seed", range(12))
def test_live_aggregates_are_those_of_the_warehouse(tmp_path: Path, seed: int) -> None:
    engine = open_sql(Settings(state=tmp_path))
    rng = Random(seed)
    platform = Platform(engine, rng)
    for number in range(250):
        platform.step()
        if number == 60:
            platform.start()
        if number == 170:
            platform.catch_up()
            assert platform.counted() == platform.recomputed()
            if seed % 2:
                platform.forget(rng.choice(MEMBERS))
        if number == 220 and seed % 3:
            platform.stop()
    platform.catch_up()
    counted = platform.counted()
    assert counted == platform.recomputed()
    assert sum(sums.members for cell, sums in counted.items() if cell.segment == "") > 2
    engine.dispose()
