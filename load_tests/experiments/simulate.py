"""Many simulations of many settings, side by side in processes, with a bar."""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Final

import numpy as np
from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn

from load_tests.experiments import growing, ratios
from load_tests.experiments.populations import Floats, populations
from load_tests.experiments.trials import Setting, run

CHUNK: Final = 250
"""Simulations of one task: each has its own seed, so that results do not depend on how many processes there are."""
RATIOS: Final = "members by arm"
"""Of the test for sample ratio mismatch: who the members are does not matter."""
GROWING: Final = "numbers that grow"
"""Of members who have all come (see `growing`)."""


@dataclass(frozen=True, slots=True)
class Case:
    """A setting of one population, or of RATIOS or GROWING."""

    population: str
    setting: Setting

    @property
    def name(self) -> str:
        """As tables show it."""
        share = self.setting.share
        return self.population if share == 0.5 else f"{self.population}, {share:.0%} : {1 - share:.0%}"


def simulate(
    console: Console, cases: list[Case], simulations: int, seed: int, jobs: int, real: tuple[Floats, Floats] | None
) -> list[Counter[str]]:
    """Return each case's counts (see `trials.run`). real: numbers of real members, if a case needs them."""
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # processes share the cores; read when they start
    results: list[Counter[str]] = [Counter() for _ in cases]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        pending = {}
        for place, case in enumerate(cases):
            for chunk, begin in enumerate(range(0, simulations, CHUNK)):
                number = min(CHUNK, simulations - begin)
                pending[pool.submit(run_case, case, real, number, (seed, place, chunk))] = place
        with Progress(*Progress.get_default_columns(), TimeElapsedColumn(), console=console) as progress:
            bar = progress.add_task(f"{len(cases) * simulations:,} experiments", total=len(pending))
            for future in as_completed(pending):
                results[pending[future]].update(future.result())  # `+=` would drop what was never found
                progress.advance(bar)
    return results


def run_case(case: Case, real: tuple[Floats, Floats] | None, simulations: int, seed: tuple[int, ...]) -> Counter[str]:
    """Return the counts of one task."""
    source = np.random.SeedSequence(seed)
    if case.population == GROWING:
        return growing.run(case.setting, simulations, source)
    if case.population == RATIOS:
        return ratios.run(case.setting, simulations, source)
    return run(case.setting, populations(real)[case.population], simulations, source)
