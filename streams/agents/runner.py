"""Drives agents in one process: poll, process, flush, commit; a thread for each, so that none waits for another.

Delivery is at least once: a batch is processed until it succeeds, and committed once the agent says that its effects
are durable. While a store is away an agent waits, ever longer, with its membership kept alive; when another member has
taken over, everything held is dropped.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol, runtime_checkable

from streams import metrics
from streams.agents.backoff import Backoff
from streams.agents.freshness import Freshness
from streams.agents.health import AgentHealth
from streams.agents.lag_meter import LagMeter
from streams.agents.protocol import Agent, NotYet
from streams.errors import Fenced, FixRequest, SlowDown, TryAgain
from streams.event_log.protocol import Batch, Consumer, EventLog, TopicPartition

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunnerPolicy:
    """max_records: of one poll; an agent must get through them well within the session timeout. poll_timeout_s: how
    soon a stop is noticed. keep_alive_s: between looks at the group while batches are worked on. commit_interval_s:
    commits are no more frequent; what they lag behind is redelivered after a crash, without effect."""

    max_records: int = 2_000
    poll_timeout_s: float = 0.1
    keep_alive_s: float = 0.2
    commit_interval_s: float = 0.2
    lag_interval_s: float = 1.0
    backoff: Backoff = field(default_factory=Backoff)


@runtime_checkable
class ClosingAgent(Protocol):
    """An agent that has something to do before it lets go of its partitions for good."""

    def close(self) -> None:
        """Make durable what is held, due or not, while the partitions are still this process's."""
        ...


@runtime_checkable
class PreparingAgent(Protocol):
    """An agent that takes in several batches more cheaply once it has seen all of them."""

    def prepare(self, batches: Sequence[Batch]) -> None:
        """Load what they need. Each is still to be processed. Raises as `Agent.process` does."""
        ...


@runtime_checkable
class PatientAgent(Protocol):
    """An agent that nobody waits for: it rests between turns, so that records come in fewer, larger batches."""

    rest_s: float


