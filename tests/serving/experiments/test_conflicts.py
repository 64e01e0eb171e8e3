"""Experiments that cannot run side by side."""

from __future__ import annotations

import pytest

from serving.experiments.conflicts import conflicts, patched_fields
from streams.experiments.definition import Experiment, Patch
from tests.serving.experiments.definitions import WHOLE, running


@pytest.mark.parametrize(
    ("one", "other", "field"),
    [
        (Patch(model="a"), Patch(model="b"), "layer"),
        (Patch(params={"row_size": 1}), Patch(params={"row_size": 2}), "layer"),
        (Patch(row_weights={"genre": 1}), Patch(row_weights={"genre": 1}), "layer"),
        (Patch(params={"row_size": 1}), Patch(params={"row_min": 2}), None),
        (Patch(rows=("genre",)), Patch(row_weights={"genre": 2}), None),
        (Patch(), Patch(), None),
    ],
)
def test_two_that_change_the_same_field_must_share_a_layer(one: Patch, other: Patch, field: str | None) -> None:
    apart = [running("a", patch=one), running("b", patch=other)]
    assert [conflict.field for conflict in conflicts(apart)] == ([field] if field else [])
    spans = ([(0, WHOLE // 2)], [(WHOLE // 2, WHOLE)])
    together = [running(n, patch=p, layer="x", spans=s) for n, p, s in zip("ab", (one, other), spans, strict=True)]
    assert conflicts(together) == []


@pytest.mark.parametrize(
    ("other", "field"),
    [
        (running("b", layer="x", spans=[(9, 11)]), "spans"),
        (running("b", layer="x", spans=[(10, 20)]), None),
        (running("b", layer="x", spans=[], forced={"tess": "v0"}), "forced"),
        (running("b", layer="y", spans=[(0, 20)], forced={"tess": "v0"}), None),
    ],
)
def test_members_of_a_layer_are_in_one_experiment(other: Experiment, field: str | None) -> None:
    one = running("a", layer="x", spans=[(0, 10)], forced={"tess": "v1"})
    assert [conflict.field for conflict in conflicts([other, one])] == ([field] if field else [])


def test_a_conflict_names_first_who_started_first_and_says_what_to_do() -> None:
    early, late = running("z", patch=Patch(model="a")), running("a", patch=Patch(model="b"), started_at_ms=2_000)
    (conflict,) = conflicts([late, early])
    assert (conflict.first, conflict.then) == ("z", "a")
    assert conflict.why == "z changes model too: put both into one layer, so that no member is in both"


def test_one_that_has_not_started_comes_after_all_that_have() -> None:
    draft = Experiment(running("a", patch=Patch(model="b")).definition)
    (conflict,) = conflicts([draft, running("z", patch=Patch(model="a"))])
    assert (conflict.first, conflict.then) == ("z", "a")


def test_a_patch_changes_what_it_names() -> None:
    patch = Patch("m", ("genre",), {"genre": 1.0}, 5.0, {"row_size": 3})
    assert patched_fields(patch) == {"model", "rows", "row_weights.genre", "page_ttl_s", "params.row_size"}
