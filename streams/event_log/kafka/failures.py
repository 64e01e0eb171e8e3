"""What Kafka's errors mean for the caller."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Final

from aiokafka import errors as kafka

from streams.errors import FixRequest, MarqueeError, TryAgain

_ACCESS: Final = (
    kafka.TopicAuthorizationFailedError,
    kafka.GroupAuthorizationFailedError,
    kafka.ClusterAuthorizationFailedError,
    kafka.AuthenticationFailedError,
    kafka.SaslAuthenticationFailed,
    kafka.UnsupportedSaslMechanismError,
)


_MENDED_BY: Final[dict[type[BaseException], tuple[str, str]]] = {
    kafka.MessageSizeTooLargeError: ("message", "the topic's max.message.bytes allows none that large"),
    kafka.RecordTooLargeError: ("message", "the topic's max.message.bytes allows none that large"),
    kafka.InvalidReplicationFactorError: ("MARQUEE_KAFKA_REPLICATION", "the cluster has fewer brokers"),
    kafka.InvalidTopicError: ("topic", "Kafka takes no such name"),
    kafka.PolicyViolationError: ("topic", "the cluster's policy does not allow it"),
}


def meaning(error: BaseException, doing: str) -> MarqueeError:
    """Return what an error of Kafka's means: wrong settings want mending, all else may pass."""
    if isinstance(error, MarqueeError):
        return error
    if isinstance(error, _ACCESS):
        return FixRequest("MARQUEE_KAFKA_USERNAME", f"Kafka lets this user not {doing}: {type(error).__name__}")
    if type(error) in _MENDED_BY:
        return FixRequest(*_MENDED_BY[type(error)])
    if isinstance(error, asyncio.TimeoutError):
        return TryAgain(f"Kafka took too long to {doing}")
    return TryAgain(f"Kafka cannot {doing} now: {type(error).__name__}")


@contextlib.contextmanager
def told(doing: str) -> Iterator[None]:
    """Raise Kafka's errors by what the caller should do."""
    try:
        yield
    except (TimeoutError, kafka.KafkaError, OSError) as error:
        raise meaning(error, doing) from error
