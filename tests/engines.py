"""The real engines for tests: fixtures that give URLs, and find or start what is behind them.

An engine is looked for in this order: its URL in the environment (MARQUEE_TEST_KAFKA_URL and so on); Docker, through
testcontainers; this machine's Java, Maven, redis-server and PostgreSQL (marquee.engines). Where it cannot be had the
test is skipped, or fails with MARQUEE_REQUIRE_ENGINES=1. One set serves all workers of a run, holds only the engines
that collected tests ask for, and starts while other tests run. The run's first process stops it at the end; if that
process is killed, a guard does.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from marquee.engines.cli import quiet_clients
from marquee.engines.compose import docker_answers
from marquee.engines.engine import is_open
from marquee.engines.guard import kill_all, start_guard
from marquee.engines.local import DEFAULT_FOLDER, KINDS, Engines
from marquee.engines.process import Started, moment_of
from streams.errors import MarqueeError
from tests.containers import CONTAINERS, run_container

FIXTURES = {f"{kind.name.replace('-', '_')}_url": kind.name for kind in KINDS}
PARAMETERS = {engine: engine for engine in FIXTURES.values()} | {"postgresql": "postgres"}
FOLDER = "MARQUEE_TEST_ENGINES_FOLDER"
"""Set by a run's first process for its workers: where the engines of this run are."""
OWNER = "MARQUEE_TEST_ENGINES_OWNER"
JARS = Path(__file__).resolve().parents[1] / DEFAULT_FOLDER / "jars"
"""Kept between runs; `make clean` leaves them."""
PORTS = range(22_000, 32_000, 100)
"""First ports of sets of engines: apart from those of `make engines-up`, below those of outgoing connections."""

_starting: dict[str, Future[str]] = {}
_private = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        os.environ[FOLDER] = str(Path(tempfile.gettempdir()) / f"marquee-test-engines-{os.getpid()}")
        os.environ[OWNER] = f"{os.getpid()} {moment_of(os.getpid())}"


