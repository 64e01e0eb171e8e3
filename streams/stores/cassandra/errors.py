"""What the driver's errors mean to a caller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cassandra import (
    AuthenticationFailed,
    DriverException,
    InvalidRequest,
    RequestExecutionException,
    Unauthorized,
)
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionException
from cassandra.protocol import ErrorMessage, IsBootstrappingErrorMessage, OverloadedErrorMessage

from streams.errors import FixRequest, MarqueeError, SlowDown, TryAgain

DRIVER_ERRORS = (
    DriverException,
    ErrorMessage,
    NoHostAvailable,
    ConnectionException,
    OSError,
)
"""All that a call of the driver may raise because of what is outside of this process."""


class SchemaGone(TryAgain):
    """The keyspace or a table is missing: the session is to be opened anew, which makes them."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise the driver's errors as TryAgain, SlowDown or FixRequest."""
    try:
        yield
    except DRIVER_ERRORS as error:
        raise meaning(error) from error


def meaning(error: Exception) -> MarqueeError:
    """Return what the caller should do about an error of the driver."""
    causes = [error]
    if isinstance(error, NoHostAvailable) and isinstance(error.errors, dict):
        causes += [cause for cause in error.errors.values() if isinstance(cause, Exception)]
    for cause in causes:
        if isinstance(cause, AuthenticationFailed | Unauthorized):
            return FixRequest("MARQUEE_CASSANDRA_USERNAME", f"Cassandra refuses this user or password: {_brief(cause)}")
        if isinstance(cause, OverloadedErrorMessage):
            return SlowDown(f"Cassandra is overloaded: {_brief(cause)}")
        if isinstance(cause, InvalidRequest):
            return _refused(cause)
        if isinstance(cause, IsBootstrappingErrorMessage):
            return TryAgain(f"Cassandra is starting: {_brief(cause)}")
    if isinstance(error, RequestExecutionException):
        return TryAgain(f"Cassandra cannot do it now: {_brief(error)}")
    return TryAgain(f"Cassandra is away: {_brief(causes[-1])}")


def _refused(error: Exception) -> MarqueeError:
    text = str(error)
    if "does not exist" in text or "unconfigured table" in text:
        return SchemaGone(f"the keyspace or a table has gone: {_brief(error)}")
    return FixRequest("durable store", f"Cassandra refuses a statement: {_brief(error)}")


def _brief(error: Exception) -> str:
    """Return an error on one line, without the driver's advice and tables."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
