"""A view's fold, written out as one function.

A loop over a view's aggregations spends more time on finding what to call than some updates take. So the loop is
unrolled: as `dataclasses` does for `__init__`, the source of a function is made from the definitions (nothing else goes
into it) and compiled once. `plain_fold` says the same as a loop; a test holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from streams.events import Event
from streams.features.aggregation import Aggregation, State
from streams.features.entity_state import EntityState
from streams.features.recent_events import RecentEvents
from streams.features.type_codes import ALL_TYPES

Fold = Callable[[EntityState, Event, int, tuple[str, ...]], bool]

NEVER_MS: Final = 1 << 62
"""A TTL longer than all of event time."""

_HEAD: Final = """\
def fold(state, event, position, genres):
    if position <= state.position:
        return False
    state.position = position
    parts = state.parts
"""

_DISTINCT: Final = """\
    if not is_new(parts[{slot}], event.event_id):
        return False
"""

_WATERMARK: Final = """\
    event_time_ms = event.event_time_ms
    watermark_ms = state.watermark_ms
    if event_time_ms > watermark_ms:
        state.watermark_ms = event_time_ms
        if event_time_ms - watermark_ms > ttl_ms and watermark_ms:
            start_anew(parts)
    elif watermark_ms - event_time_ms > ttl_ms:
        return True
    event_type = event.type
"""

_ALWAYS: Final = """\
    parts[{slot}] = update_{slot}(parts[{slot}], event, genres)
"""

_FOR_TYPES: Final = """\
    if event_type in types_{slot}:
        parts[{slot}] = update_{slot}(parts[{slot}], event, genres)
"""


def compile_fold(aggregations: Mapping[str, Aggregation], distinct: str | None, ttl_ms: int | None) -> Fold:
    """Return the fold of a view with these definitions, as one function."""
    source = [_HEAD]
    known: dict[str, Any] = {
        "ttl_ms": NEVER_MS if ttl_ms is None else ttl_ms,
        "start_anew": lambda parts: start_anew(aggregations, distinct, parts),
    }
    if distinct is not None:
        known["is_new"] = memory_of(aggregations, distinct).add
        source.append(_DISTINCT.format(slot=list(aggregations).index(distinct)))
    source.append(_WATERMARK)
    for slot, (name, aggregation) in enumerate(aggregations.items()):
        if name != distinct:
            known[f"update_{slot}"] = aggregation.update
            known[f"types_{slot}"] = aggregation.types
            source.append((_ALWAYS if aggregation.types == ALL_TYPES else _FOR_TYPES).format(slot=slot))
    source.append("    return True\n")
    exec(compile("".join(source), "<fold>", "exec"), known)  # noqa: S102 - the text above and slot numbers, no input
    fold: Fold = known["fold"]
    return fold


def plain_fold(aggregations: Mapping[str, Aggregation], distinct: str | None, ttl_ms: int | None) -> Fold:
    """Return the same fold as a loop: what `compile_fold` is to equal."""
    limit_ms = NEVER_MS if ttl_ms is None else ttl_ms

    def fold(state: EntityState, event: Event, position: int, genres: tuple[str, ...]) -> bool:
        if position <= state.position:
            return False
        state.position = position
        if distinct is not None:
            memory = state.parts[list(aggregations).index(distinct)]
            if not memory_of(aggregations, distinct).add(memory, event.event_id):
                return False
        if state.watermark_ms and event.event_time_ms - state.watermark_ms > limit_ms:
            start_anew(aggregations, distinct, state.parts)
        if state.watermark_ms - event.event_time_ms > limit_ms:
            return True
        state.watermark_ms = max(state.watermark_ms, event.event_time_ms)
        for slot, (name, aggregation) in enumerate(aggregations.items()):
            if name != distinct and event.type in aggregation.types:
                state.parts[slot] = aggregation.update(state.parts[slot], event, genres)
        return True

    return fold


def memory_of(aggregations: Mapping[str, Aggregation], distinct: str) -> RecentEvents:
    """Return the aggregation that remembers event ids. Raises TypeError if that is another kind."""
    memory = aggregations[distinct]
    if not isinstance(memory, RecentEvents):
        raise TypeError(f"{distinct} does not remember event ids")
    return memory


def start_anew(aggregations: Mapping[str, Aggregation], distinct: str | None, parts: list[State]) -> None:
    """Forget everything but the event ids, which still tell retries of what came lately."""
    for slot, (name, aggregation) in enumerate(aggregations.items()):
        if name != distinct:
            parts[slot] = aggregation.initialize()
