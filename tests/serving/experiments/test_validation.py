"""Definitions that cannot be run are refused with the field and the fix, all problems at once."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.experiments.decoding import decode_json
from serving.experiments.patching import BOUNDS, ROW_KINDS, apply_patch
from serving.experiments.refusals import Invalid
from serving.experiments.validation import check_definition, models_named, problems_of
from serving.pages.params import DEFAULT_PARAMS, PageParams
from streams.errors import FixRequest
from streams.experiments.definition import Definition, Guardrail, Patch, Plan, RampStep, Rule, Variant
from streams.experiments.metric import Measure, Metric, MetricKind
from tests.serving.experiments.definitions import definition

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "experiments" / "example.json"
PLAY = Measure(("play",))


def test_the_example_of_the_documentation_can_be_run() -> None:
    assert problems_of(decode_json(EXAMPLE.read_bytes(), Definition)) == []


def arms(*weights: float, **last: Any) -> tuple[Variant, ...]:
    made = [Variant(f"v{n}", weight) for n, weight in enumerate(weights)]
    return (*made[:-1], msgspec.structs.replace(made[-1], **last))


def metric(kind: MetricKind = "count", **changes: Any) -> tuple[Metric, ...]:
    return (msgspec.structs.replace(Metric("plays", kind, PLAY), **changes),)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("id", {"id": "Upper"}),
        ("id", {"id": "-x"}),
        ("id", {"id": "x" * 65}),
        ("id", {"id": "a=b"}),
        ("id", {"id": "new"}),
        ("hypothesis", {"hypothesis": "  "}),
        ("hypothesis", {"hypothesis": "x" * 2_001}),
        ("owner", {"owner": ""}),
        ("layer", {"layer": "A layer"}),
        ("variants", {"variants": arms(1.0)}),
        ("variants", {"variants": arms(*[1 / 11] * 11)}),
        ("variants", {"variants": arms(0.5, 0.4)}),
        ("variants", {"variants": arms(0.3333, 0.3333, 0.3333)}),
        ("variants", {"variants": arms(0.0, 1.0)}),
        ("variants", {"variants": arms(1.0, 0.0)}),
        ("variants", {"variants": arms(0.5, 0.5, value=1)}),
        ("variants[1].weight", {"variants": arms(0.5, -0.5)}),
        ("variants[1].weight", {"variants": arms(0.5, math.nan)}),
        ("variants[1].key", {"variants": arms(0.5, 0.5, key="v0")}),
        ("variants[1].key", {"variants": arms(0.5, 0.5, key="a b")}),
        ("variants[1].value", {"variants": (Variant("a", 0.5, value=[1]), Variant("b", 0.5, value=[2]))}),
        ("variants[1].value", {"variants": (Variant("a", 0.5, value="x"), Variant("b", 0.5, value="y" * 5_000))}),
        ("variants[1].description", {"variants": arms(0.5, 0.5, description="x" * 2_001)}),
        ("variants[1].patch.rows", {"variants": arms(0.5, 0.5, patch=Patch(rows=("banner",)))}),
        ("variants[1].patch.rows", {"variants": arms(0.5, 0.5, patch=Patch(rows=()))}),
        ("variants[1].patch.params.rowsize", {"variants": arms(0.5, 0.5, patch=Patch(params={"rowsize": 3}))}),
        ("variants[1].patch.params.row_size", {"variants": arms(0.5, 0.5, patch=Patch(params={"row_size": 1e6}))}),
        ("variants[1].patch.params.row_size", {"variants": arms(0.5, 0.5, patch=Patch(params={"row_size": 3.5}))}),
        ("variants[1].patch.page_ttl_s", {"variants": arms(0.5, 0.5, patch=Patch(page_ttl_s=0))}),
        (
            "variants[1].patch.row_weights.explore",
            {"variants": arms(0.5, 0.5, patch=Patch(row_weights={"explore": -1}))},
        ),
        ("variants[1].patch.model", {"variants": arms(0.5, 0.5, patch=Patch(model="no such"))}),
        ("metrics", {"metrics": ()}),
        ("metrics", {"metrics": tuple(Metric(f"m{n}", "count", PLAY) for n in range(51)), "primary": "m0"}),
        ("metrics[1].name", {"metrics": metric() * 2}),
        ("metrics[0].name", {"metrics": metric(name="Plays"), "primary": "Plays"}),
        ("metrics[0].measure.types", {"metrics": metric(measure=Measure(()))}),
        ("metrics[0].measure.of", {"metrics": metric("sum")}),
        ("metrics[0].measure.min_value", {"metrics": metric(measure=Measure(("rate",), min_value=math.inf))}),
        ("metrics[0].per", {"metrics": metric("ratio")}),
        ("metrics[0].per", {"metrics": metric(per=PLAY)}),
        ("metrics[0].per.types", {"metrics": metric("ratio", per=Measure(()))}),
        ("metrics[0].after_s", {"metrics": metric("retention")}),
        ("metrics[0].after_s", {"metrics": metric(after_s=-1)}),
        ("metrics[0].window_s", {"metrics": metric(window_s=0)}),
        ("metrics[0].window_s", {"metrics": metric(after_s=60, window_s=60)}),
        ("metrics[0].cap", {"metrics": metric(cap=0)}),
        ("metrics[0].cap", {"metrics": metric("conversion", cap=1)}),
        ("metrics[0].quantile", {"metrics": metric("percentile"), "primary": "plays"}),
        ("metrics[0].quantile", {"metrics": metric(quantile=0.5)}),
        ("metrics[0].description", {"metrics": metric(description="x" * 2_001)}),
        ("primary", {"primary": "clicks"}),
        ("primary", {"metrics": metric("percentile", quantile=0.5)}),
        ("secondary[0]", {"secondary": ("clicks",)}),
        ("secondary[0]", {"secondary": ("plays",)}),
        ("secondary[1]", {"secondary": ("clicks", "clicks")}),
        ("guardrails[0].metric", {"guardrails": (Guardrail("clicks"),)}),
        ("guardrails[1].metric", {"guardrails": (Guardrail("plays"), Guardrail("plays"))}),
        ("guardrails[0].max_harm", {"guardrails": (Guardrail("plays", 1.0),)}),
        ("mde", {"mde": 0.0}),
        ("mde", {"mde": math.nan}),
        ("traffic", {"traffic": 0.0}),
        ("traffic", {"traffic": 1.1}),
        ("holdout", {"holdout": 0.6}),
        ("ramp[0].after_s", {"ramp": (RampStep(60, 1.0),)}),
        ("ramp[1].after_s", {"ramp": (RampStep(0, 0.5), RampStep(0, 1.0))}),
        ("ramp[1].traffic", {"ramp": (RampStep(0, 0.5), RampStep(60, 0.5)), "traffic": 0.5}),
        ("ramp[0].traffic", {"ramp": (RampStep(0, 0.5),)}),
        ("ramp", {"ramp": tuple(RampStep(n, (n + 1) / 21) for n in range(21))}),
        ("targeting[0].attribute", {"targeting": (Rule("", "in", ("US",)),)}),
        ("targeting[0].values", {"targeting": (Rule("country", "in", ()),)}),
        ("targeting[0].values", {"targeting": (Rule("country", "in", ("\x00",)),)}),
        ("targeting", {"targeting": (Rule("country", "in", ("US",)),) * 21}),
        ("forced", {"forced": {"": "v0"}}),
        ("forced.ann", {"forced": {"ann": "v9"}}),
        ("forced", {"forced": {f"m{n}": "v0" for n in range(201)}}),
        ("plan.planned_members", {"plan": Plan("fixed")}),
        ("plan.planned_members", {"plan": Plan("group_sequential", planned_members=0)}),
        ("plan.looks", {"plan": Plan("group_sequential", planned_members=100, looks=1)}),
        ("plan.alpha", {"plan": Plan(alpha=0.0)}),
        ("plan.alpha", {"plan": Plan(alpha=math.nan)}),
        ("plan.power", {"plan": Plan(power=1.0)}),
        ("plan.min_days", {"plan": Plan(min_days=30.0)}),
        ("plan.max_days", {"plan": Plan(max_days=1_000.0)}),
        ("plan.min_members", {"plan": Plan(min_members=-1)}),
        ("plan.pre_period_s", {"plan": Plan(pre_period_s=0)}),
        ("plan.srm_alpha", {"plan": Plan(srm_alpha=0.5)}),
        ("plan.futility", {"plan": Plan(futility=1.0)}),
        ("plan.planned_members", {"plan": Plan(futility=0.1)}),
        ("plan.segments", {"plan": Plan(segments=("device", "device"))}),
        ("plan.segments", {"plan": Plan(segments=tuple("abcdef"))}),
        ("plan.segments", {"plan": Plan(segments=("a=b",))}),
    ],
)
def test_what_cannot_be_run_is_refused_by_its_field(field: str, changes: dict[str, Any]) -> None:
    wrong = msgspec.structs.replace(definition(), **changes)
    problems = problems_of(wrong)
    assert field in [problem.field for problem in problems]
    assert all(problem.fix for problem in problems)


def test_all_problems_are_said_at_once() -> None:
    wrong = definition(mde=-1.0, owner="", traffic=2.0)
    with pytest.raises(Invalid) as raised:
        check_definition(wrong)
    assert [problem.field for problem in raised.value.problems] == ["owner", "mde", "traffic"]
    assert raised.value.field == "owner"


def test_models_that_are_not_registered_are_refused() -> None:
    named = definition(patch=Patch(model="candidate"))
    assert models_named(named) == ["candidate"]
    assert problems_of(named) == []
    assert [problem.field for problem in problems_of(named, ["candidate"])] == ["variants[1].patch.model"]


def test_a_percentile_may_be_shown_but_not_decided_on() -> None:
    metrics = (*metric(), Metric("p90", "percentile", PLAY, quantile=0.9))
    assert problems_of(definition(metrics=metrics, secondary=("p90",))) == []
    assert [p.field for p in problems_of(definition(metrics=metrics, guardrails=(Guardrail("p90"),)))] == [
        "guardrails[0].metric"
    ]


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ("{", "body"),
        ("[]", "body"),
        ('{"id": 1}', "id"),
        ('{"id": "x"}', "hypothesis"),
        ('{"size": 1}', "size"),
        ('{"variants": [{"key": "a", "weight": 1}, {"key": "a", "wieght": 1}]}', "variants[1].wieght"),
        ('{"variants": [{"key": "a", "weight": "half"}]}', "variants[0].weight"),
        ('{"variants": [{"key": "a", "weight": 1, "patch": {"ttl": 1}}]}', "variants[0].patch.ttl"),
        ('{"plan": {"method": "bayes"}}', "plan.method"),
        ("[" * 100_000, "body"),
    ],
)
def test_what_is_no_definition_is_refused_by_its_field(raw: str, field: str) -> None:
    with pytest.raises(FixRequest) as raised:
        decode_json(raw.encode(), Definition)
    assert raised.value.field == field


def test_every_number_of_a_page_has_bounds_that_its_default_is_within() -> None:
    numbers = {field.name for field in fields(PageParams) if field.type in ("int", "float")}
    assert numbers == set(BOUNDS)
    assert all(low <= getattr(DEFAULT_PARAMS, name) <= high for name, (low, high) in BOUNDS.items())


@given(
    st.dictionaries(st.sampled_from(sorted(BOUNDS)), st.floats(allow_nan=False, allow_infinity=False), max_size=5),
    st.lists(st.sampled_from(ROW_KINDS), min_size=1, max_size=3, unique=True),
)
def test_a_patch_that_is_valid_does_what_it_says(params: dict[str, float], rows: list[str]) -> None:
    patch = Patch(rows=tuple(rows), params=params or None)
    if problems_of(definition(patch=patch)):
        return
    changed = apply_patch(DEFAULT_PARAMS, patch)
    assert changed.rows == tuple(rows)
    assert all(getattr(changed, name) == value for name, value in params.items())


def test_every_kind_of_metric_can_be_written_validly() -> None:
    special: dict[str, dict[str, Any]] = {
        "sum": {"measure": Measure(("progress",), "value")},
        "ratio": {"per": PLAY},
        "retention": {"after_s": 86_400},
        "percentile": {"quantile": 0.9},
    }
    for kind in get_args(MetricKind):
        primary = metric(name="primary")
        assert problems_of(definition(metrics=primary + metric(kind, **special.get(kind, {})), primary="primary")) == []
