"""What a cold page costs, beside a bare loop of what it cannot do without: one state read and one onnxruntime run.

The two take turns over the same members in short rounds, so that a noisy neighbour meets both. What is compared is the
CPU time of one thread. The bare loop's model inputs are made beforehand; the page unpacks the state, makes the inputs,
runs the model, fills every row with titles and reasons, and (in the second figure) encodes the answer.

Engines are those of the environment (MARQUEE_HOT_URL and so on). The state is read as serving reads it: a look into
memory of an embedded store, one round trip of an event loop to Redis, of which the CPU time counts here and the wait
does not (`read_wait_us` says how long it is).

    python -m load_tests.bench.page STATE     STATE: the folder of a platform that has members and a champion
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import uvloop

from serving.homepage.page_json import rows_json
from serving.pages.builder import PageInputs, build_page
from serving.pages.page import Page, PageContext
from serving.ranking.model import OUTPUTS, RankingModel
from serving.titles import TitleBoard, TitleSnapshot
from streams.catalogue import Catalogue, read_catalogue
from streams.features.member import MEMBER, history, member_key
from streams.settings import Settings
from streams.stores.open import open_live_reads
from streams.stores.protocol import StateStore

AIM: Final = 1.5
"""The CPU time of a page over that of the bare loop."""
MEMBERS: Final = 200
ROUNDS: Final = 9


@dataclass(frozen=True)
class PageReport:
    """Medians over rounds, CPU microseconds a page; `ratio` is page over bare, `encoded_ratio` with the JSON too.
    hot: the engine of states; read_wait_us: how long one read takes by the clock."""

    hot: str
    titles: int
    members: int
    rows: float
    shown: float
    read_wait_us: float
    bare_us: float
    page_us: float
    encoded_us: float
    ratio: float
    encoded_ratio: float


@dataclass(frozen=True)
class Bench:
    """What pages are made from. read: returns the packed state of a member's key, as serving reads it."""

    hot: str
    catalogue: Catalogue
    snapshot: TitleSnapshot
    model: RankingModel
    read: Callable[[bytes], bytes | None]
    member_ids: Sequence[str]
    now_ms: int

    def page(self, member_id: str) -> Page:
        """Make a page as serving does on a cache miss."""
        value = self.read(member_key(member_id))
        state = MEMBER.unpack(value) if value is not None else None
        context = PageContext(member_id, self.now_ms, 1)
        return build_page(PageInputs(state, self.catalogue, self.snapshot, self.model, context))

    def feeds(self, member_id: str) -> dict[str, Any]:
        """Return the model's inputs for a member."""
        value = self.read(member_key(member_id))
        state = MEMBER.unpack(value) if value is not None else MEMBER.initialize()
        arrays = self.model.history_arrays(history(state), self.now_ms)
        return {
            "history_title": arrays.titles,
            "history_age_s": arrays.ages_s,
            "history_strength": arrays.strengths,
            "member": MEMBER.vector(state, self.model.member_features, self.now_ms),
            "titles": self.model.bind(self.snapshot).features,
        }


def measure_page(bench: Bench, rounds: int = ROUNDS) -> PageReport:
    """Return how a cold page compares, over the bench's members."""
    feeds = {member_id: bench.feeds(member_id) for member_id in bench.member_ids}
    run, read = bench.model.session.run, bench.read

    def bare(member_id: str) -> None:
        read(member_key(member_id))
        run(OUTPUTS, feeds[member_id])

    kinds: dict[str, Callable[[str], object]] = {
        "bare": bare,
        "page": bench.page,
        "encoded": lambda member_id: rows_json(bench.page(member_id)),
    }
    pages = [bench.page(member_id) for member_id in bench.member_ids]
    samples: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, make in kinds.items():
            samples[name].append(_cpu_us(make, bench.member_ids))

    def ratio(kind: str) -> float:
        return statistics.median(mine / bare for mine, bare in zip(samples[kind], samples["bare"], strict=True))

    return PageReport(
        hot=bench.hot,
        titles=len(bench.snapshot.order),
        members=len(bench.member_ids),
        rows=statistics.mean(len(page.rows) for page in pages),
        shown=statistics.mean(sum(len(row.items) for row in page.rows) for page in pages),
        read_wait_us=statistics.median(_elapsed_us(read, member_key(member_id)) for member_id in bench.member_ids),
        bare_us=statistics.median(samples["bare"]),
        page_us=statistics.median(samples["page"]),
        encoded_us=statistics.median(samples["encoded"]),
        ratio=ratio("page"),
        encoded_ratio=ratio("encoded"),
    )


def _cpu_us(make: Callable[[str], object], member_ids: Sequence[str]) -> float:
    started_ns = time.thread_time_ns()
    for member_id in member_ids:
        make(member_id)
    return (time.thread_time_ns() - started_ns) / 1e3 / len(member_ids)


def _elapsed_us(read: Callable[[bytes], object], key: bytes) -> float:
    started_ns = time.perf_counter_ns()
    read(key)
    return (time.perf_counter_ns() - started_ns) / 1e3


def _reader(settings: Settings, hot: StateStore) -> Callable[[bytes], bytes | None]:
    """Return how serving reads a member's state: on the event loop where the store is behind a network."""
    if settings.scheme_of(settings.hot_url) == "embedded":
        return lambda key: hot.get(MEMBER.name, [key])[0]
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    live = open_live_reads(settings, hot, [MEMBER.name])
    loop.run_until_complete(live.start())
    return lambda key: loop.run_until_complete(live.read(MEMBER.name, key)).value


def open_bench(state: Path) -> Bench:
    """Return a bench over the folder of a platform, on the engines of the environment. Raises RuntimeError if it has no
    members or no champion."""
    from serving.models.loader import load_model
    from serving.models.registry import CHAMPION, aliased_version
    from streams.stores.blobs import BlobStore
    from streams.stores.open import open_durable, open_hot
    from streams.stores.sql import open_sql

    settings = Settings(state=state)
    engine, hot, durable = open_sql(settings), open_hot(settings), open_durable(settings)
    version = aliased_version(engine, CHAMPION)
    member_ids = durable.member_ids(MEMBERS)
    if version is None or not member_ids:
        raise RuntimeError(f"{state} has no champion or no members")
    catalogue, now_ms = read_catalogue(engine), time.time_ns() // 1_000_000
    board = TitleBoard(lambda: catalogue, hot, durable, now_ms, pause=lambda: None)
    board.refresh(now_ms)
    model = load_model(BlobStore(settings.path_of(settings.blobs_url)), version)
    hot_engine = settings.scheme_of(settings.hot_url)
    return Bench(hot_engine, catalogue, board.current, model, _reader(settings, hot), member_ids, now_ms)


def main() -> None:
    """Measure, print the report as JSON, and exit with 1 if the page costs more than AIM allows."""
    parser = argparse.ArgumentParser(prog="python -m load_tests.bench.page")
    parser.add_argument("state", type=Path)
    report = measure_page(open_bench(parser.parse_args().state))
    print(json.dumps(asdict(report), indent=2))
    raise SystemExit(report.ratio > AIM)


if __name__ == "__main__":
    main()
