"""What one look at an experiment has before it: its definition, the arms by now, and what the look before found."""

from __future__ import annotations

from dataclasses import dataclass

from serving.experiments.analysis.comparison import Comparison, Undefined
from serving.experiments.analysis.multiple import alpha_each
from serving.experiments.arms import Arms
from serving.experiments.effects import treatments_of
from serving.experiments.looks import DAY_MS, Look
from serving.experiments.planned_looks import due_look
from serving.experiments.report import PlannedLook
from streams.experiments.definition import Definition, Experiment, Plan


@dataclass(frozen=True, slots=True)
class Looking:
    """One look. planned: the planned looks taken, with this one if it is such; counts: whether effects are computed
    anew, or are still those of the last planned look."""

    experiment: Experiment
    arms: Arms
    last: Look | None
    now_ms: int
    planned: tuple[PlannedLook, ...]
    counts: bool

    @classmethod
    def of(cls, experiment: Experiment, arms: Arms, last: Look | None, now_ms: int, takes_look: bool) -> Looking:
        """Return the look at this time; takes_look: whether it may count as a planned one."""
        plan, taken = experiment.definition.plan, last.planned if last else ()
        due = due_look(plan, arms.members, days_of(experiment, now_ms), taken, now_ms) if takes_look else None
        planned = taken if due is None else (*taken, due)
        return cls(experiment, arms, last, now_ms, planned, plan.method == "sequential" or due is not None)

    @property
    def definition(self) -> Definition:
        """The experiment's definition."""
        return self.experiment.definition

    @property
    def plan(self) -> Plan:
        """How results are read."""
        return self.experiment.definition.plan

    @property
    def control(self) -> str:
        """The first variant."""
        return self.definition.variants[0].key

    @property
    def treatments(self) -> list[str]:
        """All other variants that get members."""
        return treatments_of(self.definition)

    @property
    def alpha(self) -> float:
        """The level at which each treatment is held against the control, so that all of them hold together."""
        return alpha_each(self.plan.alpha, len(self.treatments))

    def compared(self, metric: str, treatment: str, segment: str = "") -> Comparison | Undefined:
        """Compare a treatment with the control in a metric, by its name, as the plan says."""
        found = next(each for each in self.definition.metrics if each.name == metric)
        return self.arms.compared(found, treatment, segment)


def days_of(experiment: Experiment, now_ms: int) -> float:
    """Return for how many days an experiment ran, or has run by now."""
    if experiment.started_at_ms is None:
        return 0.0
    return max(0, (experiment.stopped_at_ms or now_ms) - experiment.started_at_ms) / DAY_MS
