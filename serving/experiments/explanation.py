"""Sentences that say a result to a person who plans a product, not to a statistician: whole, and with the numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from serving.experiments.analysis.effect import Effect
from serving.experiments.report import (
    EffectResult,
    ExposureResult,
    FutilityResult,
    GuardrailResult,
    Report,
    SrmResult,
)
from streams.experiments.definition import Definition
from streams.experiments.metric import Metric, MetricKind

SRM_BLOCKS: Final = (
    "Arms that do not get their declared shares of members are not comparable: find out what loses or adds members in "
    "one of them, then run the experiment anew."
)
STOPPED: Final = "The experiment was stopped, so that no more data will come."


def percent(share: float, signed: bool = False) -> str:
    """Return a share in percent, to three digits and no finer than a ten-thousandth.

    >>> percent(0.01234, signed=True), percent(0.5), percent(-0.000012), percent(25.0), percent(1e-9)
    ('+1.23 %', '50 %', '-0.0012 %', '2,500 %', '0 %')
    """
    text = number(round(share * 100, 4), signed)
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def count(number: int) -> str:
    """Return a number of members.

    >>> count(1), count(12_345)
    ('1 member', '12,345 members')
    """
    return f"{number:,} member" + ("" if number == 1 else "s")


def days(number: float) -> str:
    """Return a duration.

    >>> days(1.0), days(0.26), days(14)
    ('1 day', '0.3 days', '14 days')
    """
    text = f"{number:.1f}".removesuffix(".0")
    return f"{text} day" + ("" if text == "1" else "s")


def time_is_over(max_days: float) -> str:
    """Say that the experiment has run for as long as it may."""
    return f"The experiment has run for the {days(max_days)} that it was given."


def looks_are_over(members: int) -> str:
    """Say that no planned look is left."""
    return f"The last planned look was taken, at {count(members)}."


def too_few_days(run: float, least: float) -> str:
    """Say that the plan asks for more days."""
    return f"It has run for {days(run)}; the plan asks for {days(least)} at least, so that every weekday counts."


def too_few_members(members: int, least: int) -> str:
    """Say that the plan asks for more members."""
    return f"It has {count(members)}; the plan asks for {least:,} at least."


def also_better(variant: str, best: str) -> str:
    """Say that another treatment might be shipped, too."""
    return f"{variant} is better than the control, too; {best} has the larger estimate, which does not prove it best."


def no_effect_yet(report: Report, definition: Definition, variant: str) -> str:
    """Say why a treatment's effect on the primary metric is not known."""
    plan = definition.plan
    if plan.method != "sequential" and not report.planned and plan.planned_members:
        looks = plan.looks if plan.method == "group_sequential" else 1
        return (
            f"The first planned look comes at {-(-plan.planned_members // looks):,} members; there are "
            f"{report.members:,} by now."
        )
    found = report.effect(report.primary, variant)
    reason = (found.effect.reason if found else None) or "no members yet"
    return f"Of the effect of {variant} on {report.primary} nothing can be said yet: {reason}."


SILENT: Final = (
    "Nobody has been exposed yet: see that exposures are logged (pages of members in the experiment, or the app's own "
    "calls) and that the experiments agent runs."
)


def number(value: float, signed: bool = False) -> str:
    """Return a number to three digits, never as a power of ten.

    >>> number(1234.5), number(0.01234, signed=True)
    ('1,230', '+0.0123')
    """
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    rounded = round(value, 2 - math.floor(math.log10(abs(value)))) if value else 0.0
    return f"{rounded:{'+' if signed else ''},.{digits}f}"


def p_text(p_value: float) -> str:
    """Return a p-value as it is written.

    >>> p_text(0.0312), p_text(0.00001), p_text(1.0)
    ('p = 0.031', 'p < 0.0001', 'p = 1')
    """
    return "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.2g}"


def effect_sentence(result: EffectResult, metric: Metric, control: str, segment: str = "") -> str:
    """Say what a treatment does to a metric."""
    effect, among = result.effect, f" among members with {segment.replace('=', ' ')}" if segment else ""
    if effect.difference is None:
        return f"What {result.variant} does to {metric.name}{among} cannot be said yet: {effect.reason}."
    way = "better" if (effect.difference > 0) == (metric.direction == "increase") else "worse"
    if result.outcome == "unsure" and effect.found:
        held = f"{way} than {control} if it were the only one tested, not sure among all that are"
    elif result.outcome not in ("better", "worse"):
        held = f"which leaves open whether it is better or worse than {control}"
    else:
        held = f"{way} than {control}"
    found = f"{metric.name} with {result.variant}{among}: {_change(effect, metric)}, {held}"
    return f"{found} ({_arms(effect)}; {_p(result)}{_saved(effect)})."


def guardrail_sentence(result: GuardrailResult, control: str) -> str:
    """Say whether a guardrail holds."""
    bounds, name = result.bounds, f"{result.metric} with {result.variant}"
    margin = f", more than the accepted {percent(result.max_harm)}" if result.max_harm else ""
    verdict = {
        "harmed": f"harm is sure{margin}" if bounds.harmful else f"harm{margin} was sure at an earlier look and counts",
        "safe": f"harm of {percent(result.max_harm)} or more is ruled out" if result.max_harm else "no harm is found",
        "unsure": f"harm of {percent(result.max_harm)} or more is not ruled out yet"
        if result.max_harm
        else "not sure yet",
    }[result.harm]
    return f"Guardrail {name}: {_harm_seen(result, control)}; {verdict}."


