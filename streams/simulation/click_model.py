"""How members look at a page: a position-based click model over rows and columns.

P(click on a title) = P(it is examined | where it stands) x P(it attracts | member, title), the examination hypothesis
of the position-based model (Richardson, Dominowska & Ragno 2007; Craswell, Zoeter, Taylor & Ramsey 2008). The page is a
list of rows: a member goes down it and stops after each row with a fixed probability, and within a row examination
falls as a power of the position (Joachims, Swaminathan & Schnabel 2017). So what is shown low and to the right is
clicked less than it deserves, which is what propensities are there to correct.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Place(NamedTuple):
    """Where a title stands: row from the top, position from the left, both from 0."""

    row: int
    position: int


class Look(NamedTuple):
    """What became of a title on a page."""

    place: Place
    examined: bool
    clicked: bool


@dataclass(frozen=True)
class ClickModel:
    """continue_rows: probability of going on to the next row. position_power: examination within a row is
    (1 + position) ** -position_power."""

    continue_rows: float = 0.82
    position_power: float = 0.6

    def examination(self, place: Place, patience: float = 1.0) -> float:
        """Return the probability that a title at a place is examined.

        >>> ClickModel(continue_rows=0.5, position_power=1.0).examination(Place(row=2, position=1))
        0.125
        """
        row = self.continue_rows ** (place.row / patience)
        return float(row * (1 + place.position) ** -self.position_power)

    def look(
        self,
        rows: Sequence[Sequence[float]],
        rng: np.random.Generator,
        patience: float = 1.0,
    ) -> list[Look]:
        """Return a look at each title of a page, rows in order, given each title's attraction."""
        last = self._last_row(len(rows), rng, patience)
        looks: list[Look] = []
        for row, attractions in enumerate(rows):
            draws = rng.random((len(attractions), 2))
            within = (1.0 + np.arange(len(attractions))) ** -self.position_power
            examined = (draws[:, 0] < within) & (row <= last)
            clicked = examined & (draws[:, 1] < np.asarray(attractions))
            looks += [
                Look(Place(row, position), bool(e), bool(c))
                for position, (e, c) in enumerate(zip(examined, clicked, strict=True))
            ]
        return looks

    def _last_row(self, rows: int, rng: np.random.Generator, patience: float) -> int:
        """Return the lowest row that the member comes to."""
        goes_on = rng.random(max(rows - 1, 0)) < self.continue_rows ** (1 / patience)
        return int(np.argmin(goes_on)) if not goes_on.all() else rows - 1