def pytest_unconfigure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    folder = Path(os.environ[FOLDER])
    if folder.exists():
        kill_all(folder)
        for container in folder.glob("*.container"):
            subprocess.run(["docker", "rm", "--force", "--volumes", container.read_text()], capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start what the tests to run ask for, meanwhile."""
    if session.config.option.collectonly:
        return
    asked = {engine for item in session.items for engine in _asked_by(item)}
    names = [engine for engine in FIXTURES.values() if engine in asked and not _in_environment(engine)]
    if not names:
        return
    pool = ThreadPoolExecutor(max_workers=len(names), thread_name_prefix="engine")
    _starting.update({name: pool.submit(_start, name) for name in names})
    pool.shutdown(wait=False)


def pytest_sessionfinish() -> None:
    """Wait for what still starts: threads do not outlive the session. Why one failed, its tests have said."""
    for future in _starting.values():
        future.exception()


@pytest.fixture(scope="session")
def kafka_url() -> str:
    """A broker: `kafka://host:port`, without prefix."""
    return _url("kafka")


@pytest.fixture(scope="session")
def redis_url() -> str:
    """A Redis server: `redis://host:port/0`. It is everybody's: use a prefix, kill nothing, flush nothing."""
    return _url("redis")


@pytest.fixture(scope="session")
def redis_cluster_url() -> str:
    """A Redis Cluster of three nodes: `redis+cluster://host:port,host:port,host:port`."""
    return _url("redis-cluster")


@pytest.fixture(scope="session")
def cassandra_url() -> str:
    """A Cassandra node: `cassandra://host:port`, without keyspace."""
    return _url("cassandra")


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """A PostgreSQL database: `postgresql://user@host:port/database`; its user may create others."""
    return _url("postgres")


class RedisServer:
    """A Redis of one test, to be killed, emptied and frozen as it likes."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self.url = engines.url("redis")
        self.port = engines.base_port + 79

    def start(self, *, wipe: bool = False) -> None:
        """Start it (again), with its data or without, and return once it answers."""
        self._engines.start("redis", wipe=wipe)

    def stop(self) -> None:
        """Stop it cleanly."""
        self._engines.stop("redis")

    def kill(self) -> None:
        """Kill it with -9."""
        self._engines.kill("redis")

    def freeze(self) -> None:
        """Let its port be open and nothing answer."""
        self._engines.freeze("redis")

    def thaw(self) -> None:
        """Let it go on."""
        self._engines.thaw("redis")


@pytest.fixture
def redis_server() -> Iterator[Callable[[], RedisServer]]:
    """Return what starts a Redis of the test's own on free ports; they are killed and removed after the test."""
    folders: list[Path] = []

    def start() -> RedisServer:
        engines = private_engines()
        folders.append(engines.folder)
        if why := engines.missing("redis"):
            _cannot(why)
        server = RedisServer(engines)
        server.start()
        return server

    yield start
    for folder in folders:
        kill_all(folder)
        shutil.rmtree(folder)


def private_engines(*, quick: bool = True) -> Engines:
    """Return engines of the caller's own, none started, on free ports; they end with the test run at the latest."""
    folder = _run_folder() / f"private-{os.getpid()}-{next(_private)}"
    return Engines(folder, free_ports(), quick=quick, jars=JARS)


def require_engines(*names: str) -> None:
    """Skip the test, or fail where engines are required, unless this machine can run these."""
    engines = private_engines()
    for name in names:
        if (why := engines.missing(name)) is not None:
            _cannot(why)


def free_ports() -> int:
    """Return the first of a hundred ports that nobody listens on."""
    for base in random.SystemRandom().sample(PORTS, len(PORTS)):
        if not any(is_open(port) for port in range(base + 30, base + 95)):
            return base
    raise AssertionError("there are no free ports")


def _asked_by(item: pytest.Item) -> Iterator[str]:
    """Yield the engines that a test asks for by a fixture, or by a parameter that names one (in a contract suite)."""
    for name in getattr(item, "fixturenames", ()):
        if name in FIXTURES:
            yield FIXTURES[name]
    callspec = getattr(item, "callspec", None)
    for value in () if callspec is None else callspec.params.values():
        if isinstance(value, str) and value in PARAMETERS:
            yield PARAMETERS[value]


def _url(name: str) -> str:
    if found := _in_environment(name):
        return found
    try:
        future = _starting.get(name)
        return _start(name) if future is None else future.result()
    except MarqueeError as error:
        _cannot(str(error))


def _in_environment(name: str) -> str | None:
    return os.environ.get(f"MARQUEE_TEST_{name.upper().replace('-', '_')}_URL")


def _cannot(why: str) -> None:
    if os.environ.get("MARQUEE_REQUIRE_ENGINES") == "1":
        pytest.fail(why, pytrace=False)
    pytest.skip(why)


def _start(name: str) -> str:
    """Return an engine's URL once it answers; whichever worker is first starts it, the others wait."""
    folder = _run_folder()
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        written = folder / f"{name}.url"
        if not written.exists():
            written.write_text(_start_engine(name, folder))
        return written.read_text()


def _start_engine(name: str, folder: Path) -> str:
    engines = Engines(folder / "shared", _shared_ports(folder), quick=True, throwaway=True, jars=JARS)
    with quiet_clients():
        if name in CONTAINERS and docker_answers():
            container = run_container(name, engines.ports(name)[0])
            (folder / f"{name}.container").write_text(container)
            engines.wait_until_ready(name)
        else:
            engines.start(name)
    return engines.url(name)


def _shared_ports(folder: Path) -> int:
    with (folder / "ports.lock").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if not (kept := file.read()):
            kept = str(free_ports())
            file.write(kept)
        return int(kept)


def _run_folder() -> Path:
    """Return this run's folder; the first to ask makes it and sets a guard over it."""
    folder = Path(os.environ[FOLDER])
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o755)
        pid, _, moment = os.environ[OWNER].partition(" ")
        start_guard(folder, Started(int(pid), moment))
    return folder
