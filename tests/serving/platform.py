"""A real serving application on real embedded engines in a temporary folder, with a small catalogue, past and model."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
from fastapi import FastAPI

from serving.app import create_app
from serving.asgi import Front
from serving.services import Services
from streams.catalogue import Catalogue, Title, publish_titles, read_catalogue
from streams.event_log.open import open_event_log
from streams.event_log.protocol import Batch, EventLog, Message
from streams.events import Event, encode_event
from streams.features.replay import replay
from streams.settings import Settings
from streams.stores.blobs import BlobStore
from streams.stores.open import open_durable, open_hot
from streams.stores.protocol import StateEntry
from streams.stores.sql import open_sql
from streams.topics import IMPRESSIONS, MEMBER_EVENTS
from tests.serving.tiny_model import write_tiny_model

GENRES = ("Action", "Comedy", "Drama", "Horror", "Romance", "Thriller")
TITLES = 120
MEMBERS = ("ann", "ben", "cleo", "dai", "eve", "fay")
EVENTS_EACH = 12
PUBLISHED_AGO_MS = 60_000
_serial = itertools.count()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def small_settings(folder: Path, **changes: Any) -> Settings:
    """Return settings of a platform in `folder` that does not wait for the disk."""
    values: dict[str, Any] = {
        "state": folder,
        "log_sync": False,
        "log_max_bytes": 64 << 20,
        "hot_max_bytes": 64 << 20,
        "title_refresh_s": 0.1,
        "model_refresh_s": 0.1,
    }
    return Settings(**(values | changes))


def small_catalogue(count: int = TITLES, seed: int = 1) -> list[Title]:
    """Return titles `t0`, `t1`, … of one or two genres each."""
    rng = random.Random(seed)
    return [
        Title(f"t{n}", f"Title {n}", 1980 + n % 45, tuple(sorted(rng.sample(GENRES, rng.choice((1, 2))))), 5_400)
        for n in range(count)
    ]


def event_of(member_id: str, item_id: str, kind: str = "play", at_ms: int | None = None, **fields: Any) -> Event:
    """Return an event with an id of its own."""
    return Event(f"e-{os.getpid()}-{next(_serial)}", kind, member_id, at_ms or now_ms(), item_id, **fields)  # type: ignore[arg-type]  # any of the literal's


def past_events(members: Sequence[str] = MEMBERS, each: int = EVENTS_EACH, seed: int = 2) -> list[Event]:
    """Return what members did in the last days: plays of titles, each member with other ones."""
    rng, start = random.Random(seed), now_ms() - 3 * 86_400_000
    return [
        event_of(member, f"t{rng.randrange(TITLES)}", "play", start + index * 3_600_000)
        for member in members
        for index in range(each)
    ]


def prepare(settings: Settings, *, model: bool = True, members: Sequence[str] = MEMBERS) -> None:
    """Publish the catalogue, append and fold a past, register a model."""
    sql = open_sql(settings)
    publish_titles(sql, small_catalogue(), now_ms() - PUBLISHED_AGO_MS)
    if model:
        titles = list(read_catalogue(sql).values())
        write_tiny_model(BlobStore(settings.path_of(settings.blobs_url)), sql, titles, GENRES)
    sql.dispose()
    log = open_event_log(settings)
    append_events(log, past_events(members))
    fold_log(settings, log)
    log.close()


def append_events(log: EventLog, events: Sequence[Event]) -> None:
    log.append(MEMBER_EVENTS, [Message(event.member_id.encode(), encode_event(event)) for event in events])


def fold_log(settings: Settings, log: EventLog) -> None:
    """Fold all that is in the log and write the states in the platform's order: hot, then durable."""
    sql = open_sql(settings)
    states = replay(_batches(log), read_catalogue(sql)).packed()
    sql.dispose()
    stores = (open_hot(settings), open_durable(settings))
    for kind in ("title", "title_shown", "member"):
        entries = [StateEntry(key, value) for key, value in states.get(kind, {}).items()]
        for store in stores:
            store.put(kind, entries)
    for store in stores:
        store.close()


def _batches(log: EventLog) -> Iterator[Batch]:
    for topic in (MEMBER_EVENTS, IMPRESSIONS):
        for partition in range(log.partition_count(topic)):
            records = log.read(topic, partition, 0, 1_000_000)
            yield Batch(topic, partition, log.epoch(topic), records)


@dataclass(frozen=True)
class Platform:
    """A running application: its services, and a client that calls it in process."""

    settings: Settings
    front: Front
    services: Services
    client: httpx.AsyncClient

    async def homepage(self, member_id: str = "ann", **params: str) -> dict[str, Any]:
        """Return a homepage, which is answered with 200 whatever is broken."""
        answer = await self.client.get("/homepage", params={"member_id": member_id, **params})
        assert answer.status_code == 200, answer.text
        page: dict[str, Any] = answer.json()
        return page

    def act(self, member_id: str, item_id: str, kind: str = "play") -> None:
        """Append an event and fold it, as the agents do."""
        append_events(self.services.log, [event_of(member_id, item_id, kind)])
        fold_log(self.settings, self.services.log)

    @property
    def catalogue(self) -> Catalogue:
        return self.services.catalogue.current


@contextlib.asynccontextmanager
async def running_platform(
    folder: Path, *, model: bool = True, prepared: bool = True, **changes: Any
) -> AsyncIterator[Platform]:
    """Yield a running platform in `folder`; `changes` are settings. Enter and leave it in one task.

    A page may take 10 s: how busy the machine is does not change what is served. Tests of the deadline set their own.
    """
    settings = small_settings(folder, **({"page_deadline_s": 10.0} | changes))
    if prepared:
        prepare(settings, model=model)
    front = create_app(settings)
    api = cast("FastAPI", front.api)
    transport = httpx.ASGITransport(front)
    async with (
        api.router.lifespan_context(api),
        httpx.AsyncClient(transport=transport, base_url="http://marquee") as client,
    ):
        yield Platform(settings, front, api.state.services, client)


@contextlib.contextmanager
def serving_process(settings: Settings) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Yield a `marquee serve` process and its URL, once it answers; it is killed afterwards if it still runs."""
    port = _free_port()
    environment = os.environ | {
        "MARQUEE_STATE": str(settings.state),
        "MARQUEE_PORT": str(port),
        "MARQUEE_LOG_SYNC": "false",
        "MARQUEE_PAGE_DEADLINE_S": "10",
        "OMP_NUM_THREADS": "1",
    }
    process = subprocess.Popen([sys.executable, "-m", "marquee", "serve"], env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url, process)
        yield process, url
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s:
        assert process.poll() is None, f"serving ended with {process.returncode}"
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(f"{url}/healthz", timeout=1).raise_for_status()
            return
        time.sleep(0.1)
    raise AssertionError("serving does not answer")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
