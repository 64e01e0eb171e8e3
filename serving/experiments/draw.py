"""The draw itself: hashes against thresholds, of all experiments at once, for one member or for many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.experiments.conflicts import layer_of
from serving.experiments.hashing import HASH_RANGE, Hashes, hash_text, mix
from serving.experiments.targeting import TargetingTable
from streams.experiments.definition import Experiment, Span

HOLDOUT: Final = "holdout"
"""The salt of who is held out: the same for every experiment, so that smaller holdouts lie within larger ones."""

_LAST: Final = HASH_RANGE - 1


class Draw:
    """Experiments as arrays, one column each.

    Of a member's hashes the first are under the salts of layers, one for each span; then come those of variants, one
    for each experiment; the last is the holdout's.
    """

    def __init__(self, experiments: Sequence[Experiment], first_options: Sequence[int]) -> None:
        """first_options: what number each experiment's first variant has."""
        definitions = [each.definition for each in experiments]
        self.names = [each.id for each in definitions]
        spans = [_joined(each.spans) for each in experiments]
        flat = [span for each in spans for span in each]
        layers = [layer_of(definition) for definition, each in zip(definitions, spans, strict=True) for _ in each]
        salts = [f"layer:{layer}" for layer in layers]
        salts += [f"variants:{each.definition.id}:{each.salt}" for each in experiments] + [HOLDOUT]
        self._salts = _hashes(hash_text(salt) for salt in salts)
        self._variants = slice(len(flat), len(flat) + len(definitions))
        self._begins = _hashes(span.begin for span in flat)
        self._lasts = _hashes(span.end - span.begin - 1 for span in flat)
        self._first_spans = np.cumsum([0, *map(len, spans)])[:-1] if len(flat) > len(spans) else None
        """Where the spans of each experiment begin; None where each has one."""
        tops = [_tops([variant.weight for variant in each.variants]) for each in definitions]
        starts = [each.count(-1) for each in tops]
        self._first_options = np.array(first_options, np.intp) + np.array(starts, np.intp)
        self._tops = np.full((max(map(len, tops), default=0), len(tops)), _LAST, np.uint64)
        for column, (start, each) in enumerate(zip(starts, tops, strict=True)):
            self._tops[: len(each) - start, column] = each[start:]
        self._held = _hashes(min(_LAST, int(Fraction(each.holdout) * HASH_RANGE)) for each in definitions)
        self._targeting = TargetingTable([each.targeting for each in definitions])

    def options(self, member_id: str, attributes: Mapping[str, str]) -> list[int]:
        """Return the numbers of a member's variants, ascending as the first options do."""
        if not self.names:
            return []
        takes_part, options = self.draw(np.uint64(hash_text(member_id)), attributes)
        chosen: list[int] = options[takes_part].tolist()
        return chosen

    def draw(
        self, members: Hashes | np.uint64, attributes: Mapping[str, str]
    ) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
        """Return for each experiment whether members take part, and the number of the variant that they would get.

        members: one hash, or hashes of shape (n, 1) for answers of shape (n, experiments); numbers may lack the n.
        """
        hashes = mix(members, self._salts)
        within = hashes[..., : len(self._begins)] - self._begins <= self._lasts  # below `begins` it wraps round to more
        takes_part = within if self._first_spans is None else np.logical_or.reduceat(within, self._first_spans, axis=-1)
        takes_part &= hashes[..., -1:] >= self._held
        suited = self._targeting.suited(attributes)
        if suited is not None:
            takes_part &= suited
        for_variants, options = hashes[..., self._variants], self._first_options
        for tops in self._tops:
            options = options + (for_variants > tops)
        return takes_part, options


def _hashes(values: Iterable[int]) -> Hashes:
    return np.array(list(values), np.uint64)


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Return spans, those that touch as one: an experiment that has grown has as few as it can."""
    joined: list[Span] = []
    for span in sorted(spans, key=lambda span: span.begin):
        if joined and span.begin <= joined[-1].end:
            joined[-1] = Span(joined[-1].begin, max(joined[-1].end, span.end))
        else:
            joined.append(span)
    return joined


def _tops(weights: Sequence[float]) -> list[int]:
    """Return the highest hash of each variant but the last; a hash above i of them is of variant i.

    Exact: weights are the fractions that the floats are, of their own sum. A variant of weight zero has the top of the
    one before it, so that no hash is between; before the first of any weight that is -1.
    """
    total = sum(map(Fraction, weights))
    reached, tops = Fraction(0), []
    for weight in weights[:-1]:
        reached += Fraction(weight)
        tops.append(int(reached / total * HASH_RANGE) - 1)
    return tops
