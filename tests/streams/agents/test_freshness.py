from __future__ import annotations

from prometheus_client import REGISTRY

from streams.agents.freshness import Freshness
from streams.event_log.protocol import Batch, Record, TopicPartition

PLACE = TopicPartition("member-events", 0)


def batch(first_offset: int, *times_ms: int) -> Batch:
    records = [Record(first_offset + i, time_ms, b"k", b"v") for i, time_ms in enumerate(times_ms)]
    return Batch(*PLACE, 1, records)


def sample(name: str, agent: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"agent": agent})


def test_the_oldest_record_of_a_batch_is_timed_once_the_whole_batch_is_durable() -> None:
    freshness = Freshness("timed")
    freshness.taken(batch(0, 1_000, 2_000))
    freshness.taken(batch(2, 3_000))
    freshness.stored({PLACE: 1}, 5_000)
    assert sample("marquee_agent_stored_seconds_count", "timed") == 0
    freshness.stored({PLACE: 2}, 6_000)
    assert sample("marquee_agent_stored_seconds_sum", "timed") == 5.0
    assert sample("marquee_agent_newest_stored_timestamp_seconds", "timed") == 2.0
    freshness.stored({PLACE: 3}, 6_000)
    assert sample("marquee_agent_stored_seconds_sum", "timed") == 8.0
    assert sample("marquee_agent_stored_seconds_count", "timed") == 2


def test_what_others_own_now_is_not_waited_for() -> None:
    freshness = Freshness("lost")
    freshness.taken(batch(0, 1_000))
    freshness.taken(Batch(*PLACE, 1, []))
    freshness.lost([PLACE])
    freshness.stored({PLACE: 1}, 5_000)
    assert sample("marquee_agent_stored_seconds_count", "lost") == 0
