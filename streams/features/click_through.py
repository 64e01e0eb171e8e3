"""Click-through: how often a title that was shown was clicked or played, smoothed."""

from __future__ import annotations

from typing import Final

PRIOR_CLICKS: Final = 1.0
PRIOR_SHOWN: Final = 20.0
"""A Beta(1, 19) prior: a title never shown counts as clicked once in twenty times; it weighs 20 impressions."""


def click_through(clicks: float, shown: float) -> float:
    """Return the posterior mean of the click probability under the Beta prior, at most 1.

    >>> click_through(0, 0), click_through(19, 20)
    (0.05, 0.5)
    """
    return min((clicks + PRIOR_CLICKS) / (shown + PRIOR_SHOWN), 1.0)
