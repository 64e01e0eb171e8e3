"""What is known of an experiment at one time: every number with its estimate, interval, p-value, n and a sentence.

Shares and relative changes are fractions (0.02: 2 %). What cannot be told, for want of data, is None.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from serving.experiments.analysis.effect import Effect, Method
from serving.experiments.analysis.guardrail import Harm
from streams.experiments.definition import Status
from streams.experiments.metric import Direction, MetricKind

Role = Literal["primary", "secondary", "guardrail", "other"]
Outcome = Literal["better", "worse", "unsure", "no_data"]
GuardrailState = Literal["harmed", "safe", "unsure"]


class ArmResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """A metric in one arm by now: n members; estimate: a mean, of a ratio that of the sums, or a quantile."""

    variant: str
    n: int
    estimate: float | None = None


class EffectResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """The difference of a treatment from the control in one metric.

    outcome: `better` or `worse` where the interval excludes 0. as_of_ms: when the data were looked at; with planned
    looks, the last of them. p_adjusted: with respect to the other treatments (primary metric) or to the other secondary
    metrics; where treatments are compared, effect.alpha is the share of alpha that this one has, so that the intervals
    hold together.
    """

    metric: str
    variant: str
    outcome: Outcome
    effect: Effect
    as_of_ms: int
    p_adjusted: float | None = None
    sentence: str = ""


class MetricResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """One metric: each arm's estimate by now, and the effects; a treatment is missing in them before its first look."""

    name: str
    role: Role
    kind: MetricKind
    direction: Direction
    arms: tuple[ArmResult, ...]
    effects: tuple[EffectResult, ...] = ()
    description: str = ""


class GuardrailResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether a treatment harms what it must not: valid at any look, whatever the plan's method.

    harm: `harmed` once a change for the worse beyond the margin is sure, and from then on; `safe` where such a change
    is ruled out or, if no margin is accepted (max_harm 0), where no harm is found. bounds: the one-sided tests behind
    it; effect: the same comparison with an interval to both sides. stops: whether harm stops the experiment.
    """

    metric: str
    variant: str
    harm: GuardrailState
    max_harm: float
    stops: bool
    bounds: Harm
    effect: Effect
    sentence: str = ""


class SrmResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether members come to the arms as the definition says (sample ratio mismatch).

    p_value: the smallest of all looks, valid at any of them. chi_square_p_value: of this look alone, for who would
    rather see that. observed: members by arm, those in arms that should have none included; expected: declared shares.
    """

    found: bool
    p_value: float
    alpha: float
    observed: dict[str, int]
    expected: dict[str, float]
    chi_square_p_value: float = 1.0
    sentence: str = ""


class ExposureResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """Members of one arm, those of them first exposed on a page below the top of the ladder, and those taken out
    because they were seen in another arm, too."""

    variant: str
    members: int
    degraded: int
    crossed: int


class SegmentResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """The primary metric's effects among some members only, as `country=US`: to learn from, never to decide by."""

    segment: str
    effects: tuple[EffectResult, ...]
    exploratory: Literal[True] = True


class FutilityResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """The chance that a treatment, were it as good as declared, is found better by the end; futile: less than the plan
    asks for."""

    variant: str
    conditional_power: float
    futile: bool
    sentence: str = ""


class PlannedLook(msgspec.Struct, frozen=True, omit_defaults=True):
    """A planned look that was taken, at which share of the planned members; last: none comes after it."""

    at_ms: int
    members: int
    fraction: float
    last: bool = False


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """An experiment's results at one time.

    members: over all arms, of those whose outcomes are compared. data_ms: of the newest data in it, None: not known.
    planned: the planned looks taken so far (methods that have them). warnings: what to know before the numbers.
    """

    experiment: str
    status: Status
    revision: int
    at_ms: int
    primary: str
    method: Method
    members: int
    srm: SrmResult
    metrics: tuple[MetricResult, ...]
    exposures: tuple[ExposureResult, ...] = ()
    guardrails: tuple[GuardrailResult, ...] = ()
    segments: tuple[SegmentResult, ...] = ()
    futility: tuple[FutilityResult, ...] = ()
    planned: tuple[PlannedLook, ...] = ()
    started_at_ms: int | None = None
    stopped_at_ms: int | None = None
    data_ms: int | None = None
    warnings: tuple[str, ...] = ()

    def metric(self, name: str) -> MetricResult | None:
        """Return a metric's results."""
        return next((metric for metric in self.metrics if metric.name == name), None)

    def effect(self, metric: str, variant: str) -> EffectResult | None:
        """Return a treatment's effect on a metric, None until there is one."""
        found = self.metric(metric)
        return next((effect for effect in found.effects if effect.variant == variant), None) if found else None
