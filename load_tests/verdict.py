"""Service levels and whether a run met them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from load_tests.open_loop import Measured
from load_tests.scenarios import SCENARIOS, Load
from streams.errors import FixRequest


@dataclass(frozen=True)
class Slo:
    """One scenario's service levels. Latencies in ms, by percentile; failed: the share of failures that is allowed."""

    scenario: str
    load: Load
    percentiles_ms: dict[float, float]
    failed: float


def read_slos(path: Path) -> list[Slo]:
    """Return the service levels in a TOML file. Raises FixRequest naming the table and key that is wrong."""
    tables = tomllib.loads(path.read_text())
    return [_slo(path, name, table) for name, table in tables.items()]


def _slo(path: Path, name: str, table: dict[str, float]) -> Slo:
    if name not in SCENARIOS:
        raise FixRequest(f"{path.name} [{name}]", f"scenarios are {', '.join(SCENARIOS)}")
    try:
        load = Load(float(table["rate"]), float(table["seconds"]), float(table.get("event_rate", 200.0)))
        failed = float(table["failed"])
    except KeyError as error:
        raise FixRequest(f"{path.name} [{name}]", f"add {error.args[0]}") from None
    percentiles = {
        float(key[1:-3]): float(value) for key, value in table.items() if key[0] == "p" and key.endswith("_ms")
    }
    return Slo(name, load, percentiles, failed)


def violations(slo: Slo, measured: Measured) -> list[str]:
    """Return what was not met, one sentence each; empty if all was. A run without answers meets nothing."""
    if not measured.count:
        return ["nothing was answered"]
    missed = [
        f"p{percentile:g} is {measured.percentile_ms(percentile):.1f} ms, the level {limit:g} ms"
        for percentile, limit in slo.percentiles_ms.items()
        if measured.percentile_ms(percentile) > limit
    ]
    asked = sum(measured.outcomes.values()) + measured.unsent
    share = (measured.failed + measured.unsent) / max(1, asked)
    if share > slo.failed:
        missed.append(f"{share:.2%} failed or were never sent, the level {slo.failed:.2%}")
    return missed
