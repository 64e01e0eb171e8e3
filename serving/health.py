"""What is away now: each engine is asked the cheapest question there is."""

from __future__ import annotations

from collections.abc import Callable

from serving.catalogue_holder import CatalogueHolder
from serving.homepage.impression_log import ImpressionLog
from serving.models.holder import ModelHolder
from streams.event_log.protocol import EventLog
from streams.features.member import MEMBER
from streams.stores.protocol import StateStore
from streams.topics import MEMBER_EVENTS

_NOBODY = [b"\x00"]
"""A key that no member has: ids have no control characters."""


def find_problems(
    log: EventLog,
    hot: StateStore,
    durable: StateStore,
    catalogue: CatalogueHolder,
    models: ModelHolder,
    impressions: ImpressionLog,
) -> dict[str, str]:
    """Return what is away, by part, with the reason; empty when all is well. Blocks for each engine's timeouts."""
    found = {
        "log": _ask(lambda: log.end_offset(MEMBER_EVENTS, 0)),
        "hot": _ask(lambda: hot.positions(MEMBER.name, _NOBODY)),
        "durable": _ask(lambda: durable.positions(MEMBER.name, _NOBODY)),
        "catalogue": catalogue.problem or (None if catalogue.current else "no titles are published"),
        "model": (models.refusal or "none is registered") if models.current is None else None,
        "impressions": impressions.problem,
    }
    return {part: problem for part, problem in found.items() if problem is not None}


def _ask(question: Callable[[], object]) -> str | None:
    try:
        question()
    except Exception as error:  # noqa: BLE001 - whatever ails an engine, this is where one asks
        return str(error) or error.__class__.__name__
    return None
