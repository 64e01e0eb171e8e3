"""The driver's session: made at first use, made again when it could not be, and bounded in time.

Connecting and bringing the schema up to date may take longer than a caller may wait. A thread of its own does it;
callers wait for it as long as for any request, and are told to try again.
"""

from __future__ import annotations

import logging
import os
import ssl
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, Final, NamedTuple

from cassandra import ConsistencyLevel
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
from cassandra.policies import (
    ConstantReconnectionPolicy,
    ConstantSpeculativeExecutionPolicy,
    DCAwareRoundRobinPolicy,
    TokenAwarePolicy,
)
from cassandra.query import tuple_factory

from streams.errors import FixRequest, MarqueeError, TryAgain
from streams.settings import Settings
from streams.stores.cassandra.address import parse_address
from streams.stores.cassandra.errors import DRIVER_ERRORS, SchemaGone, meaning
from streams.stores.cassandra.migrating import SCHEMA, Migrator
from streams.stores.cassandra.retrying import RetryOnce

READ: Final = "read"
WRITE: Final = "write"
PROTOCOL_VERSION: Final = 5
"""Of Cassandra 4.0 and later."""

WINDOW: Final = 128
"""Requests of one call that are under way at once: enough to keep the driver busy, 3 MB of states at most."""

RECONNECT_S: Final = 0.5
HEARTBEAT_S: Final = 5
SCHEMA_TIMEOUT_S: Final = 30.0


class Opened(NamedTuple):
    """The driver's cluster and session, and the statements prepared."""

    cluster: Any
    session: Any
    prepared: Mapping[str, Any]


