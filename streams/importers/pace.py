"""How fast a replay goes: as fast as it can, at a rate, or at a multiple of event time."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

from streams.errors import FixRequest

_SPEED: Final = re.compile(r"^(\d+(?:\.\d+)?)x?$")


@dataclass(frozen=True)
class Pace:
    """rate: events a second. speed: seconds of event time a second. Neither: as fast as it goes; not both."""

    rate: float | None = None
    speed: float | None = None

    def __post_init__(self) -> None:
        if self.rate is not None and self.speed is not None:
            raise FixRequest("--rate", "choose either --rate or --speed")
        for option, value in (("--rate", self.rate), ("--speed", self.speed)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise FixRequest(option, "it must be a number above 0")

    def due_s(self, index: int, since_first_ms: int) -> float:
        """Return when the event at `index`, `since_first_ms` after the first, is due, in seconds from the start.

        >>> Pace(rate=500).due_s(1000, 0), Pace(speed=1000).due_s(3, 60_000), Pace().due_s(7, 60_000)
        (2.0, 0.06, 0.0)
        """
        if self.rate is not None:
            return index / self.rate
        if self.speed is not None:
            return since_first_ms / 1000 / self.speed
        return 0.0


def parse_speed(text: str) -> float:
    """Return the number in `1000x` or `1000`. Raises FixRequest for anything else."""
    match = _SPEED.match(text.strip())
    if not match:
        raise FixRequest("--speed", f"{text!r} is not a multiple of event time such as 1000x")
    return float(match[1])
