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


def meaning(error: BaseException, doing: str) -> MarqueeError:
    """Return what an error of Kafka's means: wrong credentials want mending, all else may pass."""
    if isinstance(error, MarqueeError):
        return error
    if isinstance(error, _ACCESS):
        return FixRequest("MARQUEE_KAFKA_USERNAME", f"Kafka lets this user not {doing}: {type(error).__name__}")
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