class CassandraConnection:
    """Thread-safe, and usable in a forked child, which connects for itself. Raises FixRequest for a URL that cannot be.

    statements: all that are to be prepared when it connects, so that no call waits for that; `{keyspace}` in them
    stands for the keyspace. Every method raises TryAgain when the cluster is away, SlowDown when it is overloaded.
    """

    def __init__(self, settings: Settings, statements: Sequence[str]) -> None:
        self._settings = settings
        self._statements = statements
        self._address = parse_address(settings.durable_url)
        self._timeout_s = settings.cassandra_timeout_s
        self._closed = False
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._opening: Future[Opened] | None = None

    def prepared(self, statement: str) -> Any:
        """Return one of the statements prepared."""
        return self._opened().prepared[statement]

    def run(self, statements: Iterable[Any], profile: str) -> list[Any]:
        """Execute statements, WINDOW of them at once; return the driver's result sets in their order.

        The first that fails ends the call; others may have been done.
        """
        opened = self._opened()
        session = opened.session
        results: list[Any] = []
        under_way: deque[Any] = deque()
        try:
            for statement in statements:
                if len(under_way) == WINDOW:
                    results.append(under_way.popleft().result())
                under_way.append(session.execute_async(statement, execution_profile=profile))
            results.extend(future.result() for future in under_way)
        except DRIVER_ERRORS as error:
            raise self._noted(meaning(error), opened) from error
        return results

    def page(self, statement: Any, profile: str, after: bytes | None) -> tuple[list[Any], bytes | None]:
        """Return a page of a statement's rows, and what to give as `after` for the next one, None if it is the last."""
        opened = self._opened()
        try:
            result = opened.session.execute_async(statement, execution_profile=profile, paging_state=after).result()
        except DRIVER_ERRORS as error:
            raise self._noted(meaning(error), opened) from error
        return list(result.current_rows), result.paging_state

    def close(self) -> None:
        """Let go of the connections."""
        with self._lock:
            self._closed = True
            opening, self._opening = self._opening, None
        if opening is not None and self._pid == os.getpid():
            opening.add_done_callback(_shut_down)

    def _opened(self) -> Opened:
        if self._pid != os.getpid():
            self._begin_after_fork()
        with self._lock:
            if self._closed:
                raise TryAgain("the store is closed")
            if self._opening is None or _has_failed(self._opening):
                self._opening = Future()
                threading.Thread(
                    target=self._open_into, args=(self._opening,), name="cassandra-open", daemon=True
                ).start()
            opening = self._opening
        try:
            return opening.result(self._timeout_s)
        except FutureTimeoutError:
            raise TryAgain("Cassandra is away: connecting takes longer than a call may") from None

    def _begin_after_fork(self) -> None:
        """Leave the parent's session alone: its threads are not here, its connections are the parent's."""
        self._pid, self._lock, self._opening = os.getpid(), threading.Lock(), None

    def _noted(self, error: MarqueeError, opened: Opened) -> MarqueeError:
        """Have the next call open the session anew where the schema has gone, unless another call did so already."""
        if isinstance(error, SchemaGone):
            with self._lock:
                opening = self._opening
                is_ours = opening is not None and _has_succeeded(opening) and opening.result() is opened
                if is_ours:
                    self._opening = None
            if is_ours:
                opened.cluster.shutdown()
        return error

    def _open_into(self, opening: Future[Opened]) -> None:
        try:
            opening.set_result(self._open())
        except MarqueeError as error:
            opening.set_exception(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must reach the callers
            opening.set_exception(meaning(error))

    def _open(self) -> Opened:
        _quieten()
        cluster = self._cluster()
        try:
            session = cluster.connect()
            Migrator(
                session,
                self._address.keyspace,
                self._settings.cassandra_datacenter,
                self._settings.cassandra_replication,
            ).run()
            prepared = {statement: self._prepare(session, statement) for statement in self._statements}
        except BaseException as error:
            cluster.shutdown()
            if isinstance(error, NoHostAvailable):
                self._check_datacenter(cluster)
            raise
        return Opened(cluster, session, prepared)

    def _prepare(self, session: Any, statement: str) -> Any:
        prepared = session.prepare(statement.replace("{keyspace}", self._address.keyspace))
        prepared.is_idempotent = True
        return prepared

    def _check_datacenter(self, cluster: Any) -> None:
        known = {host.datacenter for host in cluster.metadata.all_hosts()} - {None}
        if known and self._settings.cassandra_datacenter not in known:
            raise FixRequest("MARQUEE_CASSANDRA_DATACENTER", f"the cluster has only {', '.join(sorted(known))}")

    def _cluster(self) -> Any:
        settings = self._settings
        secret = settings.cassandra_password.get_secret_value()
        auth = PlainTextAuthProvider(settings.cassandra_username, secret) if settings.cassandra_username else None
        tls = ssl.create_default_context(cafile=settings.cassandra_ca_file) if settings.cassandra_ca_file else None
        return Cluster(
            self._address.nodes,
            port=self._address.nodes[0][1],
            protocol_version=PROTOCOL_VERSION,
            execution_profiles=self._profiles(),
            auth_provider=auth,
            ssl_context=tls,
            compression=False,
            connect_timeout=self._timeout_s,
            control_connection_timeout=self._timeout_s,
            reconnection_policy=ConstantReconnectionPolicy(RECONNECT_S, max_attempts=None),
            idle_heartbeat_interval=HEARTBEAT_S,
            idle_heartbeat_timeout=self._timeout_s,
            monitor_reporting_enabled=False,
            application_name="marquee",
        )

    def _profiles(self) -> dict[object, Any]:
        settings = self._settings
        balancing = TokenAwarePolicy(DCAwareRoundRobinPolicy(settings.cassandra_datacenter))

        def profile(consistency: str, timeout_s: float, **others: Any) -> Any:
            return ExecutionProfile(
                load_balancing_policy=balancing,
                retry_policy=RetryOnce(),
                consistency_level=getattr(ConsistencyLevel, consistency),
                serial_consistency_level=ConsistencyLevel.LOCAL_SERIAL,
                request_timeout=timeout_s,
                row_factory=tuple_factory,
                **others,
            )

        ask_another = ConstantSpeculativeExecutionPolicy(delay=self._timeout_s / 4, max_attempts=1)
        read = profile(settings.cassandra_read_consistency, self._timeout_s, speculative_execution_policy=ask_another)
        return {
            EXEC_PROFILE_DEFAULT: read,
            READ: read,
            WRITE: profile(settings.cassandra_write_consistency, self._timeout_s),
            SCHEMA: profile("LOCAL_QUORUM", SCHEMA_TIMEOUT_S),
        }


def rows_of(results: Sequence[Any]) -> list[Any]:
    """Return the rows of results that are known to have one page each."""
    return [row for result in results for row in result.current_rows]


def _has_failed(opening: Future[Opened]) -> bool:
    return opening.done() and opening.exception() is not None


def _has_succeeded(opening: Future[Opened]) -> bool:
    return opening.done() and opening.exception() is None


def _shut_down(opening: Future[Opened]) -> None:
    if opening.exception() is None:
        opening.result().cluster.shutdown()


def _quieten() -> None:
    """The driver logs each lost connection and retry at length; what matters of them is raised."""
    logging.getLogger("cassandra").setLevel(logging.CRITICAL)
