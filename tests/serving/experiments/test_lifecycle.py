"""The life of experiments: whatever is tried in whatever order, what was promised to members and readers holds."""

from __future__ import annotations

import itertools
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.experiments.conflicts import layer_of
from serving.experiments.lifecycle import (
    ALLOWED,
    MAX_RUNNING,
    NEEDS,
    Action,
    Archive,
    Decide,
    Edit,
    Ramp,
    Ship,
    Start,
    Stop,
    Undo,
    fixed_part,
    planned_traffic,
    transition,
)
from serving.experiments.refusals import Conflict
from serving.experiments.spans import hashes_of, size_of
from streams.errors import FixRequest
from streams.experiments.definition import Experiment, Patch, RampStep, Span, Status
from tests.serving.experiments.definitions import definition, running

NOW_MS = 1_700_000_000_000
RAMP = (RampStep(0, 0.1), RampStep(60, 0.3), RampStep(120, 0.5))

ORDER: dict[Status, int] = {"draft": 0, "running": 1, "stopped": 2, "decided": 3, "promoted": 4, "archived": 5}

verdicts = st.sampled_from(("ship", "do_not_ship", "inconclusive", "continue"))
actions = st.one_of(
    st.just(Start()),
    st.builds(Ramp, st.floats(0.01, 1.2)),
    st.builds(Stop, st.sampled_from(("enough", " "))),
    st.builds(Decide, verdicts, st.just(("it is better",)), st.sampled_from(("", "we say so"))),
    st.builds(Ship, st.sampled_from(("v0", "v1", "v9")), st.just("go")),
    st.builds(Undo, st.just("oops")),
    st.builds(Archive, st.just("done")),
    st.builds(
        lambda name, changes: Edit(definition(name, **changes)),
        st.sampled_from("abc"),
        st.sampled_from(({}, {"hypothesis": "Better words"}, {"mde": 0.5}, {"forced": {"ann": "v1"}}, {"layer": "x"})),
    ),
)


def act(experiment: Experiment, action: Action, *others: Experiment, now_ms: int = NOW_MS) -> Experiment:
    return transition(experiment, action, now_ms, random.Random(1), others)


@given(st.lists(st.tuples(st.sampled_from("abc"), actions), max_size=30), st.integers(0, 2**32))
def test_whatever_is_tried_the_invariants_hold(tried: list[tuple[str, Action]], seed: int) -> None:
    rng, now_ms = random.Random(seed), NOW_MS
    world = {name: Experiment(definition(name, layer="home", traffic=0.5, ramp=RAMP)) for name in "abc"}
    for name, action in tried:
        before, now_ms = world[name], now_ms + 1_000
        others = [other for key, other in world.items() if key != name and other.status == "running"]
        try:
            after = transition(before, action, now_ms, rng, others)
        except FixRequest:
            continue
        world[name] = after
        check_step(before, action, after)
        check_layers([other for other in world.values() if other.status == "running"])


def check_step(before: Experiment, action: Action, after: Experiment) -> None:
    assert before.status in ALLOWED[type(action)]
    assert after.revision == before.revision + 1
    assert after.definition.id == before.definition.id
    assert ORDER[after.status] >= ORDER[before.status] or isinstance(action, Undo)
    if before.status != "draft":
        assert fixed_part(after.definition) == fixed_part(before.definition)
        assert (after.salt, after.started_at_ms) == (before.salt, before.started_at_ms)
        assert after.traffic >= before.traffic
        assert all(any(new.begin <= s.begin and s.end <= new.end for new in after.spans) for s in before.spans)
    if after.status == "running":
        assert abs(size_of(after.spans) - hashes_of(after.traffic)) <= 2**24
        assert len(after.salt) == 16
    if after.status == "promoted":
        assert (after.verdict, after.shipped) == ("ship", "v1")
    else:
        assert after.shipped is None


def check_layers(experiments: list[Experiment]) -> None:
    by_layer: dict[str, list[Span]] = {}
    for experiment in experiments:
        by_layer.setdefault(layer_of(experiment.definition), []).extend(experiment.spans)
    for spans in by_layer.values():
        ordered = sorted(spans, key=lambda span: span.begin)
        assert all(one.end <= other.begin for one, other in itertools.pairwise(ordered))


def test_every_action_has_a_role_and_a_status() -> None:
    assert set(NEEDS) == set(ALLOWED)
    assert {action for action, role in NEEDS.items() if role == "approver"} == {Decide, Ship, Undo}


def test_a_life_from_draft_to_default() -> None:
    experiment = Experiment(definition(traffic=0.5, ramp=RAMP))
    steps = (Start(), Ramp(0.5), Stop("enough"), Decide("ship", ("better",)), Ship("v1", "go"))
    seen = []
    for step in steps:
        experiment = act(experiment, step)
        seen.append((experiment.status, experiment.revision, experiment.traffic))
    assert seen == [
        ("running", 2, 0.1),
        ("running", 3, 0.5),
        ("stopped", 4, 0.5),
        ("decided", 5, 0.5),
        ("promoted", 6, 0.5),
    ]
    assert (experiment.started_at_ms, experiment.stopped_at_ms, experiment.decided_at_ms) == (NOW_MS,) * 3
    undone = act(experiment, Undo("oops"))
    assert (undone.status, undone.shipped, undone.verdict) == ("decided", None, "ship")


