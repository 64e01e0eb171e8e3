"""Sample ratio mismatch: do the arms get members as their weights say? If not, no result can be trusted.

Sequential: Lindon and Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022 (arXiv 2011.03567),
section 3: the Bayes factor of a Dirichlet-multinomial against the weights is a martingale while the weights hold, so 1
over the largest one so far is a p-value that is valid at any look. The chi-square test is shown beside it as what
people know; it must not be looked at twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import msgspec
from scipy.special import chdtrc, gammaln

CONCENTRATION: Final = 1_000.0
"""Of the Dirichlet around the weights: it expects shares to be off by one or two hundredths, as real faults of
allocation and logging are, and finds those soonest; grosser ones it finds after some hundred members."""


class SampleRatio(msgspec.Struct, frozen=True):
    """Members by arm against what the weights expect.

    p_value: of all looks so far. mismatch: it is at alpha or below, or there are members in an arm that should have
    none (`strays`: their arms; such arms are left out of the rest). chi_square_p_value is for one look only.
    """

    alpha: float
    counts: dict[str, int]
    expected: dict[str, float]
    p_value: float
    chi_square: float
    chi_square_p_value: float
    strays: tuple[str, ...] = ()

    @property
    def mismatch(self) -> bool:
        """Whether the arms' sizes contradict the weights."""
        return bool(self.strays) or self.p_value <= self.alpha


def sample_ratio(
    counts: Mapping[str, int], weights: Mapping[str, float], alpha: float, previous_p_value: float = 1.0
) -> SampleRatio:
    """Return how members by arm compare with the weights (of any sum above 0); an arm of weight 0, or of none, should
    have nobody. previous_p_value: that of the look before."""
    whole = math.fsum(weights.values())
    shares = {arm: weight / whole for arm, weight in weights.items() if weight > 0.0}
    seen = {arm: counts.get(arm, 0) for arm in shares}
    n = sum(seen.values())
    expected = {arm: n * share for arm, share in shares.items()}
    chi_square = math.fsum((seen[arm] - expected[arm]) ** 2 / expected[arm] for arm in shares) if n else 0.0
    return SampleRatio(
        alpha=alpha,
        counts=dict(counts),
        expected=expected,
        p_value=min(1.0, previous_p_value, math.exp(-min(max(log_bayes_factor(seen, shares), 0.0), 700.0))),
        chi_square=chi_square,
        chi_square_p_value=float(chdtrc(len(shares) - 1, chi_square)) if len(shares) > 1 else 1.0,
        strays=tuple(sorted(arm for arm, count in counts.items() if count and arm not in shares)),
    )


def log_bayes_factor(counts: Mapping[str, int], shares: Mapping[str, float]) -> float:
    """Return the log of how much likelier the counts are if the shares are unknown (Dirichlet around `shares`) than if
    they are these; all shares above 0, and their sum is 1."""
    n = sum(counts.values())
    terms = [gammaln(CONCENTRATION) - gammaln(CONCENTRATION + n)]
    for arm, share in shares.items():
        prior = CONCENTRATION * share
        terms.append(gammaln(prior + counts[arm]) - gammaln(prior) - counts[arm] * math.log(share))
    return math.fsum(terms)
