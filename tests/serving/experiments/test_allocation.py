"""Allocation: even, independent, steady, and the same for ever."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from serving.experiments.allocation import NOT_IN, Allocation
from serving.experiments.hashing import Hashes, hash_text
from serving.experiments.patching import combine
from streams.experiments.definition import Experiment, Patch, Rule
from tests.serving.experiments.definitions import WHOLE, running

MEMBERS = 1_000_000
ALPHA = 1e-4
"""Of each statistical test: inputs are fixed, so one that passes does so for ever."""


@pytest.fixture(scope="module")
def members() -> Hashes:
    """Hashes of a million sequential ids."""
    return np.array([hash_text(str(n)) for n in range(MEMBERS)], np.uint64)


def variants_of(experiment: Experiment, members: Hashes) -> NDArray[np.intp]:
    return Allocation([experiment], Patch()).assign_many(members, {})[experiment.definition.id]


def fit(indices: NDArray[np.intp], weights: list[float]) -> float:
    """Return the p-value of the counts of variants against their weights."""
    counts = np.bincount(indices, minlength=len(weights))
    expected = np.array(weights) / sum(weights) * len(indices)
    return float(stats.chisquare(counts, expected).pvalue)


def in_pieces(members: Hashes, size: int = 50_000) -> Iterator[Hashes]:
    for begin in range(0, len(members), size):
        yield members[begin : begin + size]


@pytest.mark.parametrize("buckets", [2, 3, 4, 5, 7, 10, 16, 25, 33, 50, 64, 99, 100])
def test_a_million_members_spread_evenly_over_the_variants(members: Hashes, buckets: int) -> None:
    experiment = running(f"even-{buckets}", [1 / buckets] * buckets)
    indices = np.concatenate([variants_of(experiment, piece) for piece in in_pieces(members)])
    assert fit(indices, [1.0] * buckets) > ALPHA


def test_a_million_members_spread_as_uneven_weights_say(members: Hashes) -> None:
    weights = [0.001, 0.9, 0.0, 0.049, 0.05]
    indices = variants_of(running("uneven", weights), members)
    assert 2 not in indices
    assert fit(np.where(indices > 2, indices - 1, indices), [0.001, 0.9, 0.049, 0.05]) > ALPHA


def test_fifty_experiments_are_independent_of_one_another_pair_by_pair(members: Hashes) -> None:
    allocation = Allocation([running(f"e{n:02}", [0.3, 0.7], salt="same") for n in range(50)], Patch())
    both = np.zeros((50, 50))
    for piece in in_pieces(members):
        in_second = np.stack(list(allocation.assign_many(piece, {}).values())).astype(np.float32)
        both += in_second @ in_second.T
    share = np.diag(both) / MEMBERS
    correlation = (both / MEMBERS - np.outer(share, share)) / np.sqrt(
        np.outer(share * (1 - share), share * (1 - share))
    )
    pairs = np.triu_indices(50, 1)
    p_values = stats.chi2.sf(MEMBERS * correlation[pairs] ** 2, df=1)  # Pearson's, of a two by two table
    assert len(p_values) == 1_225
    assert p_values.min() > ALPHA / len(p_values)  # Bonferroni
    assert stats.kstest(p_values, "uniform").pvalue > ALPHA  # and none of them is too good


def test_variants_are_independent_of_who_takes_part_and_of_who_is_held_out(members: Hashes) -> None:
    half = running("half", spans=[(0, WHOLE // 2)], layer="a", holdout=0.5)
    whole = running("whole", layer="b")
    indices = Allocation([half, whole], Patch()).assign_many(members, {})
    table = np.array([[np.sum((indices["half"] == i) & (indices["whole"] == j)) for j in (0, 1)] for i in (-1, 0, 1)])
    assert stats.chi2_contingency(table, correction=False).pvalue > ALPHA
    assert abs(table[1:].sum() / MEMBERS - 0.25) < 0.002


@pytest.mark.parametrize(
    "id_of",
    [
        str,
        lambda n: f"{n:012}",
        lambda n: f"customer/eu-west-1/premium/{n}",
        lambda n: f"{n}@example.com",
        lambda n: str(uuid.UUID(int=n << 80 | 0x4000_8000_0000_0000_0000)),
        lambda n: "é" * (n % 17) + f"会员{n}",
        lambda n: "a" * (n % 64) + chr(0x4E00 + n // 64),
    ],
    ids=["numbers", "padded", "prefix", "suffix", "uuid", "unicode", "repeats"],
)
def test_ids_that_look_alike_spread_like_any_others(id_of: Callable[[int], str]) -> None:
    hashes = np.array([hash_text(id_of(n)) for n in range(50_000)], np.uint64)
    assert len(np.unique(hashes)) == 50_000
    assert fit(variants_of(running("alike", [0.1] * 10), hashes), [0.1] * 10) > ALPHA
    following = np.histogram2d(*(variants_of(running("alike", [0.1] * 10), part) for part in (hashes[:-1], hashes[1:])))
    assert stats.chi2_contingency(following[0], correction=False).pvalue > ALPHA


def test_of_a_million_members_none_moves_while_the_share_grows(members: Hashes) -> None:
    shares = [0, 0.01, 0.05, 0.2, 0.5, 1.0]
    steps = [variants_of(_grown([int(s * WHOLE) for s in shares[1 : n + 1]]), members) for n in range(1, len(shares))]
    for before, after in pairwise(steps):
        assert np.array_equal(before[before != NOT_IN], after[before != NOT_IN])
    taken = [float(np.mean(step != NOT_IN)) for step in steps]
    assert taken == pytest.approx(shares[1:], abs=0.002)


@given(
    st.lists(st.integers(1, WHOLE), min_size=1, max_size=8, unique=True), st.lists(st.text(max_size=20), max_size=30)
)
def test_growth_only_adds(ends: list[int], ids: list[str]) -> None:
    ends.sort()
    steps = [Allocation([_grown(ends[:n])], Patch()) for n in range(1, len(ends) + 1)]
    for member_id in ids:
        got = [step.assign(member_id, {}).variants.get("grown") for step in steps]
        joined = [variant for variant in got if variant is not None]
        assert len(set(joined)) <= 1
        assert got == [None] * (len(got) - len(joined)) + joined


def _grown(ends: list[int]) -> Experiment:
    """Return an experiment that has grown by a span at a time, with the spans in the order that they came."""
    spans = [(begin, end) for begin, end in pairwise([0, *ends]) if begin < end]
    return running("grown", [0.3, 0.7], spans=spans)


@given(
    st.lists(st.integers(0, WHOLE), min_size=2, max_size=12, unique=True), st.lists(st.text(max_size=9), max_size=30)
)
def test_nobody_is_in_two_experiments_of_a_layer(cuts: list[int], ids: list[str]) -> None:
    cuts.sort()
    spans = list(pairwise(cuts))
    layered = [running(f"e{n}", layer="home", spans=spans[n::3]) for n in range(3)]
    allocation = Allocation(layered, Patch())
    assert not allocation.problems
    assert all(len(allocation.assign(member_id, {}).variants) <= 1 for member_id in ids)


def test_one_member_and_many_are_assigned_alike() -> None:
    experiments = [
        running("a", [0.2, 0.8], layer="x", spans=[(0, WHOLE // 3), (WHOLE // 2, WHOLE)]),
        running("b", [0.0, 0.0, 0.5, 0.0, 0.5, 0.0], holdout=0.1),
        running("c", [1.0], layer="x", spans=[(WHOLE // 3, WHOLE // 2)]),
        running("d", [0.01] * 100, targeting=(Rule("country", "in", ("NL",)),)),
        running("e", spans=[]),
    ]
    allocation = Allocation(experiments, Patch())
    ids = [f"m{n}" for n in range(2_000)]
    for attributes in ({"country": "NL"}, {}):
        many = allocation.assign_many(np.array([hash_text(i) for i in ids], np.uint64), attributes)
        for place, member_id in enumerate(ids):
            expected = {name: f"v{column[place]}" for name, column in many.items() if column[place] != NOT_IN}
            assert allocation.assign(member_id, attributes).variants == expected
    assert set(many["b"]) == {NOT_IN, 2, 4}


def test_a_smaller_holdout_lies_within_a_larger_one_and_is_the_same_for_every_experiment(members: Hashes) -> None:
    shares = {"a": 0.0, "b": 0.01, "c": 0.01, "d": 0.1, "e": 1.0}
    allocation = Allocation([running(name, holdout=share) for name, share in shares.items()], Patch())
    held = {name: column == NOT_IN for name, column in allocation.assign_many(members, {}).items()}
    assert not held["a"].any()
    assert np.array_equal(held["b"], held["c"])
    assert not (held["b"] & ~held["d"]).any()
    assert {name: float(who.mean()) for name, who in held.items()} == pytest.approx(shares, abs=0.001)


def test_testers_get_what_they_are_forced_into_whoever_they_are() -> None:
    experiment = running("exp", [1.0, 0.0], spans=[], holdout=1.0, forced={"tess": "v1"}, targeting=_NOWHERE)
    assigned = Allocation([experiment], Patch()).assign("tess", {})
    assert (assigned.variants, assigned.forced, assigned.key) == ({"exp": "v1"}, {"exp"}, "exp=v1")
    assert Allocation([experiment], Patch()).assign("other", {}).variants == {}


def test_a_tester_of_one_experiment_is_in_no_other_of_its_layer() -> None:
    forced = running("b", layer="home", spans=[], forced={"tess": "v1"})
    others = [running("a", layer="home"), running("c", layer="elsewhere")]
    assigned = Allocation([*others, forced], Patch()).assign("tess", {})
    assert list(assigned.variants) == ["b", "c"]
    assert assigned.forced == {"b"}


def test_a_tester_of_two_experiments_of_a_layer_is_in_the_one_that_started_first() -> None:
    spans = [(0, WHOLE // 2)], [(WHOLE // 2, WHOLE)]
    late = running("a", layer="home", spans=spans[0], forced={"tess": "v1", "tom": "v1"}, started_at_ms=2)
    early = running("b", layer="home", spans=spans[1], forced={"tess": "v0"}, started_at_ms=1)
    allocation = Allocation([late, early], Patch())
    assert not allocation.problems
    assert allocation.assign("tess", {}).variants == {"b": "v0"}
    assert allocation.assign("tom", {}).variants == {"a": "v1"}


_NOWHERE = (Rule("country", "in", ("XX",)),)


@pytest.mark.parametrize(
    ("rule", "attributes", "fits"),
    [
        (Rule("country", "in", ("NL", "BE")), {"country": "BE"}, True),
        (Rule("country", "in", ("NL", "BE")), {"country": "DE"}, False),
        (Rule("country", "in", ("NL", "BE")), {}, False),
        (Rule("country", "not_in", ("NL",)), {}, True),
        (Rule("country", "not_in", ("NL", "")), {}, False),
        (Rule("plan", "in", ("gold",)), {"plan": "gold", "country": "NL"}, True),
        (Rule("plan", "in", ()), {"plan": "gold"}, False),
    ],
)
def test_targeting_takes_those_whom_the_rule_describes(rule: Rule, attributes: dict[str, str], fits: bool) -> None:
    assigned = Allocation([running(targeting=(rule,)), running("all")], Patch()).assign("42", attributes)
    assert ("exp" in assigned.variants, "all" in assigned.variants) == (fits, True)


_attributes = st.dictionaries(st.sampled_from(["country", "device"]), st.sampled_from(["", "NL", "tv"]))
_rules = st.lists(
    st.builds(
        Rule,
        st.sampled_from(["country", "device"]),
        st.sampled_from(["in", "not_in"]),
        st.lists(st.sampled_from(["", "NL", "BE", "tv"])).map(tuple),
    ),
    max_size=3,
).map(tuple)


@given(st.lists(_rules, min_size=1, max_size=5), _attributes)
def test_rules_of_many_experiments_are_read_as_each_of_them_alone(
    rules: list[tuple[Rule, ...]], attributes: dict[str, str]
) -> None:
    experiments = [running(f"e{n}", targeting=each) for n, each in enumerate(rules)]
    expected = {
        f"e{n}"
        for n, each in enumerate(rules)
        if all((attributes.get(rule.attribute, "") in rule.values) == (rule.op == "in") for rule in each)
    }
    assert set(Allocation(experiments, Patch()).assign("42", attributes).variants) == expected


def test_the_patch_is_what_the_defaults_and_each_variant_make_of_it() -> None:
    patches = [
        Patch(model="candidate"),
        Patch(rows=("top_picks",), params={"row_size": 10}),
        Patch(row_weights={"trending": 2.0}),
        Patch(page_ttl_s=60.0, params={"row_min": 2}),
        Patch(row_weights={"explore": 0.5}),
    ]
    defaults = Patch(model="baseline", row_weights={"genre": 3.0}, params={"row_size": 30, "genre_cap": 3})
    experiments = [running(f"e{n}", [0.0, 1.0], patch) for n, patch in enumerate(patches)]
    expected = defaults
    for patch in patches:
        expected = combine(expected, patch)
    assert Allocation(experiments, defaults).assign("42", {}).patch == expected
    assert Allocation([running()], defaults).assign("42", {}).patch is defaults


def test_variants_come_by_experiment_in_order_whatever_order_the_table_has() -> None:
    experiments = [running(name, [1.0]) for name in ("b", "c", "a")]
    assigned = Allocation(experiments, Patch()).assign("42", {})
    assert (assigned.key, list(assigned.variants)) == ("a=v0,b=v0,c=v0", ["a", "b", "c"])


def test_an_experiment_of_one_variant_gives_it_to_all_who_take_part(members: Hashes) -> None:
    indices = variants_of(running("one", [1.0], spans=[(0, WHOLE // 2)]), members[:1_000])
    assert set(indices) == {0, NOT_IN}


def test_without_experiments_everybody_gets_the_defaults() -> None:
    defaults = Patch(model="candidate")
    assert Allocation([], defaults).assign("42", {}) == ({}, frozenset(), defaults, "")
    assert Allocation([], defaults).assign_many(np.array([1], np.uint64), {}) == {}


def test_only_running_experiments_take_members() -> None:
    stopped = Experiment(running().definition, "stopped", salt="salt", spans=running().spans, stopped_at_ms=5)
    assert Allocation([stopped], Patch()).assign("42", {}).variants == {}


@pytest.mark.parametrize(
    "broken",
    [
        running("bad", [0.0, 0.0]),
        running("bad", [float("nan"), 1.0]),
        running("bad", [-1.0, 2.0]),
        running("bad", [float("inf"), 1.0]),
        running("bad", spans=[(5, 5)]),
        running("bad", spans=[(0, WHOLE + 1)]),
        running("bad", spans=[(-1, 5)]),
        running("bad", holdout=1.5),
        running("bad", holdout=float("nan")),
        running("bad", forced={"tess": "v9"}),
        running("bad", [], spans=[]),
    ],
)
def test_an_experiment_that_makes_no_sense_takes_nobody_and_harms_no_other(broken: Experiment) -> None:
    allocation = Allocation([broken, running("good")], Patch())
    assert list(allocation.problems) == ["bad"]
    assert list(allocation.assign("42", {}).variants) == ["good"]


def test_the_later_of_two_that_are_at_odds_takes_nobody() -> None:
    first = running("z", patch=Patch(model="candidate"), started_at_ms=1)
    second = running("a", patch=Patch(model="baseline"), started_at_ms=2)
    third = running("m", patch=Patch(params={"row_size": 9}), started_at_ms=3)
    allocation = Allocation([second, third, first], Patch())
    assert list(allocation.experiments) == ["m", "z"]
    assert list(allocation.problems) == ["a"]
    assert "z" in allocation.problems["a"]


def test_who_gives_way_stands_in_nobodys_way() -> None:
    first = running("a", patch=Patch(model="x"), started_at_ms=1)
    second = running("b", patch=Patch(model="y", page_ttl_s=9.0), started_at_ms=2)
    third = running("c", patch=Patch(page_ttl_s=8.0), started_at_ms=3)
    assert list(Allocation([first, second, third], Patch()).problems) == ["b"]


GOLDEN = {
    "1": "layered=v1,thirds=v1",
    "2": "layered=v1",
    "3": "thirds=v2",
    "ann": "thirds=v1",
    "会员": "layered=v1,thirds=v2",
}
"""Of ids by the experiments below. These change only if running experiments may be reshuffled: never."""


def test_no_change_of_the_code_reshuffles_members() -> None:
    experiments = [
        running("thirds", [1 / 3, 1 / 3, 1 / 3], salt="5f3c", holdout=0.2),
        running("layered", [0.1, 0.9], layer="home", spans=[(0, WHOLE // 2)], salt="00ff"),
    ]
    allocation = Allocation(experiments, Patch())
    assert {member_id: allocation.assign(member_id, {}).key for member_id in GOLDEN} == GOLDEN
    many = allocation.assign_many(np.array([hash_text(str(n)) for n in range(10_000)], np.uint64), {})
    assert {name: np.bincount(column + 1).tolist() for name, column in many.items()} == {
        "layered": [5055, 499, 4446],
        "thirds": [2016, 2595, 2733, 2656],
    }
