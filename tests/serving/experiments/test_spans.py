"""Spans of a layer: exact in size, never shared, never given back while the experiment grows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.experiments.refusals import Conflict
from serving.experiments.spans import LAYER, free_spans, grown, hashes_of, size_of
from streams.experiments.definition import Span

shares = st.floats(min_value=1e-6, max_value=1.0)
steps = st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from(("grow", "stop")), shares), max_size=25)


def overlap(spans: Sequence[Span]) -> bool:
    ordered = sorted(spans, key=lambda span: span.begin)
    return any(one.end > other.begin for one, other in pairwise(ordered))


@given(steps)
def test_however_experiments_come_grow_and_go_no_hash_is_given_twice_and_growing_drops_none(
    taken: list[tuple[str, str, float]],
) -> None:
    layer: dict[str, tuple[Span, ...]] = {}
    for name, what, share in taken:
        if what == "stop":
            layer.pop(name, None)
            continue
        own, others = layer.get(name, ()), [span for key, spans in layer.items() if key != name for span in spans]
        try:
            after = grown(own, others, share)
        except Conflict:
            assert size_of(free_spans([*own, *others])) + size_of(own) < hashes_of(share)
            continue
        assert not overlap([*after, *others])
        assert all(any(new.begin <= span.begin and span.end <= new.end for new in after) for span in own)
        assert abs(size_of(after) - max(hashes_of(share), size_of(own))) <= 2**24
        layer[name] = after


def test_a_share_takes_exactly_so_many_hashes() -> None:
    assert grown((), (), 0.25) == (Span(0, LAYER // 4),)
    assert grown((), (), 1.0) == (Span(0, LAYER),)


def test_what_another_left_free_is_used_piece_by_piece() -> None:
    quarter = LAYER // 4
    others = [Span(quarter, 2 * quarter), Span(3 * quarter, LAYER)]
    assert grown((), others, 0.5) == (Span(0, quarter), Span(2 * quarter, 3 * quarter))


def test_ten_tenths_fill_a_layer_though_ten_floats_of_a_tenth_are_more_than_one() -> None:
    layer: list[Span] = []
    for _ in range(10):
        layer += grown((), layer, 0.1)
    assert size_of(layer) == LAYER
    assert not overlap(layer)


def test_a_layer_that_is_full_says_how_much_it_has() -> None:
    with pytest.raises(Conflict, match=r"25\.0000% of its members free"):
        grown((), [Span(0, 3 * LAYER // 4)], 0.5)
