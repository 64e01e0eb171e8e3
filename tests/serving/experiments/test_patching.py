"""Patches: refused with the field and the fix, combined in order, and what they do to pages, replayed bit for bit."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.experiments.patching import BOUNDS, ROW_KINDS, apply_patch, check_patch, combine
from serving.pages.builder import build_page
from serving.pages.params import DEFAULT_PARAMS, PageParams, changes_of, with_changes
from serving.pages.shelves import shelves_of
from streams.errors import FixRequest
from streams.experiments.definition import Patch
from tests.serving.pages.world import comedy_fan, shown_ids, world

PLACE = world(60)
FAN = comedy_fan(PLACE.catalogue)
_WHOLE = {field.name for field in fields(PageParams) if field.type == "int"}


def _numbers(name: str) -> st.SearchStrategy[float]:
    low, high = BOUNDS[name]
    return st.integers(int(low), int(high)).map(float) if name in _WHOLE else st.floats(low, high)


_params = st.fixed_dictionaries({}, optional={name: _numbers(name) for name in BOUNDS})
_kinds = st.sampled_from(ROW_KINDS)
_patches = st.builds(
    Patch,
    model=st.none() | st.sampled_from(["candidate", "a" * 64]),
    rows=st.none() | st.lists(_kinds, min_size=1, unique=True).map(tuple),
    row_weights=st.none() | st.dictionaries(_kinds, st.floats(0, 1_000), min_size=1),
    page_ttl_s=st.none() | st.floats(1, 86_400),
    params=_params.map(lambda params: params or None),
)


@settings(max_examples=60, deadline=None)
@given(_patches)
def test_with_any_patch_that_passes_a_page_is_made_and_its_parameters_come_back_from_an_impression(
    patch: Patch,
) -> None:
    check_patch(patch)
    params = apply_patch(DEFAULT_PARAMS, patch)
    page = build_page(PLACE.inputs(FAN, params=params))
    assert page.rows
    if patch.rows is not None and len(page.rows) > 1:
        assert {row.kind for row in page.rows} <= set(patch.rows)
    assert [row.value for row in page.rows] == sorted((row.value for row in page.rows), reverse=True)
    told = with_changes(changes_of(params))
    assert told == params
    assert told.version == params.version
    assert build_page(PLACE.inputs(FAN, params=told)) == page


@given(_patches, _patches, _patches)
def test_patches_combine_in_order_and_the_empty_one_changes_nothing(one: Patch, two: Patch, three: Patch) -> None:
    assert combine(combine(one, two), three) == combine(one, combine(two, three))
    assert combine(one, Patch()) == one
    assert combine(Patch(), one) == one
    assert combine(one, Patch(model="x")).model == "x"
    assert apply_patch(apply_patch(DEFAULT_PARAMS, one), Patch()) == apply_patch(DEFAULT_PARAMS, one)


def test_each_parameter_of_pages_can_be_patched_within_bounds_that_hold_its_default() -> None:
    assert set(BOUNDS) == {field.name for field in fields(PageParams)} - {"rows", "row_weights"}
    for name, (low, high) in BOUNDS.items():
        assert low <= getattr(DEFAULT_PARAMS, name) <= high


@pytest.mark.parametrize(
    ("patch", "field"),
    [
        (Patch(model="no such name!"), "p.model"),
        (Patch(rows=()), "p.rows"),
        (Patch(rows=("top_pix",)), "p.rows"),
        (Patch(row_weights={"trending": -1.0}), "p.row_weights.trending"),
        (Patch(row_weights={"nothing": 1.0}), "p.row_weights"),
        (Patch(page_ttl_s=0.0), "p.page_ttl_s"),
        (Patch(params={"row_sice": 3.0}), "p.params.row_sice"),
        (Patch(params={"row_size": 65.0}), "p.params.row_size"),
        (Patch(params={"row_size": 3.5}), "p.params.row_size"),
        (Patch(params={"continue_done": float("nan")}), "p.params.continue_done"),
    ],
)
def test_a_patch_that_no_page_can_be_made_with_is_refused_by_field(patch: Patch, field: str) -> None:
    with pytest.raises(FixRequest) as refused:
        check_patch(patch, "p")
    assert refused.value.field == field
    assert refused.value.fix


@pytest.mark.parametrize("params", [{"row_size": 0.0}, {"row_size": float("nan")}, {"gone": 1.0}])
def test_what_a_stored_patch_may_not_have_is_left_out(params: dict[str, float]) -> None:
    assert apply_patch(DEFAULT_PARAMS, Patch(params=params)) == DEFAULT_PARAMS


def test_weights_order_rows_and_row_kinds_leave_titles_free_for_others() -> None:
    plain = build_page(PLACE.inputs(FAN))
    last = plain.rows[-1].kind
    weighted = build_page(PLACE.inputs(FAN, params=apply_patch(DEFAULT_PARAMS, Patch(row_weights={last: 1_000.0}))))
    assert weighted.rows[0].kind == last
    assert sorted(shown_ids(weighted)) == sorted(shown_ids(plain))
    only = build_page(PLACE.inputs(FAN, params=apply_patch(DEFAULT_PARAMS, Patch(rows=("genre",)))))
    assert {row.kind for row in only.rows} == {"genre"}
    picks = next(row for row in plain.rows if row.kind == "top_picks")
    assert picks.items[0].item_id in shown_ids(only)


def test_parameters_that_name_nothing_new_keep_the_version_of_earlier_pages() -> None:
    assert PageParams().version == "b99394ac94fb2fd5"  # of BUILDER_VERSION 2; raised on purpose only
    assert changes_of(DEFAULT_PARAMS) == changes_of(PageParams()) == ""


@pytest.mark.parametrize("text", ["{", "[]", '{"row_size": "many"}', '{"row_size": 1e400}'])
def test_changes_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(FixRequest, match="params"):
        with_changes(text)


def changed(**params: Any) -> PageParams:
    return apply_patch(DEFAULT_PARAMS, Patch(params=params))


def test_shelves_are_shared_by_variants_that_arrange_them_alike() -> None:
    plain = shelves_of(PLACE.catalogue, PLACE.snapshot, DEFAULT_PARAMS)
    assert shelves_of(PLACE.catalogue, PLACE.snapshot, changed(row_size=5.0)) is plain
    assert shelves_of(PLACE.catalogue, PLACE.snapshot, changed(explore_shown_max=1.0)) is not plain