def srm_sentence(result: SrmResult, is_past: bool = False) -> str:
    """Say whether members come as declared. is_past: a mismatch is that of an earlier look, and not to be seen now."""
    seen = ", ".join(f"{variant} {members:,}" for variant, members in result.observed.items())
    if strays := [
        variant for variant in result.observed if result.observed[variant] and not result.expected.get(variant)
    ]:
        return f"There are members in {' and '.join(strays)}, where none should be ({seen})."
    shares = ", ".join(f"{variant} {percent(share)}" for variant, share in result.expected.items())
    if result.found and is_past:
        return (
            f"Members did not come in the declared shares at an earlier look ({p_text(result.p_value)}), and that "
            f"stands: by now {seen}, declared {shares}."
        )
    if result.found:
        return f"Members do not come in the declared shares: {seen}, declared {shares} ({p_text(result.p_value)})."
    return f"Members come in the declared shares: {seen}, declared {shares} ({p_text(result.p_value)})."


def futility_sentence(result: FutilityResult, definition: Definition) -> str:
    """Say whether it is worth going on."""
    chance = percent(result.conditional_power)
    if_so = f"If {result.variant} were {percent(definition.mde)} better, as declared, it would be found so by the end"
    verdict = "not worth going on for" if result.futile else "worth going on for"
    return (
        f"{if_so} with a chance of {chance}: {verdict} (the plan asks for {percent(definition.plan.futility or 0.0)})."
    )


def many_crossed(crossed: int, members: int) -> str:
    """Say that members saw more than one variant."""
    return (
        f"{count(crossed)} saw more than one variant and are left out, beside {members:,} who count: ids of members or "
        "the experiment's definition are not the same everywhere."
    )


def model_moved(alias: str) -> str:
    """Say that the members of an arm were shown what two models made."""
    arms, others = f"variants whose model is {alias}", "others"
    if alias == "champion":
        arms, others = "variants that name no model", "those that do"
    return (
        f"{alias} came to name another model while the experiment ran: comparisons of {arms} with {others} are not "
        "those of either model. Run it anew, or read them as those of a mixture."
    )


def unlike_degraded(control: str, treatment: str, exposures: Sequence[ExposureResult], degraded: str) -> str:
    """Say that one arm's members were shown degraded pages more often than another's."""
    share = {arm.variant: arm.degraded / arm.members if arm.members else 0.0 for arm in exposures}
    remedy = {
        "include": "count in the effects",
        "exclude": "are left out, so that the arms may no longer be alike",
        "stratify": "are compared with their like",
    }[degraded]
    return (
        f"{percent(share[treatment])} of the members of {treatment} were first exposed on a degraded page, and "
        f"{percent(share[control])} of those of {control}: something about the variant makes pages fail. They {remedy}."
    )


def _harm_seen(result: GuardrailResult, control: str) -> str:
    """Say what the numbers are by now; where the control's are none, what there is beside it."""
    bounds, effect = result.bounds, result.effect
    if bounds.estimate is not None:
        return f"{_worse(bounds.estimate)} than {control}{_sure(bounds.at_least, bounds.at_most)}"
    if effect.treatment is not None and effect.control is not None:
        return f"{number(effect.treatment)} against {number(effect.control)} with {control}"
    return f"nothing is known of harm by now ({bounds.reason or effect.reason or 'no data yet'})"


def _change(effect: Effect, metric: Metric) -> str:
    say, unit = _UNITS.get(metric.kind, (_signed, ""))
    if effect.relative is not None and effect.relative_low is not None and effect.relative_high is not None:
        low, high = (percent(end, signed=True) for end in (effect.relative_low, effect.relative_high))
        points = f", {say(effect.difference or 0.0)}{unit}" if say is _points else ""
        return f"{percent(effect.relative, signed=True)}{points} ({_interval(effect, low, high)})"
    difference = f"{say(effect.difference or 0.0)}{unit}"
    if effect.low is None or effect.high is None:
        return f"{difference} (no interval yet)"
    return f"{difference} ({_interval(effect, say(effect.low), say(effect.high))})"


def _interval(effect: Effect, low: str, high: str) -> str:
    held = ", valid at any look" if effect.method == "sequential" else ""
    return f"{percent(1 - effect.alpha)} interval {low} to {high}{held}"


def _signed(value: float) -> str:
    return number(value, signed=True)


def _points(share: float) -> str:
    return number(share * 100, signed=True)


_UNITS: Final[dict[MetricKind, tuple[Callable[[float], str], str]]] = {
    "count": (_signed, " a member"),
    "sum": (_signed, " a member"),
    "conversion": (_points, " percentage points"),
    "retention": (_points, " percentage points"),
}
"""How differences of each kind of metric are said; ratios and percentiles have no unit of ours."""


def _arms(effect: Effect) -> str:
    return f"{count(effect.n_treatment)} against {effect.n_control:,}"


def _p(result: EffectResult) -> str:
    if result.effect.p_value is None:
        return "no p-value yet"
    if result.p_adjusted is None or result.p_adjusted == result.effect.p_value:
        return p_text(result.effect.p_value)
    return f"{p_text(result.effect.p_value)}, {p_text(result.p_adjusted)} among all that are tested"


def _saved(effect: Effect) -> str:
    if effect.variance_reduction < 0.01:
        return ""
    return f"; what members did before takes {percent(effect.variance_reduction)} off the variance"


def _worse(harm: float) -> str:
    return f"{percent(harm)} worse" if harm >= 0 else f"{percent(-harm)} better"


def _sure(at_least: float | None, at_most: float | None) -> str:
    if at_least is None or at_most is None:
        return ""
    return f" (from {_worse(at_least)} to {_worse(at_most)})"
