"""Redis: one server, and a cluster of three nodes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from marquee.engines.engine import HOST, Engine, Place
from marquee.engines.process import Command
from streams.errors import TryAgain

if TYPE_CHECKING:
    import redis

NODES: Final = 3
SLOTS: Final = 16_384
TIMEOUT_S: Final = 2.0

SETTINGS: Final = """\
bind {host}
port {port}
dir "{data}"
# An acknowledged write is on the disk. `everysec` loses, at a kill -9, what was acknowledged while a sync went on: an
# agent that lives on would not write those states again. It costs writes a sync each, and reads little: see the docs.
appendonly yes
appendfsync {sync}
save ""
maxmemory 1gb
# only what expires may go, the soonest first: cached pages; states never do
maxmemory-policy volatile-ttl
loglevel notice
"""

NODE_SETTINGS: Final = """\
cluster-enabled yes
cluster-port {bus}
cluster-node-timeout 15000
cluster-allow-replica-migration no
"""


class Redis(Engine):
    """One server on loopback, with an append-only file."""

    name: ClassVar[str] = "redis"

    @property
    def ports(self) -> tuple[int, ...]:
        """Clients'."""
        return (self.place.base_port + 79,)

    @property
    def url(self) -> str:
        """Its first database."""
        return f"redis://{HOST}:{self.ports[0]}/0"

    @property
    def settings(self) -> Mapping[str, str]:
        """The hot store and the page cache."""
        return {"MARQUEE_HOT_URL": self.url}

    def missing(self) -> str | None:
        """The server."""
        return _missing()

    def prepare(self) -> None:
        """Write the settings."""
        _write(self.place, self.place.conf / "redis.conf", self.place.data, self.ports[0])

    def processes(self) -> dict[str, Command]:
        """Return the server."""
        return {self.name: _server(self.place.conf / "redis.conf", self.place.data)}

    def check(self) -> None:
        """Say PING."""
        with _client(self.ports[0]) as client:
            client.ping()


class RedisCluster(Engine):
    """Three nodes on loopback, which share the slots."""

    name: ClassVar[str] = "redis-cluster"

    @property
    def ports(self) -> tuple[int, ...]:
        """Clients' of each node, then the nodes' own."""
        first = self.place.base_port + 70
        return (*range(first, first + NODES), *range(first + NODES, first + 2 * NODES))

    @property
    def url(self) -> str:
        """All nodes."""
        return "redis+cluster://" + ",".join(f"{HOST}:{port}" for port in self.ports[:NODES])

    def missing(self) -> str | None:
        """The server."""
        return _missing()

    def prepare(self) -> None:
        """Write each node's settings."""
        for number in range(NODES):
            node = NODE_SETTINGS.format(bus=self.ports[NODES + number])
            _write(self.place, self._conf(number), self._data(number), self.ports[number], node)

    def processes(self) -> dict[str, Command]:
        """Return the nodes."""
        return {f"{self.name}-{n}": _server(self._conf(n), self._data(n)) for n in range(NODES)}

    def check(self) -> None:
        """Introduce new nodes to one another; ask each whether every slot has an owner that answers."""
        well = [self._is_well(number) for number in range(NODES)]
        if not all(well):
            raise TryAgain("its nodes do not all know one another yet")

    def _is_well(self, number: int) -> bool:
        with _client(self.ports[number]) as node:
            info = _ask(node, "CLUSTER INFO")
            if info["cluster_slots_assigned"] == "0":
                self._join(node, number)
            found = (info["cluster_state"], info["cluster_slots_ok"], info["cluster_size"])
            return found == ("ok", str(SLOTS), str(NODES))

    def _join(self, node: redis.Redis, number: int) -> None:
        first, last = SLOTS * number // NODES, SLOTS * (number + 1) // NODES - 1
        _ask(node, "CLUSTER SET-CONFIG-EPOCH", number + 1)
        _ask(node, "CLUSTER ADDSLOTSRANGE", first, last)
        _ask(node, "CLUSTER MEET", HOST, self.ports[0], self.ports[NODES])

    def _conf(self, number: int) -> Path:
        return self.place.conf / f"{number}.conf"

    def _data(self, number: int) -> Path:
        return self.place.data / str(number)


def _missing() -> str | None:
    return None if shutil.which("redis-server") else "redis-server is missing (Debian: apt install redis-server)"


def _write(place: Place, conf: Path, data: Path, port: int, more: str = "") -> None:
    conf.parent.mkdir(parents=True, exist_ok=True)
    data.mkdir(parents=True, exist_ok=True)
    conf.write_text(SETTINGS.format(host=HOST, port=port, data=data, sync="no" if place.throwaway else "always") + more)


def _server(conf: Path, data: Path) -> Command:
    return Command((shutil.which("redis-server") or "redis-server", str(conf)), data)


def _client(port: int) -> redis.Redis:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    once = Retry(NoBackoff(), 0)  # whoever waits for it asks again, and sees meanwhile whether it has ended
    return redis.Redis(host=HOST, port=port, socket_timeout=TIMEOUT_S, retry=once, decode_responses=True)


def _ask(node: redis.Redis, *words: str | int) -> dict[str, str]:
    answer: dict[str, str] = node.execute_command(*words)  # type: ignore[no-untyped-call]
    return answer
