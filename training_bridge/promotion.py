"""Whether a newly trained model becomes champion: a frozen policy, what is known, and a decision with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PromotionPolicy:
    """tolerance: by what share a new model's NDCG@10 may be below the champion's; it has seen newer events, after all.

    min_predictions: held-out predictions under which a comparison says nothing. forced: the reason given by hand; if
    not empty, the model is promoted whatever was measured.
    """

    tolerance: float = 0.02
    min_predictions: int = 50
    forced: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured. champion: the version that serves, None if none does.

    predictions: held-out events compared on. challenger_ndcg, champion_ndcg: on the same events, which neither was
    trained on (nan: not measured). why_not: why the champion could not be measured.
    """

    champion: str | None
    predictions: int
    challenger_ndcg: float
    champion_ndcg: float = math.nan
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """promote: whether the alias moves; reason: kept with the change, or shown."""

    promote: bool
    reason: str


def decide(policy: PromotionPolicy, evidence: Evidence) -> Decision:
    """Return whether to promote. The first model is always promoted: any page is better ranked than not.

    >>> decide(PromotionPolicy(), Evidence("a", 400, 0.101, 0.1)).reason
    'NDCG@10 0.1010 against 0.1000 of the champion on 400 held-out events'
    >>> decide(PromotionPolicy(), Evidence("a", 400, 0.09, 0.1)).promote
    False
    """
    if policy.forced:
        return Decision(True, f"by hand: {policy.forced}")
    if evidence.champion is None:
        return Decision(True, f"the first model{_measured(evidence)}")
    if math.isnan(evidence.champion_ndcg):
        return Decision(False, f"not compared with the champion: {evidence.why_not or 'it was not measured'}")
    if evidence.predictions < policy.min_predictions:
        short = f"{evidence.predictions} held-out predictions; {policy.min_predictions} are needed"
        return Decision(False, f"not compared with the champion: {short}")
    return _compare(policy, evidence)


def _compare(policy: PromotionPolicy, evidence: Evidence) -> Decision:
    ours, theirs = evidence.challenger_ndcg, evidence.champion_ndcg
    said = f"NDCG@10 {ours:.4f} against {theirs:.4f} of the champion on {evidence.predictions} held-out events"
    if ours >= theirs * (1.0 - policy.tolerance):
        return Decision(True, said)
    return Decision(False, f"{said}: worse by more than {policy.tolerance:.0%}")


def _measured(evidence: Evidence) -> str:
    if math.isnan(evidence.challenger_ndcg):
        return ""
    return f"; NDCG@10 {evidence.challenger_ndcg:.4f} on {evidence.predictions} held-out events"
