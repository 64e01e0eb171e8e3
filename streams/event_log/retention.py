"""Retention: by age, whether read or not; by bytes, only what every group has read.

So a full log refuses appends rather than lose what a stopped agent has yet to read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from streams.event_log.group_store import Commit
from streams.event_log.topic_log import TopicLog

ABANDONED_AFTER_MS: Final = 7 * 86_400_000
"""A group without members or a commit for this long no longer holds records back (as Kafka's offsets expire)."""

STEP_SHARE: Final = 16
"""Retention by bytes goes on in steps of 1/STEP_SHARE of each partition's records until enough is free."""


@dataclass(frozen=True)
class RetentionPolicy:
    """max_age_ms: older records go, read or not. max_bytes: above this, records go that every group has read."""

    max_age_ms: int
    max_bytes: int


def read_by_all(commits: Mapping[str, Commit], reading: Collection[str], epoch: int, now_ms: int) -> int | None:
    """Return the offset up to which every group that counts has read a partition; None if no group counts.

    commits: by group; reading: the groups with live members; now_ms: Unix."""
    floors = [0 for group in reading if group not in commits or commits[group].epoch != epoch]
    for group, commit in commits.items():
        if commit.epoch == epoch and (group in reading or now_ms - commit.committed_ms < ABANDONED_AFTER_MS):
            floors.append(commit.offset)
    return min(floors, default=None)


def step_floor(start: int, end: int, limit: int | None) -> int:
    """Return the offset up to which the next step of retention by bytes deletes a partition's [start, end) records."""
    floor = start + -(-(end - start) // STEP_SHARE)
    return floor if limit is None else min(floor, limit)


def retain(log: TopicLog, policy: RetentionPolicy, limits: Mapping[int, int | None], now_ms: int) -> int:
    """Delete what the policy no longer keeps of a topic; return how many records went.

    limits: by partition, as `read_by_all` gives them. now_ms: Unix."""
    log.reader_check()
    cutoff_ms = now_ms - policy.max_age_ms
    deleted = sum(log.delete_before(partition, log.offset_at(partition, cutoff_ms)) for partition in limits)
    while log.used_bytes() > policy.max_bytes:
        step = sum(
            log.delete_before(partition, step_floor(*log.bounds(partition), limit))
            for partition, limit in limits.items()
        )
        if step == 0:
            break
        deleted += step
    return deleted
