"""Flags: what the protocol says of experiments, without a network."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.experiments.allocation import Allocation
from serving.experiments.live import LiveView
from serving.experiments.ofrep import (
    MAX_ATTRIBUTES,
    MAX_FLAGS,
    BadContext,
    Context,
    evaluate,
    flag,
    flags,
    parse_context,
)
from streams.experiments.definition import Experiment, Patch, Rule, Status, Variant
from tests.serving.experiments.definitions import running


def view_of(*experiments: Experiment) -> LiveView:
    known = {each.definition.id: each for each in experiments}
    return LiveView(MappingProxyType(known), Allocation(experiments, Patch()))


def evaluated(experiment: Experiment, member_id: str = "42", **attributes: str) -> dict[str, Any]:
    (evaluation,) = evaluate(view_of(experiment), [experiment], Context(member_id, attributes))
    answer: dict[str, Any] = msgspec.to_builtins(evaluation)
    return answer


def with_status(experiment: Experiment, status: Status, **fields: Any) -> Experiment:
    return msgspec.structs.replace(experiment, status=status, **fields)


@pytest.mark.parametrize("value", [True, False, 0, 7, 0.5, "", "blue", {"a": [1]}, [1, 2]])
def test_a_flag_has_the_variants_value(value: object) -> None:
    experiment = running(variants=(Variant("off", 0.0, value=None), Variant("on", 1.0, value=value)))
    assert evaluated(experiment) == {
        "key": "exp",
        "reason": "SPLIT",
        "variant": "on",
        "metadata": {"experiment": "exp", "revision": 1, "variant": "on"},
        "value": value,
    }


def test_without_a_value_it_is_the_variants_key() -> None:
    assert evaluated(running("exp", [0.0, 1.0]))["value"] == "v1"


@pytest.mark.parametrize(
    "experiment",
    [
        running(spans=[(0, 1)]),
        running(holdout=1.0),
        running(targeting=(Rule("country", "in", ("NL",)),)),
    ],
    ids=["not drawn", "held out", "not targeted"],
)
def test_who_takes_no_part_gets_the_apps_own_default(experiment: Experiment) -> None:
    assert evaluated(experiment) == {
        "key": "exp",
        "reason": "DEFAULT",
        "variant": "",
        "metadata": {"experiment": "exp", "revision": 1},
    }


def test_a_tester_gets_what_was_set_by_hand() -> None:
    answer = evaluated(running("exp", [1.0, 0.0], forced={"42": "v1"}))
    assert (answer["reason"], answer["value"]) == ("TARGETING_MATCH", "v1")


@pytest.mark.parametrize("status", ["stopped", "decided"])
def test_an_experiment_that_has_ended_gives_no_value(status: Status) -> None:
    answer = evaluated(with_status(running(), status))
    assert (answer["reason"], "value" in answer) == ("DISABLED", False)


def test_one_that_takes_nobody_because_of_a_fault_gives_no_value() -> None:
    assert evaluated(running(forced={"42": "nothing"}))["reason"] == "DISABLED"


def test_what_was_promoted_is_everybodys() -> None:
    answer = evaluated(with_status(running(), "promoted", shipped="v1"))
    assert (answer["reason"], answer["variant"], answer["value"]) == ("STATIC", "v1", "v1")


def test_drafts_and_archived_experiments_are_no_flags() -> None:
    order: list[Status] = ["draft", "running", "stopped", "decided", "promoted", "archived"]
    view = view_of(*(with_status(running(status), status) for status in order))
    assert [each.definition.id for each in flags(view)] == ["running", "promoted", "decided", "stopped"]
    assert flag(view, "draft") is None
    assert flag(view, "nothing") is None
    assert flag(view, "stopped") is not None


def test_there_is_a_bound_to_flags_and_running_ones_come_first() -> None:
    stopped = [with_status(running(f"a{n}"), "stopped") for n in range(MAX_FLAGS)]
    found = flags(view_of(*stopped, running("z")))
    assert (len(found), found[0].definition.id) == (MAX_FLAGS, "z")


def context_of(**attributes: object) -> bytes:
    return msgspec.json.encode({"context": attributes})


def test_attributes_that_rules_can_name_are_read_as_text() -> None:
    context = parse_context(
        context_of(targetingKey="42", country="nl", device="TV", gold=True, age=37, weight=1.5, tags=["a"], none=None)
    )
    assert context.member_id == "42"
    assert context.attributes == {
        "targetingKey": "42",
        "country": "NL",
        "device": "tv",
        "gold": "true",
        "age": "37",
    }


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "PARSE_ERROR"),
        (b"{", "PARSE_ERROR"),
        (b"[]", "PARSE_ERROR"),
        (b"null", "PARSE_ERROR"),
        (b'"\xff"', "PARSE_ERROR"),
        (b"[" * 50_000, "PARSE_ERROR"),
        (b"{}", "TARGETING_KEY_MISSING"),
        (b'{"context": null}', "TARGETING_KEY_MISSING"),
        (b'{"context": {}}', "TARGETING_KEY_MISSING"),
        (b'{"context": {"targetingKey": ""}}', "TARGETING_KEY_MISSING"),
        (b'{"context": {"targetingKey": null}}', "TARGETING_KEY_MISSING"),
        (b'{"context": []}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": 42}}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": "a\\u0000b"}}', "INVALID_CONTEXT"),
        (context_of(targetingKey="x" * 129), "INVALID_CONTEXT"),
        (context_of(targetingKey="42", **{f"a{n}": n for n in range(MAX_ATTRIBUTES)}), "INVALID_CONTEXT"),
    ],
)
def test_a_context_that_cannot_be_used_is_refused_by_openfeatures_code(body: bytes, code: str) -> None:
    with pytest.raises(BadContext) as caught:
        parse_context(body)
    assert caught.value.code == code
    assert caught.value.fix


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@given(_json | st.fixed_dictionaries({"context": st.dictionaries(st.text(max_size=8), _json)}))
def test_any_json_is_a_context_or_refused(request: object) -> None:
    experiment, code = running(), None
    try:
        context = parse_context(msgspec.json.encode(request))
    except BadContext as error:
        code, context = error.code, Context("42", {})
    assert code in (None, "PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT")
    assert len(evaluate(view_of(experiment), [experiment], context)) == 1
