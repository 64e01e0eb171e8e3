from __future__ import annotations

import msgspec
import pytest

from serving.pages.builder import PageInputs, build_page
from serving.pages.params import PageParams
from serving.pages.replay import ReplaySources, context_of, recompute, shown_rows
from serving.ranking.model import RankingModel
from serving.titles.snapshot import TitleSnapshot
from streams.errors import FixRequest, TryAgain
from streams.features.member import MEMBER
from streams.impressions import Impression, decode_impression, encode_impression
from tests.serving.pages.world import comedy_fan, world

PLACE = world()


def impression(inputs: PageInputs) -> Impression:
    """Return the impression of a page as it comes back from the log."""
    page = build_page(inputs)
    context = inputs.context
    return decode_impression(
        encode_impression(
            Impression(
                page_id="p1",
                member_id=context.member_id,
                served_at_ms=context.now_ms + 5,
                step="fresh",
                rows=shown_rows(page),
                model_version=page.model_version,
                feature_position=page.feature_position,
                state=None if inputs.state is None else MEMBER.pack(inputs.state),
                title_snapshot=page.title_snapshot,
                request={"now_ms": str(context.now_ms), "seed": str(context.seed), "country": "", "device": ""},
                page_version=inputs.params.version,
            )
        )
    )


def snapshot_of(address: str) -> TitleSnapshot:
    if address != PLACE.snapshot.address:
        raise TryAgain("not there")
    return TitleSnapshot.from_bytes(PLACE.snapshot.to_bytes())


def model_of(version: str) -> RankingModel:
    if version != PLACE.model.version:
        raise TryAgain("not there")
    return PLACE.model


SOURCES = ReplaySources(PLACE.catalogue, snapshot_of, model_of, PageParams())


@pytest.fixture
def served() -> Impression:
    return impression(PLACE.inputs(comedy_fan(PLACE.catalogue), seed=77))


def test_a_page_comes_back_bit_for_bit(served: Impression) -> None:
    again = recompute(served, SOURCES)
    assert (again.equal, again.problem, list(again.differences)) == (True, None, [])
    assert again.page is not None
    assert shown_rows(again.page) == served.rows


def test_a_new_members_page_comes_back_too() -> None:
    assert recompute(impression(PLACE.inputs(None)), SOURCES).equal


def test_a_page_that_differs_says_where(served: Impression) -> None:
    first = served.rows[0]
    changed = msgspec.structs.replace(first.items[0], score=first.items[0].score + 1e-7)
    rows = [msgspec.structs.replace(first, items=[changed, *first.items[1:]]), *served.rows[1:]]
    again = recompute(msgspec.structs.replace(served, rows=rows), SOURCES)
    assert not again.equal
    assert again.page is not None
    assert len(again.differences) == 1
    assert f"row {first.row_id}, title 1 was" in again.differences[0]


def test_another_seed_is_another_page(served: Impression) -> None:
    again = recompute(msgspec.structs.replace(served, request={**served.request, "seed": "78"}), SOURCES)
    assert [difference.split(",")[0] for difference in again.differences] == ["row explore"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"title_snapshot": "0" * 64}, "title_snapshot: the title features of this page are no longer kept"),
        ({"model_version": "0" * 64}, "model_version: model 000000000000 cannot be loaded any more"),
        ({"state": b"\0" * 40}, "state: the member's state of then cannot be read now"),
        ({"state": None}, "state: the impression was too large"),
        ({"page_version": "older"}, "pages of version older are no longer made"),
        ({"origin_page_id": "p0"}, "this page repeats p0"),
        ({"step": "precomputed"}, "computed in a batch"),
        ({"model_version": None}, "names no title snapshot or no model"),
        ({"step": "popular", "title_snapshot": None}, "names no title snapshot"),
        ({"title_snapshot": None}, "names no title snapshot"),
        ({"request": {}}, "does not say when"),
    ],
)
def test_a_page_that_cannot_be_computed_again_says_why(
    served: Impression, change: dict[str, object], problem: str
) -> None:
    again = recompute(msgspec.structs.replace(served, **change), SOURCES)
    assert again.page is None
    assert not again.equal
    assert again.problem is not None
    assert problem in again.problem


def test_an_impression_without_its_request_is_refused(served: Impression) -> None:
    with pytest.raises(FixRequest):
        context_of(msgspec.structs.replace(served, request={"now_ms": "soon", "seed": "1"}))
