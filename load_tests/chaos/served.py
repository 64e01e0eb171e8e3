"""Was each page made from a state that its member truly had? Held against a clean replay, by the pages' impressions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from streams.catalogue import Title
from streams.errors import Undeliverable
from streams.event_log.protocol import Batch
from streams.features.member import MEMBER
from streams.features.replay import OfflineStates
from streams.impressions import decode_impression
from streams.positions import pack_position

MAX_SAID = 5


class ServedStates(NamedTuple):
    """pages: impressions that carry a state. states: distinct ones among those. differences: those that no replay
    comes to, bounded."""

    pages: int
    states: int
    differences: list[str]


def compare_served(
    events: Iterable[Batch], impressions: Iterable[Batch], catalogue: Mapping[str, Title]
) -> ServedStates:
    """Return how the states that pages were made from differ from the replay at the same position; none may."""
    served, pages = _served(impressions)
    states = sum(len(packed) for by_position in served.values() for packed in by_position.values())
    differences: list[str] = []
    offline = OfflineStates(catalogue)
    for batch in events:
        for record in batch.records:
            member_id, position = record.key.decode(), pack_position(batch.epoch, record.offset)
            offline.take(batch._replace(records=[record]))
            shown = served.get(member_id, {}).pop(position, None)
            state = offline.member(member_id) if shown is not None else None
            if state is not None and {MEMBER.pack(state)} != shown:
                differences.append(f"served: {member_id} at position {position} is not what the replay gives")
    differences += [
        f"served: {member_id} at position {position}, which no event of that member has"
        for member_id, left in served.items()
        for position in left
    ]
    return ServedStates(pages, states, differences[:MAX_SAID])


def _served(impressions: Iterable[Batch]) -> tuple[dict[str, dict[int, set[bytes]]], int]:
    """Return the states that impressions carry, by member and position, and how many impressions carry one."""
    served: dict[str, dict[int, set[bytes]]] = {}
    pages = 0
    for batch in impressions:
        for record in batch.records:
            try:
                impression = decode_impression(record.value)
            except Undeliverable:
                continue
            if impression.state is not None:
                pages += 1
                of_member = served.setdefault(impression.member_id, {})
                of_member.setdefault(impression.feature_position, set()).add(impression.state)
    return served, pages
