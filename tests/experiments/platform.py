"""A platform for whole experiments: a generated world, a bad model and a good one, members who act, real agents."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import sqlalchemy as sa

from serving.experiments.lifecycle import Start
from serving.experiments.roles import Actor
from serving.experiments.standing import Standing, Standings
from serving.experiments.store import ExperimentStore
from serving.models.loader import load_model
from streams.agents.opening import open_agents
from streams.agents.runner import run_agents
from streams.catalogue import Title, publish_titles, read_catalogue
from streams.event_log.open import open_event_log
from streams.event_log.protocol import EventLog
from streams.experiments.definition import Definition, Experiment
from streams.experiments.moments import SCALE, Y
from streams.experiments.outcome_store import read_aggregates
from streams.importers.dataset import Dataset
from streams.impressions import Exposure, decode_exposure
from streams.settings import Settings
from streams.simulation.generated import generate_dataset
from streams.simulation.names import GENRES
from streams.simulation.report import Report
from streams.simulation.tastes import World
from streams.simulation.visitors import Plan, Visitors
from streams.stores.blobs import BlobStore
from streams.stores.sql import open_sql
from streams.topics import EXPOSURES
from tests.serving.platform import append_events, now_ms, small_settings
from tests.serving.tiny_model import point_alias, register, write_tiny_model
from training_bridge.packaging import no_neighbours, store_model
from training_bridge.ranker.from_events import interactions_from_events, meta_from_titles
from training_bridge.ranker.training import train

SEED: Final = 3
TITLES: Final = 300
EVENTS_EACH: Final = 15
TRAINED_EVENTS: Final = 5_000
COUNTED_S: Final = 60.0
"""How long the agents may take on a busy machine; they are done when all is counted."""

PERSON: Final = Actor("ann", "approver")


@dataclass(frozen=True)
class Place:
    """A platform in a folder."""

    settings: Settings
    sql: sa.Engine
    log: EventLog
    store: ExperimentStore

    def start(self, definition: Definition) -> Experiment:
        """Draft and start an experiment."""
        self.store.create(definition, PERSON, now_ms())
        return self.store.act(definition.id, Start(), PERSON, now_ms(), random.Random(7))

    def stand(self, name: str) -> Standing:
        """Take a look at an experiment, by what its agents have counted."""
        return Standings(self.sql).take_look(self.store.read(name), now_ms())

    def exposures(self, name: str) -> list[Exposure]:
        """Return what the log has of an experiment."""
        found = [
            decode_exposure(record.value)
            for partition in range(self.log.partition_count(EXPOSURES))
            for record in self.log.read(EXPOSURES, partition, 0, 1_000_000)
        ]
        return [exposure for exposure in found if exposure.experiment == name]

    def counted(self, name: str, plays: int = 0) -> Standing:
        """Return how an experiment stands once its agents have counted every member in the log, and so many plays."""
        deadline_s = time.monotonic() + COUNTED_S
        while True:
            aggregates = [sums for cell, sums in read_aggregates(self.sql, name)[0] if cell.segment == ""]
            members = sum(sums.members for sums in aggregates)
            played = sum(sums.moments["plays"].sums[Y] for sums in aggregates) // SCALE
            if (members, played) == (len({one.member_id for one in self.exposures(name)}), plays):
                return self.stand(name)
            assert time.monotonic() < deadline_s, f"{members} members and {played} plays are counted"
            time.sleep(0.2)


@contextlib.contextmanager
def platform(folder: Path, members: int) -> Iterator[Place]:
    """Yield a platform whose champion takes each title for another, and whose candidate is trained on its past."""
    settings = small_settings(folder, experiment_refresh_s=0.1)
    dataset = generate_dataset(SEED, TITLES, members, members * EVENTS_EACH, end_ms=now_ms() - 3_600_000)
    sql = open_sql(settings)
    publish_titles(sql, list(dataset.titles), now_ms() - 60_000)
    blobs = BlobStore(settings.path_of(settings.blobs_url))
    write_tiny_model(blobs, sql, _mistaken(list(read_catalogue(sql).values())), GENRES)
    _write_candidate(blobs, sql, dataset)
    log = open_event_log(settings)
    append_events(log, dataset.events)
    yield Place(settings, sql, log, ExperimentStore(sql, partial(load_model, blobs)))
    log.close()
    sql.dispose()


@contextlib.contextmanager
def agents(settings: Settings) -> Iterator[None]:
    """Run the agents that fold events and count outcomes."""
    stop, log = threading.Event(), open_event_log(settings)
    with contextlib.ExitStack() as stack:
        running = open_agents(("features", "experiments"), settings, log, stack)
        thread = threading.Thread(target=run_agents, args=(log, running, stop))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
    log.close()


def visits(url: str, members: int, pages: int) -> Report:
    """Have simulated members look at pages over HTTP, and send what they did."""
    plan = Plan(url=url, members=members, pages=pages, seed=SEED)
    return asyncio.run(Visitors(plan, World(SEED)).run())


def _mistaken(titles: list[Title]) -> list[Title]:
    """Return titles under one another's ids."""
    item_ids = [title.item_id for title in titles]
    random.Random(SEED).shuffle(item_ids)
    return [
        Title(item_id, title.title, title.year, title.genres) for item_id, title in zip(item_ids, titles, strict=True)
    ]


def _write_candidate(blobs: BlobStore, sql: sa.Engine, dataset: Dataset) -> None:
    events = dataset.events[-TRAINED_EVENTS:]
    weights = train(
        interactions_from_events(dataset.titles, events),
        meta_from_titles(dataset.titles),
        now_ms=events[-1].event_time_ms,
        rng=np.random.default_rng(SEED),
    )
    version = store_model(
        blobs,
        weights,
        no_neighbours(len(weights.titles)),
        metrics={},
        dataset=dataset.address,
        run="test",
        created_at_ms=now_ms(),
    )
    register(sql, version, now_ms())
    point_alias(sql, "candidate", version, now_ms())
