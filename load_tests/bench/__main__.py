"""`make bench`: every claim about speed beside its limit, in one run. Figures are this machine's; ratios travel."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from load_tests.bench import allocation, fold, hit, kafka_pipeline, page, pipeline
from load_tests.platform import DEFAULT_DATA, free_port, start_platform, stop_platform, wait_until_ready
from load_tests.real_engines import EngineKind, real_engines
from streams.importers.dataset import Dataset
from streams.importers.movielens import read_movielens
from streams.settings import Settings
from streams.simulation.generated import generate_dataset
from streams.stores.open import open_durable

WHOLE_PIPELINE_AIM_S = 5.0
FOLD_AIM = 100_000

Row = tuple[str, str, str, str, str]
"""what, measured, limit beside it, ratio, aim."""


def main(
    data: Annotated[Path | None, typer.Option(help="A MovieLens folder; generated events where there is none")] = None,
    out: Annotated[Path, typer.Option(help="Folder for bench.json")] = Path("results"),
    only: Annotated[list[str] | None, typer.Option(help="Of: fold, pipeline, page, hit, allocation")] = None,
    engines: Annotated[EngineKind, typer.Option(help="On which; real ones are started for the run")] = "embedded",
) -> None:
    """Measure the fold, the pipeline, a cold page, a cache hit, and the allocation of experiments."""
    console = Console()
    found = data or (DEFAULT_DATA if DEFAULT_DATA.is_dir() else None)
    wanted = set(only or ("fold", "pipeline", "page", "hit", "allocation"))
    reports: dict[str, Any] = {}
    rows: list[Row] = []
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="marquee-bench-"))
        if engines == "real":
            with console.status("starting Kafka, Cassandra, Redis and PostgreSQL"):
                started = stack.enter_context(real_engines())
            stack.enter_context(_in_environment(started.environment()))
        measure_pipeline = _pipeline if engines == "embedded" else _kafka_pipeline
        for name, measure in (("fold", _fold), ("pipeline", measure_pipeline)):
            if name in wanted:
                with console.status(f"measuring the {name}"):
                    reports[name], more = measure(found, Path(folder))
                rows += more
        if wanted & {"page", "hit"}:
            state = Path(folder) / "platform"
            _set_up(state, found)
            for name, measure_served in (("page", _page), ("hit", _hit)):
                if name in wanted:
                    with console.status(f"measuring a {name}"):
                        reports[name], more = measure_served(state)
                    rows += more
        if "allocation" in wanted:
            with console.status("measuring allocation"):
                reports["allocation"], more = _allocation(reports)
            rows += more
    console.print(_table(rows))
    out.mkdir(parents=True, exist_ok=True)
    (out / "bench.json").write_text(json.dumps(reports, indent=2))
    console.print(f"written: {out / 'bench.json'}")


@contextlib.contextmanager
def _in_environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Have variables in the environment of this process and its children."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _fold(data: Path | None, _folder: Path) -> tuple[dict[str, Any], list[Row]]:
    sample = fold.movielens_sample(data) if data else fold.generated_sample()
    rates = fold.measure(sample)
    what = f"fold alone, member and title state, {sample.name}"
    row = (what, f"{rates.fold:,.0f} events/s", f"decoding alone {rates.decode:,.0f}/s", _x(rates.fold / rates.decode))
    return rates._asdict(), [(*row, f"{FOLD_AIM:,} events/s a core")]


def _pipeline(data: Path | None, folder: Path) -> tuple[dict[str, Any], list[Row]]:
    dataset: Dataset = read_movielens(data) if data else generate_dataset()
    report = pipeline.measure_pipeline(dataset, folder)
    what = f"{report.events:,} events appended, consumed, folded, in both stores, committed"
    measured = f"{report.whole_s:.2f} s (append {report.append_s:.2f}, agent {report.agent_s:.2f})"
    row = (what, measured, f"bare consume and decode {report.bare_s:.2f} s", f"{_x(report.share_of_bare)} its rate")
    return asdict(report), [(*row, f"{WHOLE_PIPELINE_AIM_S:g} s or less")]


def _kafka_pipeline(data: Path | None, folder: Path) -> tuple[dict[str, Any], list[Row]]:
    """On Kafka, with embedded stores and then with Redis and Cassandra."""
    dataset: Dataset = read_movielens(data) if data else generate_dataset()
    real = Settings()
    near = real.model_copy(update={name: Settings.model_fields[name].default for name in ("hot_url", "durable_url")})
    reports: dict[str, Any] = {}
    rows: list[Row] = []
    for stores, settings in (("embedded stores", near), ("Redis and Cassandra", real)):
        report = kafka_pipeline.measure_kafka_pipeline(dataset, settings, folder / f"kafka-{len(rows)}", rounds=1)
        reports[stores] = asdict(report)
        what, one, two = f"pipeline on Kafka, one worker, {stores}", report.workers[1], report.workers[2]
        measured = f"{one.per_s:,.0f}/s ({one.per_cpu_s:,.0f} a CPU second)"
        bare, plain = report.share_of_bare, report.times_plain
        rows += [
            (what, measured, f"bare aiokafka loop {report.bare.per_s:,.0f}/s", _both(bare), "0.25x or more"),
            (what, measured, f"plain Faust agent {report.plain.per_s:,.0f}/s", _both(plain), "5x or more"),
            (f"two workers, {stores}", f"{two.per_s:,.0f}/s", "one worker", _both(two.over(one)), ""),
        ]
    return reports, rows


def _both(rate: kafka_pipeline.Rate) -> str:
    return f"{rate.per_s:.2f}x ({rate.per_cpu_s:.2f}x a CPU second)"


def _set_up(state: Path, data: Path | None) -> None:
    """Set a platform up in `state` and stop it, so that nothing else runs while pages are measured."""
    port = free_port()
    process = start_platform(state, port, data)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process)
    finally:
        stop_platform(process)


def _page(state: Path) -> tuple[dict[str, Any], list[Row]]:
    report = page.measure_page(page.open_bench(state))
    limit = f"state read + one model run {report.bare_us:,.0f} us"
    what = f"cold page over {report.titles:,} titles, CPU"
    rows = [
        (what, f"{report.page_us:,.0f} us", limit, _x(report.ratio), f"{page.AIM:g}x or less"),
        ("the same, encoded as JSON", f"{report.encoded_us:,.0f} us", limit, _x(report.encoded_ratio), ""),
    ]
    return asdict(report), rows


def _hit(state: Path) -> tuple[dict[str, Any], list[Row]]:
    durable = open_durable(Settings(state=state))
    member_id = durable.member_ids(1)[0]
    durable.close()
    report = hit.measure_hit(state, member_id)
    what, measured = f"cache hit, {report.body_bytes:,} bytes", f"{report.hit_rps:,.0f}/s"
    bare, fastapi = (
        f"bare ASGI callable {report.bare_rps:,.0f}/s",
        f"do-nothing FastAPI route {report.fastapi_rps:,.0f}/s",
    )
    rows = [
        (what, measured, fastapi, _x(report.over_fastapi), f"{hit.AIM_OVER_FASTAPI:g}x or more"),
        (what, measured, bare, _x(report.over_bare), f"{hit.AIM_OVER_BARE:g}x or more"),
    ]
    return asdict(report), rows


def _allocation(others: Mapping[str, Any]) -> tuple[dict[str, Any], list[Row]]:
    """others: reports of the page and the hit, as far as they were measured, for the share of their time."""
    report = allocation.measure_allocation()
    cost, again = report.allocation_us, report.again_us - report.alone_us
    what = f"variants of a member among {report.experiments} running experiments, CPU"
    nothing = f"do-nothing call {report.nothing_us:.3f} us"
    rows = [(what, f"{cost:.1f} us", nothing, _x(cost / report.nothing_us), f"{allocation.AIM_US:g} us or less")]
    if "page" in others:
        page_us = others["page"]["encoded_us"]
        made = f"{report.treated_us:.1f} us"
        rows.append(
            ("with what it makes of a page", made, f"cold page {page_us:,.0f} us", _x(report.treated_us / page_us), "")
        )
    if "hit" in others:
        hit_us = others["hit"]["hit_cpu_us"]
        rows.append(
            ("the same request again", f"{again:.2f} us", f"cache hit {hit_us:,.0f} us", _x(again / hit_us), "")
        )
    return asdict(report), rows


def _x(ratio: float) -> str:
    return f"{ratio:.2f}x"


def _table(rows: list[Row]) -> Table:
    table = Table(title="Beside their limits, in one run", title_justify="left")
    for column in ("what", "measured", "limit beside it", "ratio", "aim"):
        table.add_column(column)
    for row in rows:
        table.add_row(*row)
    return table


if __name__ == "__main__":
    typer.run(main)
