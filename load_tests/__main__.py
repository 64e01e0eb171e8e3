"""`make load-test`: hold a platform against its service levels, open-loop; the exit code is the verdict."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import aiohttp
import typer
from rich.console import Console

from load_tests.client import connect
from load_tests.platform import Platform, running_platform
from load_tests.real_engines import EngineKind, real_engines
from load_tests.report import Result, as_json, as_table, plot, verdicts
from load_tests.scenarios import SCENARIOS
from load_tests.verdict import Slo, read_slos

CONNECTIONS = 256
SETTLE_S = 5.0
"""Of a platform that was set up a moment ago: its caches and agents come to rest."""
SLO_FILE = Path(__file__).parent / "slo.toml"


def run(
    url: Annotated[str | None, typer.Option(help="A running platform; one is started for this run otherwise")] = None,
    scenario: Annotated[list[str] | None, typer.Option(help=f"Only these: {', '.join(SCENARIOS)}")] = None,
    slo: Annotated[Path, typer.Option(help="The service levels", exists=True)] = SLO_FILE,
    data: Annotated[Path | None, typer.Option(help="MovieLens folder for the platform started")] = None,
    out: Annotated[Path, typer.Option(help="Folder for load-test.json and load-test.png")] = Path("results"),
    seed: Annotated[int, typer.Option(help="Of arrivals and choices")] = 1,
    engines: Annotated[EngineKind, typer.Option(help="Of the platform started; real ones for the run")] = "embedded",
) -> None:
    """Measure each scenario; exit with 1 if a service level is not met."""
    console = Console()
    levels = [level for level in read_slos(slo) if not scenario or level.scenario in scenario]
    if not levels:
        raise typer.BadParameter(f"no scenario of {slo.name} is named so", param_hint="--scenario")
    with contextlib.ExitStack() as stack:
        environment = stack.enter_context(_environment(engines, console)) if url is None else {}
        platform = stack.enter_context(running_platform(url, data, environment))
        if url is None:
            with console.status("letting the platform settle"):
                time.sleep(SETTLE_S)
        results = asyncio.run(_measure(platform, levels, seed, console))
    console.print(as_table(results))
    for line in verdicts(results):
        console.print(line)
    out.mkdir(parents=True, exist_ok=True)
    (out / "load-test.json").write_text(as_json(results))
    plot(results, out / "load-test.png")
    console.print(f"written: {out / 'load-test.json'}, {out / 'load-test.png'}")
    raise typer.Exit(any(result.violations for result in results))


@contextlib.contextmanager
def _environment(engines: EngineKind, console: Console) -> Iterator[dict[str, str]]:
    """Yield what the environment of a platform says on these engines; real ones are started, and stopped after."""
    if engines == "embedded":
        yield {}
        return
    with contextlib.ExitStack() as stack:
        with console.status("starting Kafka, Cassandra, Redis and PostgreSQL"):
            started = stack.enter_context(real_engines())
        yield started.environment()


async def _measure(platform: Platform, levels: list[Slo], seed: int, console: Console) -> list[Result]:
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=30)) as session:
        target = await connect(session, platform.url, platform.settings)
        results = []
        for level in levels:
            with console.status(f"{level.scenario}: {level.load.rate:g} a second for {level.load.seconds:g} s"):
                measured = await SCENARIOS[level.scenario](target, level.load, random.Random(seed))
            results.append(Result(level, measured))
            counted = ", ".join(f"{count} {kind}" for kind, count in measured.outcomes.most_common())
            console.print(f"{level.scenario}: {counted}")
    return results


if __name__ == "__main__":
    typer.run(run)
