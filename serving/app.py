"""The serving process: wires engines, holders and services, and closes them in order.

`create_app(settings)` returns the ASGI application: a plain ASGI front that answers `GET /homepage`, and FastAPI behind
it for everything else. Routers are the `router` of each module in `serving.api`; they find the `Services` in
`request.app.state.services`. Every engine may be away at the start: its calls fail until it is back, pages come from a
lower step of the ladder, and the holders try again in the background.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import itertools
import logging
import pkgutil
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import Final

import prometheus_client
from fastapi import APIRouter, FastAPI

import serving.api
from serving.asgi import Front
from serving.catalogue_holder import CatalogueHolder
from serving.experiments.baselines import Baselines
from serving.experiments.exposing import ExposureLog
from serving.experiments.live import FILE, LiveExperiments
from serving.experiments.recent_standings import RecentStandings
from serving.experiments.standing import Standings
from serving.generations import GenerationalReads, follow_generations, look
from serving.health import engine_probe, find_problems
from serving.homepage.impression_log import ImpressionLog
from serving.homepage.page_cache import DEFAULT_MAX_BYTES, CachedPage, PageCache
from serving.homepage.page_counts import PAGE_COUNTS
from serving.homepage.page_maker import PageMaker
from serving.homepage.request import RequestMemo
from serving.homepage.service import HomepageService, wall_clock_ms
from serving.homepage.spool import Spool
from serving.homepage.spooled_appender import APPEND_S
from serving.homepage.state_reader import StateReader
from serving.homepage.treatment import Treatments, models_wanted
from serving.ingest import Ingest
from serving.models.holder import ModelHolder
from serving.on_loop import on_loop
from serving.pages.params import DEFAULT_PARAMS
from serving.partition_count import PartitionCount
from serving.problems import add_problem_handlers
from serving.ranking.model import RankingModel
from serving.services import Services
from serving.titles import SnapshotArchive, TitleBoard
from streams.errors import FixRequest, SlowDown, TryAgain
from streams.event_log.open import ensure_topics, open_event_log
from streams.experiments.metric import Metric
from streams.experiments.moments import Moments
from streams.features.member import MEMBER
from streams.features.replay import feature_versions
from streams.features.title import TITLE, TITLE_SHOWN
from streams.settings import Settings
from streams.stores.blobs import BlobStore
from streams.stores.generations import GenerationalDurableStore, GenerationalStore, ServingGenerations
from streams.stores.live_reads import LiveReads
from streams.stores.metered import open_metered_durable
from streams.stores.open import open_hot, open_live_reads
from streams.stores.protocol import DurableStore, StateStore
from streams.stores.sql import open_sql
from streams.topics import IMPRESSIONS

logger = logging.getLogger(__name__)

WARM_S: Final = 0.2
"""How soon after a new title snapshot it is made ready for pages; a page that comes first does it itself."""

CATALOGUE_REFRESH_TICKS: Final = 5
"""The catalogue is read every second: a new title is on pages two seconds after it is published."""

PARTITIONS_REFRESH_S: Final = 1.0
"""A page served within this after a topic has grown may name a partition that its impression is not in."""

REMOTE_SHARE: Final = 0.4
REMOTE_THREADS: Final = 8
"""Of a page's deadline, for reads of a durable store behind a network: with the hot store's timeout before it, the
deadline holds; and the threads wait, they do not compute."""

TOPICS_TIMEOUT_S: Final = 1.0
"""How long a log that is away or hangs may keep the process from serving."""

START_TIMEOUT_S: Final = 15.0
"""How long the first snapshot and the first model may keep the process from serving; then it serves without."""

CLOSE_TIMEOUT_S: Final = 3.0
"""How long each queue may take to drain at the end."""


def create_app(settings: Settings) -> Front:
    """Return the application of one serving process over the engines that `settings` name.

    Raises FixRequest for engines that it does not know, OSError if the state folder cannot be made.
    """

    @contextlib.asynccontextmanager
    async def lifespan(api: FastAPI) -> AsyncIterator[None]:
        async with running_services(settings) as services:
            api.state.services = services
            front.homepage, front.requests = services.homepage, services.requests
            yield
            front.homepage = None

    api = FastAPI(
        title="Marquee",
        version="0.1.0",
        summary="Personalised homepages that change with each event.",
        lifespan=lifespan,
    )
    add_problem_handlers(api)
    for router in _routers():
        api.include_router(router)
    front = Front(api)
    return front


@contextlib.asynccontextmanager
async def running_services(settings: Settings) -> AsyncIterator[Services]:
    """Yield the services of a process, started; close them in order, within bounds, afterwards."""
    services = open_services(settings)
    with contextlib.suppress(ValueError):  # a process that runs a second application has them registered already
        prometheus_client.REGISTRY.register(PAGE_COUNTS)
    log_ready = asyncio.create_task(_make_topics(services))
    await _start(services, log_ready)
    following = follow_generations(services.generations, services.live, services.titles, services.page_cache)
    tasks = [
        asyncio.create_task(_refresh(services)),
        asyncio.create_task(_follow_partitions(services, log_ready)),
        asyncio.create_task(following),
        log_ready,
    ]
    try:
        yield services
    finally:
        for task in tasks:
            task.cancel()
        await _close(services)


def open_services(settings: Settings) -> Services:
    """Return the wired services, none of them started. Call it in a running event loop."""
    settings.state.mkdir(parents=True, exist_ok=True)
    log = open_event_log(settings, with_topics=False)
    all_hot, all_durable, sql = open_hot(settings), open_metered_durable(settings), open_sql(settings)
    generations = ServingGenerations(all_durable, feature_versions(), copy=all_hot)
    open_reads = partial(open_live_reads, settings, all_hot)
    live = GenerationalReads((MEMBER.name, TITLE.name, TITLE_SHOWN.name), open_reads, generations.names)
    hot = GenerationalStore(all_hot, generations.names)
    durable = GenerationalDurableStore(all_durable, generations.names)
    blobs = BlobStore(settings.path_of(settings.blobs_url))
    catalogue = CatalogueHolder(sql)
    partitions = PartitionCount(log, IMPRESSIONS, settings.partitions)
    snapshots = SnapshotArchive(settings.state / "snapshots")
    loop = asyncio.get_running_loop()
    titles = TitleBoard(lambda: catalogue.current, hot, durable, wall_clock_ms(), changed=on_loop(loop, live.changed))

    def bind(model: RankingModel) -> None:
        model.bind(titles.current)

    def share(pages: Sequence[CachedPage]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(services.homepage.share, pages)

    experiments = LiveExperiments(sql, settings.state / FILE, settings.experiment_refresh_s, wall_clock_ms)
    models = ModelHolder(
        sql, blobs, settings.model_refresh_s, prepare=bind, wanted=lambda: models_wanted(experiments.current)
    )
    append_s = None if settings.scheme_of(settings.log_url) == "embedded" else APPEND_S
    exposures = ExposureLog(
        log, Spool(settings.state / "exposures.spool"), settings.impression_queue, append_s=append_s
    )
    impressions = ImpressionLog(
        log,
        Spool(settings.state / "impressions.spool"),
        settings.impression_queue,
        snapshots.persist,
        append_s=append_s,
        on_written=None if settings.scheme_of(settings.hot_url) == "embedded" else share,
        on_shown=exposures.note,
    )
    cache = PageCache(
        settings.page_cache_entries,
        DEFAULT_MAX_BYTES,
        settings.page_ttl_s,
        settings.page_ttl_jitter,
        settings.stale_max_s,
    )
    states, engines = _state_reader(settings, hot, live, durable), engine_probe(log, hot, durable)
    services = Services(
        settings=settings,
        log=log,
        hot=hot,
        live=live,
        generations=generations,
        states=states,
        durable=durable,
        sql=sql,
        blobs=blobs,
        catalogue=catalogue,
        partitions=partitions,
        titles=titles,
        snapshots=snapshots,
        models=models,
        page_params=DEFAULT_PARAMS,
        page_cache=cache,
        homepage=HomepageService(
            states,
            PageMaker(catalogue, titles, models, DEFAULT_PARAMS, partitions.partition_of),
            cache,
            impressions,
            stale_max_s=settings.stale_max_s,
            deadline_s=settings.page_deadline_s,
        ),
        ingest=Ingest(log, settings.ingest_queue, settings.ingest_batch_max),
        impressions=impressions,
        exposures=exposures,
        experiments=experiments,
        baselines=Baselines(partial(_past, settings)),
        standings=RecentStandings(Standings(sql)),
        requests=RequestMemo(Treatments(experiments)),
        clock_ms=wall_clock_ms,
        engines=engines,
        problems=lambda: find_problems(engines, live, catalogue, models, impressions, exposures, experiments),
    )
    return services


def _past(settings: Settings, metric: Metric, days: float, pre_period_s: int, now_ms: int) -> tuple[Moments, float]:
    """Return a metric's past out of the warehouse, which serving does not read otherwise."""
    from streams.experiments.baseline import metric_past  # pyarrow takes as much memory as the rest of serving
    from streams.warehouse.root import root_of

    return metric_past(root_of(settings), metric, days, pre_period_s, now_ms)


