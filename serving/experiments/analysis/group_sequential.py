"""Group-sequential tests: a few looks that were planned, each with a boundary that leaves alpha for those to come.

Boundaries follow from the joint distribution of the looks' z statistics (increments of the score are independent), by
recursive numerical integration: Armitage, McPherson and Rowe, JRSS A 132 (1969); Jennison and Turnbull, "Group
Sequential Methods" (2000), chapter 19. Looks may come at any share of the plan (alpha spending, see `spending`).
Intervals and p-values are the repeated ones (ibid., chapter 9): all of them hold together, whenever one stops.

Increments are independent where members' numbers are complete. Numbers that go on growing make looks less alike than
that; how much is not in the aggregates. Then each look has its own share of alpha and nothing is assumed of how they
hang together (Bonferroni's inequality; `joint=False`): an error of alpha at most, for a few more members.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from serving.experiments.analysis.spending import Spending, spent
from streams.errors import FixRequest

MAX_LOOKS: Final = 100
MIN_STEP: Final = 0.001
"""Of the planned information between two looks: the nearer they are, the finer the integration has to be."""
_FARTHEST_Z: Final = 8.0
"""Beyond it lies 1e-15: a boundary farther away is infinite."""
_NODES: Final = 8
"""Of Gauss-Legendre in each panel, which is as wide as the narrower neighbouring step's standard deviation."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """Of one look. fraction: of the planned information, 1 at most. spent: of alpha up to and with this look. z: an
    effect is found where |estimate / standard error| reaches it (inf: none can be found yet). nominal_p: the same as a
    two-sided p-value."""

    fraction: float
    spent: float
    z: float
    nominal_p: float


def boundaries(
    fractions: Sequence[float], alpha: float, spending: Spending, *, final: bool = False, joint: bool = True
) -> tuple[Boundary, ...]:
    """Return the boundaries of looks at these shares of the planned information, in their order.

    A last look beyond 1 is one that came late: it spends what is left. final: the last one is the end, though the plan
    was not reached; it spends what is left, too. joint: whether the score's increments are independent; if not, nothing
    is assumed of them. Raises FixRequest for looks that do not follow each other.
    """
    _check(fractions, alpha)
    uses = [spent(spending, alpha, fraction) for fraction in fractions]
    if final and uses:
        uses[-1] = alpha
    steps = np.diff([0.0, *uses])
    found: list[float] = []
    density: _Density | None = None
    for place, fraction in enumerate(fractions):
        z = _bound(density, fraction, float(steps[place]))
        found.append(z)
        after = fractions[place + 1] if place + 1 < len(fractions) else None
        density = _continued(density, fraction, z, after) if joint else None
    return tuple(
        Boundary(min(fraction, 1.0), use, z, 2.0 * float(ndtr(-z)))
        for fraction, use, z in zip(fractions, uses, found, strict=True)
    )


def crossing(fractions: Sequence[float], bounds: Sequence[float], drift: float) -> tuple[tuple[float, float], ...]:
    """Return for each look the probability that it is the first to pass the upper and the lower boundary.

    bounds: the z of each look, the same for both sides. drift: the mean of the z statistic at fraction 1; the
    probabilities of 0 sum to alpha, those of the declared effect to the power.
    """
    result = []
    density: _Density | None = None
    for place, (fraction, z) in enumerate(zip(fractions, bounds, strict=True)):
        result.append(_tails(density, fraction, z, drift))
        after = fractions[place + 1] if place + 1 < len(fractions) else None
        density = _continued(density, fraction, z, after, drift)
    return tuple(result)


def repeated_p(
    fractions: Sequence[float], z: float, spending: Spending, *, final: bool = False, joint: bool = True
) -> float:
    """Return the smallest alpha by which the last of these looks would find an effect, given its z statistic."""

    def beyond(log_alpha: float) -> float:
        bound = boundaries(fractions, math.exp(log_alpha), spending, final=final, joint=joint)[-1]
        return min(bound.z, 40.0) - abs(z)

    lowest, highest = math.log(1e-12), math.log(1.0 - 1e-9)
    if beyond(highest) > 0.0:
        return 1.0
    if beyond(lowest) <= 0.0:
        return math.exp(lowest)
    return math.exp(float(brentq(beyond, lowest, highest, xtol=1e-6)))


def stage(members: int, planned: int, looks: int) -> int:
    """Return how many of the planned looks are due with so many members: one at each `planned / looks`.

    A look counts when its stage is beyond that of the look before; any other shows what the last one found, and spends
    nothing. After stage `looks` there is none.

    >>> [stage(members, 1_000, 5) for members in (199, 200, 999, 1_000, 2_000)]
    [0, 1, 4, 5, 5]
    """
    return min(members * looks // planned, looks)


def counted(members: Sequence[int], planned: int, looks: int) -> tuple[int, ...]:
    """Return the places of those looks that count, of looks with so many members each, in order of time: each at a new
    stage, and MIN_STEP of the plan or more after the one before.

    >>> counted([150, 200, 210, 450, 1_000, 1_500], planned=1_000, looks=5)
    (1, 3, 4)
    """
    places: list[int] = []
    reached = last = 0
    for place, number in enumerate(members):
        now = stage(number, planned, looks)
        if now > reached and number - last >= MIN_STEP * planned:
            places.append(place)
            reached, last = now, number
    return tuple(places)


@dataclass(frozen=True, slots=True)
class _Density:
    """Of the score (z sqrt(t)) where no boundary was passed, at quadrature nodes, times the nodes' weights."""

    fraction: float
    nodes: NDArray[np.float64]
    mass: NDArray[np.float64]


