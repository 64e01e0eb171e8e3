"""The watcher: raises traffic as ramps have it, keeps looks, stops what harms a guardrail. It never decides or ships.

Everything it does is a compare-and-set on what it has read: several watchers at once, or one that is killed in the
middle, do what one does. An experiment that it cannot see to, or a database that is away, is tried again next time.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Final

import sqlalchemy as sa

from serving import metrics
from serving.experiments.lifecycle import MAX_REASON, Action, Ramp, Stop, planned_traffic
from serving.experiments.refusals import Conflict
from serving.experiments.report import Report
from serving.experiments.roles import Actor
from serving.experiments.standing import Standings
from serving.experiments.store import ExperimentStore
from streams.agents.health import AgentHealth
from streams.errors import MarqueeError, TryAgain
from streams.experiments.definition import Experiment
from streams.experiments.table import read_experiments

logger = logging.getLogger(__name__)

WATCHER: Final = Actor("watcher", "system")

REST: Final = 3.0
"""Times as long as it took to see to all experiments it waits before the next time: a quarter of one core at most."""


class Watcher:
    """Sees to the experiments that run, and takes looks at those that wait for a decision, too."""

    def __init__(self, engine: sa.Engine, store: ExperimentStore, standings: Standings, rng: random.Random) -> None:
        self._engine = engine
        self._store = store
        self._standings = standings
        self._rng = rng
        self._said: set[tuple[str, str]] = set()
        self._shown: set[str] = set()

    def tick(self, now_ms: int) -> None:
        """See to every experiment once. Raises TryAgain when the database is away."""
        experiments = read_experiments(self._engine, ("running", "stopped"))
        for experiment in experiments:
            try:
                self._see_to(experiment, now_ms)
            except TryAgain:
                raise
            except MarqueeError as error:
                metrics.WATCHER_ERRORS.labels(type(error).__name__).inc()
                self._say_once(experiment, type(error).__name__, str(error))
        self._forget_but({experiment.definition.id for experiment in experiments})
        metrics.EXPERIMENTS_WATCHED.set(len(experiments))
        metrics.WATCHER_TICK_SECONDS.set(now_ms / 1_000)

    def _see_to(self, experiment: Experiment, now_ms: int) -> None:
        if experiment.status == "running":
            experiment = self._ramp(experiment, now_ms)
        standing = self._standings.take_look(experiment, now_ms)
        self._show(experiment, standing.report)
        if experiment.status == "running" and (reason := stop_reason(standing.report)):
            self._act(experiment, Stop(reason), now_ms)

    def _ramp(self, experiment: Experiment, now_ms: int) -> Experiment:
        """Raise the traffic if a step of the ramp is due; a layer that is full is no reason not to look."""
        traffic = planned_traffic(experiment, now_ms)
        return self._act(experiment, Ramp(traffic), now_ms) if traffic > experiment.traffic else experiment

    def _act(self, experiment: Experiment, action: Action, now_ms: int) -> Experiment:
        """Act on what was read; whoever was faster has done the same, or what comes before it."""
        name = experiment.definition.id
        try:
            after = self._store.act(name, action, WATCHER, now_ms, self._rng, expected=experiment.revision)
        except Conflict as error:
            self._say_once(experiment, type(action).__name__, str(error))
            return experiment
        logger.info("experiment %s: %s", name, action)
        return after

    def _show(self, experiment: Experiment, report: Report) -> None:
        """Show in metrics what alerts go by."""
        name = experiment.definition.id
        self._shown.add(name)
        metrics.EXPERIMENT_SRM.labels(name).set(report.srm.found)
        metrics.EXPERIMENT_MEMBERS.labels(name).set(report.members)
        metrics.EXPERIMENT_LOOKED_SECONDS.labels(name).set(report.at_ms / 1_000)
        if report.srm.found:
            self._say_once(experiment, "srm", report.srm.sentence)

    def _say_once(self, experiment: Experiment, kind: str, sentence: str) -> None:
        """Log a sentence about an experiment, unless one of its kind was logged before."""
        said = (experiment.definition.id, kind)
        if said not in self._said:
            self._said.add(said)
            logger.warning("experiment %s: %s", experiment.definition.id, sentence)

    def _forget_but(self, names: set[str]) -> None:
        """Forget experiments that are no longer watched, so that neither memory nor metrics grow with the past."""
        for name in self._shown - names:
            for metric in _OF_EXPERIMENTS:
                metric.remove(name)
        self._shown &= names
        self._said = {said for said in self._said if said[0] in names}


def stop_reason(report: Report) -> str | None:
    """Return why an experiment is to be stopped now: what guardrails that stop it say; None while none does."""
    harmed = [each.sentence for each in report.guardrails if each.harm == "harmed" and each.stops]
    return " ".join(harmed)[:MAX_REASON] or None


def watch(
    watcher: Watcher, stopped: threading.Event, every_s: float, clock_ms: Callable[[], int], health: AgentHealth
) -> None:
    """Tick until `stopped` is set; what is away, or goes wrong, is tried again at the next tick."""
    is_away = False
    while not stopped.is_set():
        began_s = time.monotonic()
        try:
            watcher.tick(clock_ms())
            health.ready(WATCHER.name)
            is_away = False
        except TryAgain as error:
            metrics.WATCHER_ERRORS.labels(type(error).__name__).inc()
            health.waiting(WATCHER.name, str(error))
            if not is_away:
                logger.warning("nothing is watched until the database is back: %s", error)
            is_away = True
        except Exception as error:  # the loop must outlive any surprise, or ramps would stand still unseen
            metrics.WATCHER_ERRORS.labels("surprise").inc()
            health.waiting(WATCHER.name, repr(error))
            logger.exception("experiments could not be watched")
        stopped.wait(max(every_s, REST * (time.monotonic() - began_s)))


_OF_EXPERIMENTS: Final = (
    metrics.EXPERIMENT_SRM,
    metrics.EXPERIMENT_MEMBERS,
    metrics.EXPERIMENT_LOOKED_SECONDS,
)