def _state_reader(settings: Settings, hot: StateStore, live: LiveReads, durable: DurableStore) -> StateReader:
    deadline_s = settings.page_deadline_s
    if settings.scheme_of(settings.durable_url) == "sqlite":
        return StateReader(hot, live, durable, MEMBER.name, deadline_s)
    return StateReader(
        hot, live, durable, MEMBER.name, deadline_s, durable_share=REMOTE_SHARE, durable_threads=REMOTE_THREADS
    )


async def _start(services: Services, log_ready: asyncio.Task[None]) -> None:
    """Start the threads; wait for the first catalogue, snapshot and model, but not for ever."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_TIMEOUT_S / 2):
            await asyncio.to_thread(look, services.generations)
    await services.live.start()
    services.impressions.start()
    services.exposures.start()
    services.ingest.start()

    def first_look() -> None:
        services.experiments.start()
        services.catalogue.refresh()
        services.titles.start(services.settings.title_refresh_s, services.clock_ms)
        services.models.start()

    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            await asyncio.to_thread(first_look)
    except TimeoutError:
        logger.error("titles and model are not there after %.0f s; serving starts without", START_TIMEOUT_S)
    try:
        async with asyncio.timeout(TOPICS_TIMEOUT_S):
            await asyncio.shield(log_ready)
    except TimeoutError:
        logger.warning("the event log is not ready yet; events wait or are refused meanwhile")


async def _refresh(services: Services) -> None:
    """Renew the catalogue, and have each new snapshot ready before a page needs it."""
    for tick in itertools.count(1):
        await asyncio.sleep(WARM_S)
        try:
            if tick % CATALOGUE_REFRESH_TICKS == 0:
                await asyncio.to_thread(services.catalogue.refresh)
            await asyncio.to_thread(services.homepage.warm)
        except Exception:  # the task must outlive any surprise, or no new title would ever be served
            logger.exception("the catalogue could not be refreshed")


async def _make_topics(services: Services) -> None:
    """Have the log's topics made, as soon as it lets itself be asked. Raises FixRequest if they are there otherwise."""
    while True:
        try:
            await asyncio.to_thread(ensure_topics, services.log, services.settings)
        except (TryAgain, SlowDown) as error:
            logger.warning("the event log is not ready yet: %s", error)
            await asyncio.sleep(PARTITIONS_REFRESH_S)
        else:
            return


