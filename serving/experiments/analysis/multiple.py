"""Several tests at once: p-values adjusted so that all of them together may be held against one alpha.

Holm, Scandinavian Journal of Statistics 6 (1979): the chance of any false finding. Benjamini and Hochberg, JRSS B 57
(1995): the expected share of false ones among the findings. Both work on p-values of confidence sequences, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Correction = Literal["holm", "benjamini_hochberg", "none"]


def adjusted(p_values: Sequence[float | None], correction: Correction) -> tuple[float | None, ...]:
    """Return the adjusted p-values in the same order. None (no data yet) stays None, and counts as a test: a family
    does not shrink because a member of it is late.

    >>> adjusted((0.01, None, 0.04), "holm")
    (0.03, None, 0.08)
    """
    if correction == "none":
        return tuple(p_values)
    known = [1.0 if p is None else p for p in p_values]
    result = holm(known) if correction == "holm" else benjamini_hochberg(known)
    return tuple(None if p is None else found for p, found in zip(p_values, result, strict=True))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values."""
    n, largest = len(p_values), 0.0
    result = [1.0] * n
    for rank, place in enumerate(sorted(range(n), key=lambda place: p_values[place])):
        largest = max(largest, (n - rank) * p_values[place])
        result[place] = min(1.0, largest)
    return result


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return Benjamini and Hochberg's adjusted p-values."""
    n, smallest = len(p_values), 1.0
    result = [1.0] * n
    for rank, place in reversed(list(enumerate(sorted(range(n), key=lambda place: p_values[place]), start=1))):
        smallest = min(smallest, p_values[place] * n / rank)
        result[place] = smallest
    return result


def alpha_each(alpha: float, treatments: int) -> float:
    """Return the level of each treatment's interval, so that all treatments' intervals hold together (Bonferroni:
    Holm's steps have no intervals of their own). Never narrower than what Holm finds, so an interval without 0 is a
    finding.

    >>> alpha_each(0.05, 2)
    0.025
    """
    return alpha / max(treatments, 1)
