"""What to do with an experiment: a verdict by rules that the definition fixed, each with its reason.

Of each treatment, the first rule that applies:

1. harm to a guardrail is sure: do not ship. That is valid at any look, so it may come before the plan's days are over
   (not before its min_members: with few of them nothing is sure).
2. fewer days or members than the plan asks for: continue.
3. no planned look has come yet (`fixed`, `group_sequential`): continue.
4. the primary metric is worse (its interval excludes 0): do not ship.
5. the primary metric is better: ship if no guardrail is in doubt, continue otherwise. A guardrail is beyond doubt when
   harm beyond its margin is ruled out; one without a margin, when no harm is found.
6. the declared effect can hardly be found any more (futility): do not ship.
7. otherwise: continue.

An experiment ships the best of the treatments that may be shipped, does not ship when none may or ever will, and is
inconclusive where it would continue but has ended (stopped, or max_days over, or all looks taken). Arms whose members
do not come in the declared shares are not comparable: whatever else the numbers say, that is inconclusive.

No allowance is made for having several guardrails: all must be passed, and more of them make that harder, not easier
(Schultzberg, Ankargren and Fraanberg, "Risk-aware product decisions in A/B tests with multiple metrics",
arXiv 2402.11609).
"""

from __future__ import annotations

from typing import Final

import msgspec

from serving.experiments import explanation
from serving.experiments.effects import direction_of, treatments_of
from serving.experiments.lifecycle import MAX_REASONS, Decide
from serving.experiments.report import EffectResult, GuardrailResult, Report
from streams.errors import FixRequest
from streams.experiments.definition import Definition, Verdict
from streams.experiments.metric import Direction

DAY_MS: Final = 86_400_000


class Decision(msgspec.Struct, frozen=True, omit_defaults=True):
    """A verdict and why, in sentences; variant: the one to ship, only then."""

    verdict: Verdict
    reasons: tuple[str, ...]
    variant: str | None = None


def decide(report: Report, definition: Definition, now_ms: int) -> Decision:
    """Return the verdict on an experiment. It says what the rules say; doing it is another step."""
    if report.srm.found:
        return Decision("inconclusive", (report.srm.sentence, explanation.SRM_BLOCKS))
    treatments = treatments_of(definition)
    judged = {variant: _judge(report, definition, variant, now_ms) for variant in treatments}
    ready = [variant for variant in treatments if judged[variant].verdict == "ship"]
    if ready:
        best = max(ready, key=lambda variant: _gain(report, definition, variant))
        others = [explanation.also_better(variant, best) for variant in ready if variant != best]
        return Decision("ship", (*judged[best].reasons, *others), best)
    reasons = tuple(dict.fromkeys(reason for variant in treatments for reason in judged[variant].reasons))
    if all(judged[variant].verdict == "do_not_ship" for variant in treatments):
        return Decision("do_not_ship", reasons)
    if ending := why_ended(report, definition, now_ms):
        return Decision("inconclusive", (ending, *reasons))
    return Decision("continue", reasons)


def decided(rules: Decision, verdict: Verdict | None, reason: str) -> Decide:
    """Return the action of a person who decides: as the rules say, or otherwise and why.

    Raises FixRequest for another verdict than theirs without a reason.
    """
    reasons = rules.reasons[: MAX_REASONS - 1]
    if verdict is None or verdict == rules.verdict:
        return Decide(rules.verdict, (*reasons, reason) if reason else reasons, best=rules.variant)
    if not reason.strip():
        raise FixRequest("reason", f"the rules say {rules.verdict}: {rules.reasons[0]} Say why it is decided otherwise")
    return Decide(verdict, reasons, reason, best=rules.variant)


def why_ended(report: Report, definition: Definition, now_ms: int) -> str | None:
    """Return why no more data will change the verdict, None while more may come."""
    if report.stopped_at_ms is not None:
        return explanation.STOPPED
    if days_run(report, now_ms) >= definition.plan.max_days:
        return explanation.time_is_over(definition.plan.max_days)
    if report.planned and report.planned[-1].last:
        return explanation.looks_are_over(report.planned[-1].members)
    return None


def days_run(report: Report, now_ms: int) -> float:
    """Return for how many days the experiment ran, or has run by now."""
    if report.started_at_ms is None:
        return 0.0
    return max(0, (report.stopped_at_ms or now_ms) - report.started_at_ms) / DAY_MS


def _judge(report: Report, definition: Definition, variant: str, now_ms: int) -> Decision:
    """Return the verdict on one treatment."""
    guardrails = [guardrail for guardrail in report.guardrails if guardrail.variant == variant]
    if harmed := [guardrail.sentence for guardrail in guardrails if guardrail.harm == "harmed"]:
        return Decision("do_not_ship", tuple(harmed))
    if early := _too_early(report, definition, now_ms):
        return Decision("continue", early)
    primary = report.effect(report.primary, variant)
    if primary is None or primary.outcome == "no_data":
        return Decision("continue", (explanation.no_effect_yet(report, definition, variant),))
    if primary.outcome == "worse":
        return Decision("do_not_ship", (primary.sentence,))
    if primary.outcome == "better":
        return _better(primary, guardrails)
    if futile := [each.sentence for each in report.futility if each.variant == variant and each.futile]:
        return Decision("do_not_ship", (primary.sentence, *futile))
    return Decision("continue", (primary.sentence,))


def _better(primary: EffectResult, guardrails: list[GuardrailResult]) -> Decision:
    if doubts := [guardrail.sentence for guardrail in guardrails if guardrail.harm != "safe"]:
        return Decision("continue", (primary.sentence, *doubts))
    return Decision("ship", (primary.sentence, *(guardrail.sentence for guardrail in guardrails)))


def _too_early(report: Report, definition: Definition, now_ms: int) -> tuple[str, ...]:
    plan, reasons = definition.plan, []
    if (days := days_run(report, now_ms)) < plan.min_days:
        reasons.append(explanation.too_few_days(days, plan.min_days))
    if report.members < plan.min_members:
        reasons.append(explanation.too_few_members(report.members, plan.min_members))
    return tuple(reasons)


def _gain(report: Report, definition: Definition, variant: str) -> float:
    """Return the primary metric's difference, positive where it is for the better."""
    found = report.effect(report.primary, variant)
    difference = found.effect.difference if found is not None else None
    return for_the_better(difference or 0.0, direction_of(definition, report.primary))


def for_the_better(difference: float, direction: Direction) -> float:
    """Return a difference so that more is better."""
    return difference if direction == "increase" else -difference