def test_what_was_stopped_is_never_started_again() -> None:
    stopped = act(running(), Stop("enough"))
    for experiment in (stopped, act(stopped, Decide("inconclusive", ("too few",)))):
        with pytest.raises(Conflict, match="draft a new experiment"):
            act(experiment, Start())


@pytest.mark.parametrize(
    "changes",
    [{"mde": 0.5}, {"weights": (0.6, 0.4)}, {"traffic": 0.5}, {"layer": "x"}, {"patch": Patch(page_ttl_s=60)}],
)
def test_what_was_fixed_at_the_start_is_not_edited_later(changes: dict[str, Any]) -> None:
    draft = Experiment(definition())
    assert act(draft, Edit(definition(**changes))).definition == definition(**changes)
    with pytest.raises(Conflict, match="fixed when the experiment started"):
        act(act(draft, Start()), Edit(definition(**changes)))


def test_words_and_testers_may_be_edited_while_it_runs() -> None:
    before = running()
    variants = tuple(msgspec.structs.replace(v, description="said better") for v in before.definition.variants)
    edited = definition(hypothesis="Said better", forced={"ann": "v1"}, variants=variants)
    assert act(before, Edit(edited)).definition == edited


def test_an_experiment_keeps_its_id() -> None:
    with pytest.raises(FixRequest, match="stays so"):
        act(Experiment(definition()), Edit(definition("other")))


def test_traffic_only_grows() -> None:
    half = act(Experiment(definition(traffic=0.5)), Start())
    for traffic in (0.1, 0.5, float("nan"), 1.5):
        with pytest.raises(FixRequest, match="members stay where they are"):
            act(half, Ramp(traffic))
    assert act(half, Ramp(0.6)).spans[0].begin == half.spans[0].begin


def test_what_a_ramp_has_been_promised_is_not_given_to_another() -> None:
    first = act(
        Experiment(definition("a", layer="home", traffic=0.7, ramp=(RampStep(0, 0.1), RampStep(9, 0.7)))), Start()
    )
    assert first.traffic == 0.1
    with pytest.raises(Conflict, match=r"home has 30\.0000% of its members left beside a"):
        act(Experiment(definition("b", layer="home", traffic=0.4)), Start(), first)
    second = act(Experiment(definition("b", layer="home", traffic=0.3)), Start(), first)
    with pytest.raises(Conflict, match="members left beside a"):
        act(second, Ramp(0.31), first)
    assert act(first, Ramp(0.7), second).traffic == 0.7


def test_two_that_change_the_same_do_not_run_beside_each_other_unless_they_share_a_layer() -> None:
    patch = Patch(page_ttl_s=60)
    first = act(Experiment(definition("a", patch=patch)), Start())
    with pytest.raises(Conflict, match="page_ttl_s"):
        act(Experiment(definition("b", patch=patch)), Start(), first)
    assert act(Experiment(definition("b", patch=Patch(rows=("explore",)))), Start(), first).status == "running"


def test_so_many_run_at_once_and_no_more() -> None:
    others = [running(f"e{n}") for n in range(MAX_RUNNING)]
    with pytest.raises(Conflict, match="stop one first"):
        act(Experiment(definition()), Start(), *others)


def test_only_what_was_decided_ship_is_shipped_and_never_the_control() -> None:
    stopped = act(running(), Stop("enough"))
    with pytest.raises(Conflict, match="decided do_not_ship"):
        act(act(stopped, Decide("do_not_ship", ("worse",))), Ship("v1", "go"))
    decided = act(stopped, Decide("ship", (), "the rules do not know of the contract"))
    assert decided.reasons == ("overridden: the rules do not know of the contract",)
    for variant in ("v0", "v9"):
        with pytest.raises(FixRequest, match="name one of v1"):
            act(decided, Ship(variant, "go"))


def test_another_variant_than_the_rules_found_best_is_shipped_only_by_who_says_so() -> None:
    stopped = act(running(weights=(0.4, 0.3, 0.3)), Stop("enough"))
    decided = act(stopped, Decide("ship", ("v2 is better",), best="v2"))
    with pytest.raises(Conflict, match=r"override\.variant: the rules found v2 best, not v1"):
        act(decided, Ship("v1", "go"))
    with pytest.raises(Conflict, match="v2 best"):
        act(decided, Ship("v1", "go", ("champion",)))
    assert act(decided, Ship("v1", "v2 is too dear", ("variant",))).shipped == "v1"
    assert act(decided, Ship("v2", "go")).shipped == "v2"
    by_hand = act(stopped, Decide("ship", ("worse",), "a contract"))
    assert act(by_hand, Ship("v1", "go")).shipped == "v1", "the rules had none to ship; that was overridden before"


@pytest.mark.parametrize("verdict", ["continue"])
def test_what_has_stopped_is_not_decided_to_continue(verdict: Any) -> None:
    with pytest.raises(FixRequest, match="verdict"):
        act(act(running(), Stop("enough")), Decide(verdict, ("more data",)))


def test_the_ramp_says_what_traffic_is_due() -> None:
    started = act(Experiment(definition(traffic=0.5, ramp=RAMP)), Start())
    due = [planned_traffic(started, NOW_MS + after_s * 1_000) for after_s in (0, 59, 60, 119, 120, 9_999)]
    assert due == [0.1, 0.1, 0.3, 0.3, 0.5, 0.5]
    assert planned_traffic(act(started, Ramp(0.4)), NOW_MS + 60_000) == 0.4