async def _follow_partitions(services: Services, log_ready: asyncio.Task[None]) -> None:
    """Keep up with the number of partitions; a log that hangs holds this task alone."""
    try:
        await log_ready
    except FixRequest as error:
        logger.error("the event log's topics are not as they should be: %s", error)
    while True:
        try:
            await asyncio.to_thread(services.partitions.refresh)
        except Exception:  # the task must outlive any surprise, or the next one would not be looked for
            logger.exception("the number of partitions could not be asked")
        await asyncio.sleep(PARTITIONS_REFRESH_S)


async def _close(services: Services) -> None:
    """Drain the queues, stop the threads, then close the engines under them."""
    await asyncio.to_thread(services.ingest.close, CLOSE_TIMEOUT_S)
    await services.homepage.close()
    await asyncio.to_thread(services.impressions.close, CLOSE_TIMEOUT_S)
    await asyncio.to_thread(services.exposures.close, CLOSE_TIMEOUT_S)
    await asyncio.to_thread(services.titles.close)
    await asyncio.to_thread(services.models.close)
    await asyncio.to_thread(services.experiments.close)
    services.engines.close()
    services.states.close()
    await services.live.close()
    for engine in (services.hot, services.durable, services.log):
        await asyncio.to_thread(engine.close)
    services.sql.dispose()


def _routers() -> Iterator[APIRouter]:
    for module in pkgutil.iter_modules(serving.api.__path__):
        router = getattr(importlib.import_module(f"serving.api.{module.name}"), "router", None)
        if isinstance(router, APIRouter):
            yield router
