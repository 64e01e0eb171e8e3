"""Agents killed with -9 at random moments, duplicates and late messages: what is counted is what the warehouse has."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from serving.experiments.recomputing import Recomputed, lines_of, recompute_and_compare
from streams.catalogue import GRACE_MS, Title, publish_titles
from streams.event_log.open import ensure_topics, open_event_log
from streams.event_log.protocol import Message
from streams.events import Event, encode_event
from streams.experiments.tables import experiments_table
from streams.impressions import encode_exposure
from streams.settings import Settings
from streams.stores.sql import open_sql, upsert, writing
from streams.topics import EXPOSURES, MEMBER_EVENTS
from tests.streams.agents.test_app import start
from tests.streams.experiments.world import an_experiment, an_exposure

MEMBERS = 40
BATCHES = 24
KILLS = 6
PATIENCE_S = 60.0


def _prepare(settings: Settings) -> None:
    engine = open_sql(settings)
    titles = [Title(f"t{number}", "A title", 2020, ("Drama",)) for number in range(5)]
    publish_titles(engine, titles, time.time_ns() // 1_000_000 - 2 * GRACE_MS)
    experiment = an_experiment()
    value = msgspec.json.encode(experiment).decode()
    row = {"id": "rows", "status": "running", "revision": 1, "value": value, "updated_at_ms": 0}
    with writing(engine) as connection:
        connection.execute(upsert(engine, experiments_table), row)
    engine.dispose()


def _events(rng: random.Random, number: int) -> list[Message]:
    """Return events of now and of days ago, some of which are sent twice."""
    now_ms = time.time_ns() // 1_000_000
    events = [
        Event(
            f"e{number}-{each}",
            rng.choice(["play", "complete", "rate"]),  # type: ignore[arg-type]
            f"m{rng.randrange(MEMBERS)}",
            now_ms - rng.choice([0, 0, 3_600_000, 3 * 86_400_000]) - rng.randrange(1_000),
            f"t{rng.randrange(5)}",
            value=4.0,
        )
        for each in range(40)
    ]
    messages = [Message(event.member_id.encode(), encode_event(event)) for event in events]
    return messages + rng.sample(messages, 4)


def _exposures(rng: random.Random) -> list[Message]:
    now_ms = time.time_ns() // 1_000_000
    exposures = []
    for member in rng.sample(range(MEMBERS), 6):
        variant = rng.choice(["control", "treatment"]) if member == 0 else ("control", "treatment")[member % 2]
        at_ms = now_ms - rng.choice([0, 0, 7_200_000]) - rng.randrange(1_000)
        exposures.append(an_exposure(f"m{member}", variant, at_ms, step=rng.choice(["fresh", "stale"])))
    return [Message(each.member_id.encode(), encode_exposure(each)) for each in exposures]


@contextmanager
def _running(settings: Settings, names: Sequence[str]) -> Iterator[dict[str, subprocess.Popen[str]]]:
    processes = {name: start(settings, name) for name in names}
    try:
        yield processes
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()


def _wait_for(found: Callable[[], Recomputed]) -> Recomputed:
    ends = time.monotonic() + PATIENCE_S
    while True:
        recomputed = found()
        if not any(recomputed.behind.values()) or time.monotonic() > ends:
            return recomputed
        time.sleep(0.2)


@pytest.mark.slow
def test_after_kills_duplicates_and_late_messages_the_aggregates_are_those_of_the_warehouse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = random.SystemRandom().randrange(1 << 30)
    rng = random.Random(seed)
    monkeypatch.setenv("MARQUEE_WAREHOUSE_FLUSH_S", "0.2")
    settings = Settings(state=tmp_path, log_sync=False, session_timeout_ms=1_000)
    _prepare(settings)
    log = open_event_log(settings)
    ensure_topics(log, settings)
    with _running(settings, ("features", "sink", "experiments")) as processes:
        time.sleep(1.5)
        kills = set(rng.sample(range(BATCHES), KILLS))
        for number in range(BATCHES):
            log.append(MEMBER_EVENTS, _events(rng, number))
            log.append(EXPOSURES, _exposures(rng))
            time.sleep(rng.uniform(0.02, 0.2))
            if number in kills:
                name = rng.choice(["experiments", "experiments", "features", "sink"])
                processes[name].kill()
                processes[name].communicate()
                processes[name] = start(settings, name)
        recomputed = _wait_for(lambda: recompute_and_compare(settings, "rows"))
    log.close()
    assert recomputed.different == [], (seed, lines_of(recomputed))
    assert recomputed.behind == {"experiments": 0, "warehouse": 0}, seed
    assert recomputed.members > MEMBERS / 2
