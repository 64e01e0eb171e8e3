"""The event log that the settings name."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from streams import topics
from streams.errors import FixRequest, SlowDown, TryAgain
from streams.event_log.embedded import EmbeddedLog
from streams.event_log.protocol import EventLog
from streams.settings import Settings

logger = logging.getLogger(__name__)


def open_event_log(settings: Settings, *, with_topics: bool = True) -> EventLog:
    """Return the event log of `settings.log_url`, with the platform's topics in it.

    If it is away for now, its calls raise TryAgain until it is back. with_topics: False for a caller who cannot wait
    for a log that hangs, and calls `ensure_topics` elsewhere. Raises FixRequest for a URL of no known engine."""
    scheme = settings.scheme_of(settings.log_url)
    if scheme not in ENGINES:
        raise FixRequest("MARQUEE_LOG_URL", f"no event log engine is called {scheme!r}: {' or '.join(ENGINES)}")
    log = ENGINES[scheme](settings)
    if not with_topics:
        return log
    try:
        ensure_topics(log, settings)
    except (TryAgain, SlowDown) as error:
        logger.warning("the event log is not ready yet: %s", error)
    return log


def _embedded(settings: Settings) -> EventLog:
    return EmbeddedLog(
        settings.path_of(settings.log_url),
        max_bytes=settings.log_max_bytes,
        retention_ms=settings.log_retention_ms,
        sync=settings.log_sync,
        session_timeout_ms=settings.session_timeout_ms,
    )


def _kafka(settings: Settings) -> EventLog:
    from streams.event_log.kafka.config import config_of  # only where it is used: importing aiokafka takes a while
    from streams.event_log.kafka.log import KafkaLog

    return KafkaLog(config_of(settings))


ENGINES: Final[dict[str, Callable[[Settings], EventLog]]] = {"embedded": _embedded, "kafka": _kafka}


def ensure_topics(log: EventLog, settings: Settings) -> None:
    """Create the platform's topics where they are missing: all that can be, before it raises for those that cannot."""
    failure: TryAgain | SlowDown | None = None
    for topic in topics.ALL:
        try:
            _ensure_topic(log, topic, settings.partitions)
        except (TryAgain, SlowDown) as error:
            failure = error
    if failure is not None:
        raise failure


def _ensure_topic(log: EventLog, topic: str, partitions: int) -> None:
    """Create a topic if it is missing; one that has grown keeps what it has."""
    try:
        log.create_topic(topic, partitions)
    except FixRequest:
        if len(log.epochs(topic)) < 2:
            raise