def run_agents(
    log: EventLog,
    agents: Sequence[Agent],
    stop: threading.Event,
    *,
    policy: RunnerPolicy | None = None,
    health: AgentHealth | None = None,
    rng: Random | None = None,
    clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> None:
    """Drive the agents until `stop` is set; then each flushes, commits and leaves its group.

    An error that no waiting can help ends all of them, and is raised."""
    health = health or AgentHealth()
    rng = rng or Random()  # noqa: S311 - jitter, nothing secret
    loops = [
        AgentLoop(log, agent, stop, policy or RunnerPolicy(), health, Random(rng.random()), clock_ms)  # noqa: S311
        for agent in agents
    ]
    threads = [threading.Thread(target=loop.run, name=loop.name) for loop in loops]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    finally:  # also when a signal handler raised in this thread
        stop.set()
        for thread in threads:
            thread.join()
    for loop in loops:
        if loop.failure is not None:
            raise loop.failure


Join = Callable[[str, Sequence[str]], Consumer]
"""Joins a group, named first, that reads topics: `EventLog.consumer`, or another member's consumer of the same log."""


class AgentLoop:
    """One agent and its consumer. join: where the consumer comes from, if not from `log`."""

    def __init__(
        self,
        log: EventLog,
        agent: Agent,
        stop: threading.Event,
        policy: RunnerPolicy,
        health: AgentHealth,
        rng: Random,
        clock_ms: Callable[[], int],
        join: Join | None = None,
    ) -> None:
        self.name = agent.name
        self.failure: Exception | None = None
        self._log = log
        self._agent = agent
        self._stop = stop
        self._policy = policy
        self._health = health
        self._rng = rng
        self._clock_ms = clock_ms
        self._new_consumer = join or log.consumer
        self._consumer: Consumer | None = None
        self._held: frozenset[TopicPartition] = frozenset()
        self._pending: deque[Batch] = deque()
        self._fetched = 0
        """Records of the last poll."""
        self._durable: dict[TopicPartition, int] = {}
        """The newest offset that the agent has said of each partition; an agent says an offset once."""
        self._committed: dict[TopicPartition, int] = {}
        """The group's commits: never put back, also not by an agent that begins before them, to rebuild its effects."""
        self._committed_s = 0.0
        self._polled_s = 0.0
        self._failures = 0
        self._has_joined = False
        self._freshness = Freshness(agent.name)
        self._lag_meter = LagMeter(log, agent.name, policy.lag_interval_s, self._done)

    def run(self) -> None:
        """Work until the stop event; an unexpected error is kept in `failure`, and stops the others, too."""
        try:
            with self._lag_meter.running():
                while not self._stop.is_set():
                    self._turn_or_wait()
                self._leave()  # before the meter ends, which may be waiting for the log
        except Exception as error:  # a thread's error must reach the process, whatever it is
            self.failure = error
            self._stop.set()
            self._health.waiting(self.name, f"failed: {error}")
            logger.exception("agent failed", extra={"agent": self.name})

    def _turn_or_wait(self) -> None:
        try:
            self._turn()
        except Fenced as error:
            self._count(error)
            self._drop_everything()
        except (TryAgain, SlowDown) as error:
            self._count(error)
            self._wait(error)
        else:
            self._failures = 0
            self._health.ready(self.name)

    def _turn(self) -> None:
        """Take in one poll's batches, make due effects durable, commit."""
        self._poll()
        try:
            self._process_pending()
        except (TryAgain, SlowDown):
            self._flush()  # an agent that cannot take in more may be able to once it has let go of what it holds
            raise
        self._flush()
        self._rest()

    def _rest(self) -> None:
        if isinstance(self._agent, PatientAgent) and self._fetched < self._policy.max_records:
            self._stop.wait(self._agent.rest_s)

    def _process_pending(self) -> None:
        waiting: NotYet | None = None
        progress = False
        if self._pending and isinstance(self._agent, PreparingAgent):
            self._agent.prepare(list(self._pending))
        while self._pending:
            try:
                self._process(self._pending[0])
            except NotYet as error:
                waiting = error
                self._put_back(self._pending[0])
                continue
            self._pending.popleft()
            progress = True
            if time.monotonic() - self._polled_s > self._policy.keep_alive_s:
                self._keep_alive()
        if waiting and not progress:
            raise waiting

    def _put_back(self, batch: Batch) -> None:
        """Have a partition read again from a batch on: what it waits for may come from another partition's poll."""
        assert self._consumer is not None
        at = TopicPartition(batch.topic, batch.partition)
        self._forget_pending({at})
        self._consumer.seek(at, batch.records[0].offset)

    def _poll(self) -> None:
        """Fetch the next batches, unless some are pending from a turn that failed."""
        if self._consumer is None:
            self._consumer = self._join()
        if not self._pending:
            batches = self._consumer.poll(self._policy.max_records, self._policy.poll_timeout_s)
            self._fetched = sum(len(batch.records) for batch in batches)
            self._pending.extend(batches)
            self._polled_s = time.monotonic()
            self._reassign()
        else:
            self._keep_alive()

    def _join(self) -> Consumer:
        """Return a new consumer. A topic that was there before and is gone may come back; one that never was is a
        mistake of the caller's (FixRequest)."""
        with _deleted_topics_may_come_back() if self._has_joined else contextlib.nullcontext():
            consumer = self._new_consumer(self._agent.name, self._agent.topics)
        self._has_joined = True
        return consumer

    def _keep_alive(self) -> None:
        """Keep the membership without fetching."""
        if self._consumer is not None:
            self._consumer.poll(0, 0.0)
            self._polled_s = time.monotonic()
            self._reassign()

    def _reassign(self) -> None:
        """Tell the agent what it lost and gained, and drop what it has not taken in of the former."""
        assert self._consumer is not None
        assigned = self._consumer.assignment()
        lost, gained = self._held - assigned, assigned - self._held
        if lost:
            self._drop(lost)
        if gained:
            with _deleted_topics_may_come_back():
                self._begin(gained)
        if lost or gained:
            self._held = assigned
            metrics.AGENT_REBALANCES.labels(self.name).inc()
            logger.info("partitions changed", extra={"agent": self.name, "held": [f"{t}/{p}" for t, p in assigned]})

    def _begin(self, gained: Collection[TopicPartition]) -> None:
        """Have the agent take over partitions, and read on from where it says."""
        assert self._consumer is not None
        commits = {at: self._log.committed(self.name, at) for at in gained}
        begins = self._within_the_log(self._agent.assigned(sorted(gained)))
        for partition, offset in begins.items():
            self._consumer.seek(partition, offset)
        self._forget_pending(begins.keys())
        self._committed.update((at, offset) for at, offset in commits.items() if offset is not None)
        self._durable.update(begins)

    def _within_the_log(self, begins: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Leave out what lies past a partition's end: it is of a log that has lost its newest records since, and those
        that come in their place would be passed over. The group's commit counts there."""
        within = {at: offset for at, offset in begins.items() if offset <= self._log.end_offset(*at)}
        if beyond := begins.keys() - within.keys():
            places = [f"{topic}/{partition}" for topic, partition in sorted(beyond)]
            logger.error("the log is behind what was stored from it", extra={"agent": self.name, "places": places})
        return within

    def _process(self, batch: Batch) -> None:
        started_s = time.perf_counter()
        self._agent.process(batch)
        metrics.AGENT_BATCH_SECONDS.labels(self.name).observe(time.perf_counter() - started_s)
        metrics.AGENT_RECORDS.labels(self.name, batch.topic).inc(len(batch.records))
        self._freshness.taken(batch)

    def _flush(self, *, leaving: bool = False) -> None:
        """Make due effects durable; commit what has become so, if the last commit is long enough ago."""
        started_s = time.perf_counter()
        durable = self._agent.flush(self._clock_ms())
        self._durable.update(durable)
        self._freshness.stored(durable, self._clock_ms())
        metrics.AGENT_FLUSH_SECONDS.labels(self.name).observe(time.perf_counter() - started_s)
        fresh = {
            at: offset
            for at, offset in self._durable.items()
            if at in self._held and offset > self._committed.get(at, -1)
        }
        now_s = time.monotonic()
        if fresh and self._consumer and (leaving or now_s - self._committed_s >= self._policy.commit_interval_s):
            self._consumer.commit(fresh)
            self._committed.update(fresh)
            self._committed_s = now_s
            metrics.AGENT_LAST_COMMIT.labels(self.name).set(self._clock_ms() / 1000)

    def _wait(self, error: TryAgain | SlowDown) -> None:
        """Wait before the next attempt, keeping the membership alive meanwhile."""
        self._failures += 1
        self._health.waiting(self.name, str(error))
        until_s = time.monotonic() + self._policy.backoff.delay_s(self._failures, error.retry_after_s, self._rng)
        while not self._stop.is_set() and (left_s := until_s - time.monotonic()) > 0:
            self._stop.wait(min(left_s, self._policy.keep_alive_s))
            try:
                self._keep_alive()
            except Fenced as fenced:
                self._count(fenced)
                self._drop_everything()
                return
            except (TryAgain, SlowDown):
                pass  # the log is away, too, or the agent cannot take a partition over yet: the next turn will tell

    def _leave(self) -> None:
        """Make durable and commit what can be, and let others take over. What cannot is redelivered to them."""
        try:
            self._keep_alive()
            if isinstance(self._agent, ClosingAgent):
                self._agent.close()
            self._flush(leaving=True)
        except (Fenced, TryAgain, SlowDown) as error:
            logger.warning("left without a last commit", extra={"agent": self.name, "error": str(error)})
        self._drop_everything()
        self._health.waiting(self.name, "stopped")

    def _drop_everything(self) -> None:
        """Drop what is held in memory, and leave the group; the next turn joins anew."""
        self._drop(self._held)
        self._held = frozenset()
        self._pending.clear()
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            consumer.close()

    def _drop(self, lost: Collection[TopicPartition]) -> None:
        self._forget_pending(lost)
        if lost:
            self._agent.revoked(sorted(lost))
        self._held -= frozenset(lost)
        self._freshness.lost(lost)
        for at in lost:
            self._committed.pop(at, None)
            self._durable.pop(at, None)

    def _forget_pending(self, partitions: Collection[TopicPartition]) -> None:
        kept = [batch for batch in self._pending if TopicPartition(batch.topic, batch.partition) not in partitions]
        self._pending = deque(kept)

    def _done(self) -> dict[TopicPartition, int]:
        """Return how far the agent is: one that rebuilds its effects, not as far as its commits. For the meter."""
        return {at: self._durable.get(at, self._committed.get(at, 0)) for at in self._held}

    def _count(self, error: Exception) -> None:
        metrics.AGENT_ERRORS.labels(self.name, type(error).__name__).inc()
        logger.warning("agent waits", extra={"agent": self.name, "error": f"{type(error).__name__}: {error}"})


@contextlib.contextmanager
def _deleted_topics_may_come_back() -> Iterator[None]:
    """Have the caller wait for a topic that was there before and is unknown now."""
    try:
        yield
    except FixRequest as error:
        raise TryAgain(f"deleted: {error}") from error
