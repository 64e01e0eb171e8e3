"""Connections to PostgreSQL that wait for the server for a bounded time.

The server enforces statement timeouts, so one that is frozen, or behind a network that drops everything, enforces none,
and libpq would wait for ever. A connection whose server has not answered in time is closed: nobody knows what it did.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa

T = TypeVar("T")
PsycopgSteps = Generator[Any, Any, T]
"""What psycopg does on a connection: yields what it waits for, and is sent what is ready, now and then nothing."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection of psycopg whose every wait ends after `limit_s` with OperationalError."""

    limit_s = float("inf")

    def wait(self, gen: PsycopgSteps[T], *args: Any, **kwargs: Any) -> T:
        """See psycopg.Connection.wait."""
        return super().wait(self._bounded(gen), *args, **kwargs)

    def _bounded(self, steps: PsycopgSteps[T]) -> PsycopgSteps[T]:
        until_s = time.monotonic() + self.limit_s
        try:
            wanted = next(steps)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > until_s:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"the server has not answered for {self.limit_s:g} s")
                wanted = steps.send(ready)
        except StopIteration as done:
            result: T = done.value
            return result


def bound_waits(engine: sa.Engine, limit_s: float) -> None:
    """Have the engine's connections wait for at most `limit_s` for each answer."""

    def connect(_dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> BoundedConnection:
        connection = BoundedConnection.connect(*arguments, **options)
        connection.limit_s = limit_s
        return connection

    sa.event.listen(engine, "do_connect", connect)


@contextmanager
def patient(connection: sa.Connection, limit_s: float) -> Iterator[None]:
    """Let answers on this connection take up to `limit_s` while the block runs."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, BoundedConnection)
    usual_s, driver.limit_s = driver.limit_s, limit_s
    try:
        yield
    finally:
        driver.limit_s = usual_s
