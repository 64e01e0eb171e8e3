"""Giving out the members of a layer: spans of their 64-bit hash, of which no two experiments share any."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from serving.experiments.refusals import Conflict
from streams.experiments.definition import Span

LAYER: Final = 2**64
"""The size of a layer: the number of hashes."""

ROUNDING: Final = 2**24
"""Shares are floats: ten of 0.1 are over 1 by a thousand hashes. So many (1e-12) may be missing of a share."""


def size_of(spans: Iterable[Span]) -> int:
    """Return how many hashes are in spans."""
    return sum(span.end - span.begin for span in spans)


def hashes_of(traffic: float) -> int:
    """Return how many hashes a share of a layer is, exactly: scaling by a power of two rounds nothing.

    >>> hashes_of(0.5) == 2**63
    True
    """
    return int(traffic * LAYER)


def free_spans(taken: Iterable[Span]) -> list[Span]:
    """Return what spans leave of a layer, ascending. `taken` may be in any order, and overlap."""
    free, begin = [], 0
    for span in sorted(taken, key=lambda span: span.begin):
        if span.begin > begin:
            free.append(Span(begin, span.begin))
        begin = max(begin, span.end)
    return [*free, Span(begin, LAYER)] if begin < LAYER else free


def grown(own: Sequence[Span], others: Iterable[Span], traffic: float) -> tuple[Span, ...]:
    """Return an experiment's spans once it has `traffic` of its layer: all that it has, and the lowest free ones.

    Neighbours are joined. Raises Conflict when the layer has not so much left, saying how much it has.
    """
    free = free_spans([*own, *others])
    wanted = hashes_of(traffic) - size_of(own)
    if wanted - size_of(free) > ROUNDING:
        left = (size_of(own) + size_of(free)) / LAYER
        raise Conflict("traffic", f"the layer has {left:.4%} of its members free; take no more, or another layer")
    spans = list(own)
    for span in free:
        if wanted <= 0:
            break
        end = min(span.end, span.begin + wanted)
        spans.append(Span(span.begin, end))
        wanted -= end - span.begin
    return _joined(spans)


def _joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    joined: list[Span] = []
    for span in sorted(spans, key=lambda span: span.begin):
        if joined and joined[-1].end == span.begin:
            joined[-1] = Span(joined[-1].begin, span.end)
        else:
            joined.append(span)
    return tuple(joined)
