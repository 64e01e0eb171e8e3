"""Whether a definition can be run: every field checked, all problems said at once, each with its place and the fix."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Sized
from typing import Final

import msgspec

from serving.experiments.metric_validation import MAX_METRICS, metric_problems
from serving.experiments.patching import check_patch
from serving.experiments.plan_validation import plan_problems
from serving.experiments.refusals import Invalid, Problem
from streams.errors import FixRequest
from streams.events import MAX_ID_BYTES, is_valid_id
from streams.experiments.definition import Definition, RampStep, Rule, Variant

ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
KEY: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
ID_FIX: Final = "use 1 to 64 lower-case letters, digits and `-`, the first no `-`"
KEY_FIX: Final = "use 1 to 64 lower-case letters, digits, `_` and `-`, the first a letter or digit"
RESERVED: Final = frozenset({"new"})
"""Ids whose page, /experiments/<id>, is another one."""

MAX_VARIANTS: Final = 10
MAX_TEXT: Final = 2_000
MAX_OWNER: Final = 200
MAX_VALUE_BYTES: Final = 4_096
"""Of what apps get for a variant: it is in every answer to them."""

MAX_RULES: Final = 20
MAX_RULE_VALUES: Final = 1_000
MAX_RAMP_STEPS: Final = 20
MAX_RAMP_S: Final = 90 * 86_400
MAX_FORCED: Final = 200
MAX_HOLDOUT: Final = 0.5
MAX_MDE: Final = 10.0
WEIGHTS_TOLERANCE: Final = 1e-9
"""Weights are decimals written by hand: three of 0.333333 are wrong, ten of 0.1 are right."""


def check_definition(definition: Definition, unknown_models: Collection[str] = ()) -> None:
    """Raise Invalid, naming every problem, unless a definition can be run. unknown_models: see `problems_of`."""
    if problems := problems_of(definition, unknown_models):
        raise Invalid(problems)


def problems_of(definition: Definition, unknown_models: Collection[str] = ()) -> list[Problem]:
    """Return all that is wrong with a definition. unknown_models: of the models it names, those not registered.

    >>> variants = (Variant("a", 0.5), Variant("b", 0.4))
    >>> [problem.field for problem in problems_of(Definition("x", "h", "o", variants, (), "clicks", 0.1))]
    ['variants', 'metrics', 'primary']
    """
    names = {metric.name for metric in definition.metrics}
    return [
        *_words(definition),
        *_variants(definition.variants, unknown_models),
        *metric_problems(definition.metrics),
        *_references(definition, names),
        *_rules(definition.targeting),
        *_shares(definition),
        *_ramp(definition.ramp, definition.traffic),
        *_forced(definition),
        *plan_problems(definition.plan),
    ]


def models_named(definition: Definition) -> list[str]:
    """Return the models that a definition's variants name, aliases or versions."""
    return sorted({variant.patch.model for variant in definition.variants if variant.patch.model})


def _words(definition: Definition) -> Iterator[Problem]:
    if not ID.fullmatch(definition.id):
        yield Problem("id", ID_FIX)
    if definition.id in RESERVED:
        yield Problem("id", f"choose another: `{definition.id}` is the page that drafts experiments")
    yield from _text("hypothesis", definition.hypothesis, MAX_TEXT)
    yield from _text("owner", definition.owner, MAX_OWNER)
    if definition.layer and not ID.fullmatch(definition.layer):
        yield Problem("layer", f"{ID_FIX}; or leave it out for a layer of its own")


def _text(field: str, text: str, longest: int, *, may_be_empty: bool = False) -> Iterator[Problem]:
    if not (may_be_empty or text.strip()) or len(text) > longest:
        yield Problem(field, f"write {'at most' if may_be_empty else '1 to'} {longest:,} characters")


def _variants(variants: Sequence[Variant], unknown_models: Collection[str]) -> Iterator[Problem]:
    if not 2 <= len(variants) <= MAX_VARIANTS:
        yield Problem("variants", f"give 2 to {MAX_VARIANTS}, the control first")
        return
    yield from _repeated({f"variants[{index}].key": variant.key for index, variant in enumerate(variants)})
    for index, variant in enumerate(variants):
        yield from _variant(f"variants[{index}]", variant, unknown_models)
    weights = [variant.weight for variant in variants]
    if not abs(sum(weights) - 1) <= WEIGHTS_TOLERANCE:  # written so that it holds for nan
        yield Problem("variants", f"have the weights sum to 1; they sum to {sum(weights):.10g}")
    elif not weights[0] > 0 or not any(weight > 0 for weight in weights[1:]):
        yield Problem("variants", "give the control and one other variant at least a weight above 0")
    if len({_kind(variant.value) for variant in variants}) > 1:
        yield Problem("variants", "give all variants values of one type: apps ask for a flag of one type")


def _variant(field: str, variant: Variant, unknown_models: Collection[str]) -> Iterator[Problem]:
    if not KEY.fullmatch(variant.key):
        yield Problem(f"{field}.key", KEY_FIX)
    if not 0 <= variant.weight <= 1:
        yield Problem(f"{field}.weight", "give a share of the members, from 0 to 1")
    yield from _caught(lambda: check_patch(variant.patch, f"{field}.patch"))
    if variant.patch.model in unknown_models:
        yield Problem(
            f"{field}.patch.model",
            f"there is no model {variant.patch.model!r}; name an alias or a version of `marquee models list`",
        )
    yield from _text(f"{field}.description", variant.description, MAX_TEXT, may_be_empty=True)
    if _kind(variant.value) == "list":
        yield Problem(f"{field}.value", "give a boolean, a string, a number or an object, which flags can be")
    elif len(msgspec.json.encode(variant.value)) > MAX_VALUE_BYTES:
        yield Problem(f"{field}.value", f"give at most {MAX_VALUE_BYTES:,} bytes of JSON")


