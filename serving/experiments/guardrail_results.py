"""Guardrails: whether a treatment harms what it must not, said at any look."""

from __future__ import annotations

from msgspec.structs import replace

from serving.experiments import explanation
from serving.experiments.analysis.confidence_sequence import sequential
from serving.experiments.analysis.guardrail import Harm, harm_of
from serving.experiments.effects import direction_of, share_of, tuned_for
from serving.experiments.looking import Looking
from serving.experiments.report import GuardrailResult, GuardrailState
from streams.experiments.definition import Guardrail


def guardrail_results(looking: Looking) -> tuple[GuardrailResult, ...]:
    """Return the state of each guardrail, treatment by treatment."""
    return tuple(
        _result(looking, guardrail, treatment)
        for guardrail in looking.definition.guardrails
        for treatment in looking.treatments
    )


def _result(looking: Looking, guardrail: Guardrail, treatment: str) -> GuardrailResult:
    direction = direction_of(looking.definition, guardrail.metric)
    tuned = tuned_for(looking.plan, share_of(looking.definition, treatment))
    found = looking.compared(guardrail.metric, treatment)
    bounds = harm_of(found, direction, guardrail.max_harm, looking.alpha, tuned)
    result = GuardrailResult(
        guardrail.metric,
        treatment,
        _state(looking, guardrail, treatment, bounds),
        guardrail.max_harm,
        guardrail.stops,
        bounds,
        sequential(found, looking.alpha, tuned),
    )
    return replace(result, sentence=explanation.guardrail_sentence(result, looking.control))


def _state(looking: Looking, guardrail: Guardrail, treatment: str, bounds: Harm) -> GuardrailState:
    """What was sure at an earlier look stays so: these tests hold at all looks together. With fewer members than the
    plan asks for nothing is sure: the tests' level is that of large samples."""
    if looking.last is not None and looking.last.was_harmed(guardrail.metric, treatment):
        return "harmed"
    if looking.arms.members < looking.plan.min_members or bounds.harm_p_value is None:
        return "unsure"
    if bounds.harmful:
        return "harmed"
    return "safe" if bounds.safe or guardrail.max_harm == 0.0 else "unsure"
