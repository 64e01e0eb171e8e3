"""Everything a request may need, wired once by `serving.app`; routers find it as `request.app.state.services`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from serving.catalogue_holder import CatalogueHolder
from serving.experiments.baselines import Baselines
from serving.experiments.exposing import ExposureLog
from serving.experiments.live import LiveExperiments
from serving.experiments.recent_standings import RecentStandings
from serving.generations import GenerationalReads
from serving.health import EngineProbe
from serving.homepage.impression_log import ImpressionLog
from serving.homepage.page_cache import PageCache
from serving.homepage.request import RequestMemo
from serving.homepage.service import HomepageService
from serving.homepage.state_reader import StateReader
from serving.ingest import Ingest
from serving.models.holder import ModelHolder
from serving.pages.params import PageParams
from serving.partition_count import PartitionCount
from serving.titles import SnapshotArchive, TitleBoard
from streams.event_log.protocol import EventLog
from streams.settings import Settings
from streams.stores.blobs import BlobStore
from streams.stores.generations import ServingGenerations
from streams.stores.protocol import DurableStore, StateStore


@dataclass(frozen=True, slots=True)
class Services:
    """The wired services of one serving process.

    log, hot, durable: engines that may be away; each call on them raises TryAgain (or SlowDown) then, and works again
    once they are back. They block: routers call them from plain `def` handlers (which run in a thread).
    live, states: reads of `hot`, and of members in `hot` or else `durable`, for the event loop.
    partitions: how many the impressions' topic has.
    catalogue, titles, models: holders whose `.current` is swapped whole by background refreshes.
    snapshots: the title snapshots that served pages were computed with.
    ingest: `await ingest.submit(events)`; impressions: `impressions.find(page_id)` (blocking);
    experiments: as last read; requests: reads query strings, and gives each its treatment by the running experiments;
    homepage: `await homepage.serve(...)`; exposures: `exposures.put(exposure)`, from any thread.
    clock_ms: Unix time in ms.
    """

    settings: Settings
    log: EventLog
    hot: StateStore
    live: GenerationalReads
    generations: ServingGenerations
    states: StateReader
    durable: DurableStore
    sql: sa.Engine
    blobs: BlobStore
    catalogue: CatalogueHolder
    partitions: PartitionCount
    titles: TitleBoard
    snapshots: SnapshotArchive
    models: ModelHolder
    page_params: PageParams
    page_cache: PageCache
    homepage: HomepageService
    ingest: Ingest
    impressions: ImpressionLog
    exposures: ExposureLog
    experiments: LiveExperiments
    baselines: Baselines
    standings: RecentStandings
    requests: RequestMemo
    clock_ms: Callable[[], int]
    engines: EngineProbe
    problems: Callable[[], dict[str, str]]
    """What is away now, by part ("log", "hot", "durable", "catalogue", "model", "impressions", "exposures",
    "experiments"); empty when all is well. Blocks for a second at most."""