def _tails(density: _Density | None, fraction: float, z: float, drift: float) -> tuple[float, float]:
    """Return the probabilities to pass the upper and the lower boundary now, and none before."""
    bound = z * math.sqrt(fraction)
    if density is None:
        return float(ndtr(-(z - drift * math.sqrt(fraction)))), float(ndtr(-z - drift * math.sqrt(fraction)))
    step = fraction - density.fraction
    mean = density.nodes + drift * step
    upper = ndtr((mean - bound) / math.sqrt(step))
    lower = ndtr((-bound - mean) / math.sqrt(step))
    return float(upper @ density.mass), float(lower @ density.mass)


def _bound(density: _Density | None, fraction: float, step: float) -> float:
    """Return the z that is passed, and none before, with probability `step`, when there is no effect."""
    if step <= 2.0 * float(ndtr(-_FARTHEST_Z)):
        return math.inf
    if density is None:
        return -float(ndtri(step / 2.0))

    def excess(z: float) -> float:
        return sum(_tails(density, fraction, z, 0.0)) - step

    if excess(0.0) <= 0.0:
        return 0.0
    return float(brentq(excess, 0.0, _FARTHEST_Z + 2.0, xtol=1e-12, rtol=1e-14)) if excess(10.0) < 0.0 else math.inf


def _continued(
    density: _Density | None, fraction: float, z: float, after: float | None, drift: float = 0.0
) -> _Density | None:
    """Return the density of the scores within the boundary; None where no look follows."""
    if after is None:
        return None
    before = density.fraction if density else 0.0
    step = fraction - before
    reach = min(z, _FARTHEST_Z + abs(drift)) * math.sqrt(fraction)
    nodes, weights = _quadrature(reach, math.sqrt(min(step, after - fraction)))
    if density is None:
        return _Density(fraction, nodes, weights * _normal(nodes - drift * step, step))
    kernel = _normal(nodes[:, None] - density.nodes[None, :] - drift * step, step)
    return _Density(fraction, nodes, weights * (kernel @ density.mass))


def _normal(distance: NDArray[np.float64], variance: float) -> NDArray[np.float64]:
    result: NDArray[np.float64] = np.exp(-0.5 * distance**2 / variance) / math.sqrt(2.0 * math.pi * variance)
    return result


def _quadrature(reach: float, width: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return nodes and weights of the integral from -reach to reach, in panels no wider than `width`."""
    panels = max(1, math.ceil(2.0 * reach / width))
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    edges = np.linspace(-reach, reach, panels + 1)
    half = reach / panels
    middles = (edges[:-1] + edges[1:]) / 2.0
    return (middles[:, None] + half * nodes[None, :]).ravel(), np.tile(half * weights, panels)


def _check(fractions: Sequence[float], alpha: float) -> None:
    if not 0.0 < alpha < 1.0:
        raise FixRequest("alpha", "give a probability between 0 and 1")
    if len(fractions) > MAX_LOOKS:
        raise FixRequest("looks", f"plan {MAX_LOOKS} at most")
    if not all(math.isfinite(fraction) for fraction in fractions):
        raise FixRequest("looks", "give the information of each look as a finite share of the plan")
    for before, now in zip([0.0, *fractions], fractions, strict=False):
        if now - before < (1.0 - 1e-9) * MIN_STEP:  # quotients of members are rounded
            raise FixRequest(
                "looks", f"each look needs {MIN_STEP:g} of the planned information more than the one before"
            )
        if before >= 1.0:
            raise FixRequest("looks", "the plan was complete at the look before: no alpha is left for another")
