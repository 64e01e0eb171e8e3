"""What it costs to say which variants a member gets, with 50 experiments running, beside a call that does nothing.

The two take turns over the same members in short rounds; what is compared is the CPU time of one thread. Every
experiment has a layer of its own and takes all members that its rule and its holdout leave, which is the most that a
request can be in; most change something of pages, each something else, as they must.

    python -m load_tests.bench.allocation
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from serving.experiments.allocation import Allocation
from serving.experiments.patching import BOUNDS, ROW_KINDS
from serving.homepage.request import RequestMemo
from serving.homepage.treatment import Treatments
from streams.experiments.definition import Definition, Experiment, Patch, Rule, Span, Variant

AIM_US: Final = 20.0
EXPERIMENTS: Final = 50
MEMBERS: Final = 2_000
ROUNDS: Final = 15

Give = Callable[[str, Mapping[str, str]], object]

_ATTRIBUTES: Final = {"country": "NL", "device": "tv"}


@dataclass(frozen=True)
class AllocationReport:
    """Medians over rounds, CPU microseconds. variants: that a member has on average. treated_us: allocation with what
    it makes of a page's parameters, of members who differ, as on a page that is not in the cache; again_us: reading a
    request that was asked before, whose variants are remembered, and alone_us where no experiments run."""

    experiments: int
    variants: float
    nothing_us: float
    allocation_us: float
    treated_us: float
    again_us: float
    alone_us: float


class _Held:
    def __init__(self, allocation: Allocation) -> None:
        self.view = self.current = allocation


def measure_allocation(
    experiments: int = EXPERIMENTS, rounds: int = ROUNDS, members: int = MEMBERS
) -> AllocationReport:
    """Return what allocation costs among so many running experiments."""
    allocation = Allocation([_running(n) for n in range(experiments)], Patch())
    if allocation.problems:
        raise RuntimeError(f"the bench's experiments are at odds: {allocation.problems}")
    held = _Held(allocation)
    ids = [f"member-{n}" for n in range(members)]
    memo, alone = RequestMemo(Treatments(held)), RequestMemo()
    queries = [f"member_id={member_id}&country=NL&device=tv".encode() for member_id in ids]
    for query in queries:
        memo.parse(query)
        alone.parse(query)
    kinds: dict[str, Callable[[], float]] = {
        "nothing": lambda: _cpu_us(_nothing, ids),
        "allocation": lambda: _cpu_us(allocation.assign, ids),
        "treated": lambda: _cpu_us(_treat(Treatments(held)), ids),
        "again": lambda: _parse_us(memo, queries),
        "alone": lambda: _parse_us(alone, queries),
    }
    samples: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, measure in kinds.items():
            samples[name].append(measure())
    return AllocationReport(
        experiments=experiments,
        variants=statistics.mean(len(allocation.assign(member_id, _ATTRIBUTES).variants) for member_id in ids),
        **{f"{name}_us": statistics.median(taken) for name, taken in samples.items()},
    )


def _running(n: int) -> Experiment:
    rule = Rule("country", "not_in", ("XX",)) if n % 2 else Rule("device", "in", ("tv", "phone"))
    patches = _patches()
    patch = patches[n] if n < len(patches) else Patch()
    variants = (Variant("control", 0.5), Variant("treatment", 0.5, patch))
    definition = Definition(f"experiment-{n:02}", "", "", variants, (), "", 0.02, targeting=(rule,), holdout=0.01)
    return Experiment(definition, "running", salt=str(n), spans=(Span(0, 1 << 64),), traffic=1.0, started_at_ms=1)


def _patches() -> Sequence[Patch]:
    """Return patches that change one thing each, and each another."""
    return (
        Patch(model="candidate"),
        Patch(rows=ROW_KINDS),
        Patch(page_ttl_s=60.0),
        *(Patch(params={name: float(bounds[1])}) for name, bounds in BOUNDS.items()),
        *(Patch(row_weights={kind: 1.1}) for kind in ROW_KINDS),
    )


def _treat(treatments: Treatments) -> Give:
    return lambda member_id, attributes: treatments.of(member_id, attributes["country"], attributes["device"])


def _nothing(_member_id: str, _attributes: Mapping[str, str]) -> None:
    return None


def _cpu_us(give: Give, ids: Sequence[str]) -> float:
    started_ns = time.thread_time_ns()
    for member_id in ids:
        give(member_id, _ATTRIBUTES)
    return (time.thread_time_ns() - started_ns) / 1e3 / len(ids)


def _parse_us(memo: RequestMemo, queries: Sequence[bytes]) -> float:
    started_ns = time.thread_time_ns()
    for query in queries:
        memo.parse(query)
    return (time.thread_time_ns() - started_ns) / 1e3 / len(queries)


def main() -> None:
    """Measure, print the report as JSON, and exit with 1 if a request costs more than AIM_US allows."""
    report = measure_allocation()
    print(json.dumps(asdict(report), indent=2))
    raise SystemExit(report.allocation_us > AIM_US)


if __name__ == "__main__":
    main()
