"""Sums over members from which every mean, variance and covariance follows: exact, so that parts add up to the whole in
any order, and what a member contributed can be taken out again."""

from __future__ import annotations

from fractions import Fraction
from typing import Final, Literal

import msgspec

SCALE: Final = 1_000_000
"""A member's number is kept in millionths, rounded, as an integer of any size."""

Of = Literal[0, 1, 2, 3]
Y: Final = 0
"""The member's number (of a ratio: its numerator)."""
D: Final = 1
"""The denominator of a ratio; 1 for other metrics."""
X: Final = 2
"""As Y, before the first exposure: the covariate."""
W: Final = 3
"""As D, before the first exposure."""

_PAIRS: Final = tuple((first, second) for first in range(4) for second in range(first, 4))
_PLACE: Final = {pair: place for place, pair in enumerate(_PAIRS)}


def scaled(number: float) -> int:
    """Return a member's number as it is kept.

    >>> scaled(0.25)
    250000
    """
    return round(number * SCALE)


class Moments(msgspec.Struct, frozen=True):
    """n members; sums of their four numbers (Y, D, X, W), in millionths; and of the ten products, in SCALE**-2."""

    n: int = 0
    sums: tuple[int, ...] = (0,) * 4
    products: tuple[int, ...] = (0,) * 10

    @classmethod
    def of(cls, y: int, d: int = SCALE, x: int = 0, w: int = SCALE) -> Moments:
        """Return the moments of one member, whose numbers are `scaled`."""
        numbers = (y, d, x, w)
        return cls(1, numbers, tuple(numbers[first] * numbers[second] for first, second in _PAIRS))

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.n + other.n,
            tuple(a + b for a, b in zip(self.sums, other.sums, strict=True)),
            tuple(a + b for a, b in zip(self.products, other.products, strict=True)),
        )

    def __sub__(self, other: Moments) -> Moments:
        return Moments(
            self.n - other.n,
            tuple(a - b for a, b in zip(self.sums, other.sums, strict=True)),
            tuple(a - b for a, b in zip(self.products, other.products, strict=True)),
        )

    def mean(self, of: Of) -> float:
        """Return the mean of a number; nan of no members."""
        return float(Fraction(self.sums[of], self.n * SCALE)) if self.n else float("nan")

    def product(self, one: Of, other: Of) -> int:
        """Return the sum of the products of two numbers."""
        return self.products[_PLACE[(one, other) if one <= other else (other, one)]]

    def covariance(self, one: Of, other: Of) -> float:
        """Return the sample covariance (n - 1) of two numbers; nan of fewer than two members. Exact before rounding."""
        if self.n < 2:
            return float("nan")
        product = self.product(one, other)
        return float(
            Fraction(self.n * product - self.sums[one] * self.sums[other], self.n * (self.n - 1) * SCALE * SCALE)
        )

    def variance(self, of: Of) -> float:
        """Return the sample variance (n - 1) of a number; nan of fewer than two members."""
        return self.covariance(of, of)