def _kind(value: object) -> str:
    """Return the type that apps see: without a value they get the key, and numbers are of one type."""
    if value is None:
        return "str"
    return "float" if type(value) is int else type(value).__name__


def _caught(check: Callable[[], None]) -> Iterator[Problem]:
    try:
        check()
    except FixRequest as error:
        yield Problem(error.field, error.fix)


def _repeated(places: Mapping[str, str]) -> Iterator[Problem]:
    """Yield a problem at each place, of those with a name each, whose name an earlier one has."""
    seen = set[str]()
    for place, name in places.items():
        if name in seen:
            yield Problem(place, f"{name[:64]!r} is there twice")
        seen.add(name)


def _references(definition: Definition, names: Collection[str]) -> Iterator[Problem]:
    """Yield what is wrong with how metrics are referred to, by the name of each in its role."""
    known = f"name one of the metrics: {', '.join(sorted(names))[:200] or 'there are none'}"
    no_mean = {metric.name for metric in definition.metrics if metric.kind == "percentile"}
    roles = {
        "secondary": {f"secondary[{index}]": name for index, name in enumerate(definition.secondary)},
        "guardrails": {f"guardrails[{index}].metric": rail.metric for index, rail in enumerate(definition.guardrails)},
    }
    for field, places in roles.items():
        yield from _bounded(field, places, MAX_METRICS)
        yield from _repeated(places)
    for place, name in {"primary": definition.primary, **roles["secondary"], **roles["guardrails"]}.items():
        if name not in names:
            yield Problem(place, known)
        elif name in no_mean and not place.startswith("secondary"):
            yield Problem(
                place, "choose a metric with a mean: percentiles are shown, not decided on; it can be secondary"
            )
        elif name == definition.primary and place.startswith("secondary"):
            yield Problem(place, "it is the primary metric; leave it out here")
    for index, guardrail in enumerate(definition.guardrails):
        if not 0 <= guardrail.max_harm < 1:
            yield Problem(f"guardrails[{index}].max_harm", "give a relative change from 0 to below 1 (0.02: 2 %)")


def _bounded(field: str, entries: Sized, most: int) -> Iterator[Problem]:
    if len(entries) > most:
        yield Problem(field, f"give at most {most:,}; there are {len(entries):,}")


def _rules(rules: Sequence[Rule]) -> Iterator[Problem]:
    yield from _bounded("targeting", rules, MAX_RULES)
    for index, rule in enumerate(rules):
        if not is_valid_id(rule.attribute):
            yield Problem(f"targeting[{index}].attribute", "name `country`, `device`, or what apps send along")
        if not 1 <= len(rule.values) <= MAX_RULE_VALUES:
            yield Problem(f"targeting[{index}].values", f"give 1 to {MAX_RULE_VALUES:,} values")
        elif not all(is_valid_id(value) for value in rule.values):
            yield Problem(f"targeting[{index}].values", f"give values of 1 to {MAX_ID_BYTES} bytes, none with controls")


def _shares(definition: Definition) -> Iterator[Problem]:
    if not 0 < definition.mde <= MAX_MDE:
        yield Problem("mde", f"give a relative effect above 0, {MAX_MDE:g} at most (0.02: 2 %)")
    if not 0 < definition.traffic <= 1:
        yield Problem("traffic", "give a share of the layer's members above 0, 1 at most")
    if not 0 <= definition.holdout <= MAX_HOLDOUT:
        yield Problem("holdout", f"give a share of all members from 0 to {MAX_HOLDOUT}")


def _ramp(ramp: Sequence[RampStep], traffic: float) -> Iterator[Problem]:
    if not ramp:
        return
    yield from _bounded("ramp", ramp, MAX_RAMP_STEPS)
    if ramp[0].after_s != 0:
        yield Problem("ramp[0].after_s", "let the first step be at the start: 0")
    for index, step in enumerate(ramp):
        before = ramp[index - 1] if index else RampStep(-1, 0.0)
        if index and not before.after_s < step.after_s <= MAX_RAMP_S:
            yield Problem(f"ramp[{index}].after_s", f"let each step be later than the one before, {MAX_RAMP_S} at most")
        if not before.traffic < step.traffic <= 1:
            yield Problem(f"ramp[{index}].traffic", "let each step be above the one before, from above 0 to 1 at most")
    if ramp[-1].traffic != traffic:
        yield Problem(f"ramp[{len(ramp) - 1}].traffic", f"let the last step be the experiment's traffic, {traffic:g}")


def _forced(definition: Definition) -> Iterator[Problem]:
    yield from _bounded("forced", definition.forced, MAX_FORCED)
    keys = {variant.key for variant in definition.variants}
    for member_id, key in list(definition.forced.items())[:MAX_FORCED]:
        if not is_valid_id(member_id):
            yield Problem("forced", f"{member_id[:64]!r} is no member id: 1 to {MAX_ID_BYTES} bytes without controls")
        if key not in keys:
            yield Problem(f"forced.{member_id[:64]}", f"name one of the variants: {', '.join(sorted(keys))[:200]}")
