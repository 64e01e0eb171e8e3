"""The ladder: which page a member is shown when not everything is well, and why. Pure.

fresh        computed for this member from the newest state there is, now or within the TTL
stale        an earlier page of this member that is past its TTL, its model or the member's newest event
precomputed  the member's page from the last batch run
popular      what most members watch; needs no store and no model

A page falls only as far as it must, and every answer below the top says what made it fall.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

from serving.pages.page import Step

Staleness = Literal["expired", "superseded", "replaced-model", "unverified"]
"""Why a cached page is not fresh: its TTL is over; an event came since, or the member was forgotten; another champion
serves; nobody can tell, or the store that was asked has lost states and stands before the page."""

PRECOMPUTED_MAX_MS = 7 * 86_400_000
"""After a week a page is no better than a popular one: most of it has been seen or is out of season."""


class CachedFacts(Protocol):
    """A cached page, as far as its freshness goes. expires_at_ms: the end of its TTL, jitter included.
    version: of the member's state that it was made from (see `streams.stores.protocol.version_of`)."""

    @property
    def expires_at_ms(self) -> int: ...
    @property
    def version(self) -> int: ...
    @property
    def model_version(self) -> str | None: ...


class Decision(NamedTuple):
    """A step and, below the top, the reason."""

    step: Step
    degraded: str | None


def staleness(
    page: CachedFacts, now_ms: int, member_version: int | None, model_version: str | None
) -> Staleness | None:
    """Return why a cached page is not fresh, None if it is.

    member_version: of the member's newest state, None if no store could tell. model_version: the champion's.
    """
    if now_ms >= page.expires_at_ms:
        return "expired"
    if page.model_version != model_version:
        return "replaced-model"
    if member_version is None or member_version < page.version:
        return "unverified"
    return "superseded" if member_version > page.version else None


def descend(
    failure: str, cached_age_ms: int | None, precomputed_age_ms: int | None, stale_max_ms: int, titles: int
) -> Decision:
    """Return the step below `fresh` to take when no page can be computed because of `failure`.

    Ages are None where there is no such page; titles: how many the catalogue has.
    """
    if cached_age_ms is not None and cached_age_ms <= stale_max_ms:
        return Decision("stale", failure)
    reasons = [failure]
    if cached_age_ms is not None:
        reasons.append(f"the cached page is older than {stale_max_ms // 1000} s")
    if precomputed_age_ms is not None and precomputed_age_ms <= PRECOMPUTED_MAX_MS:
        return Decision("precomputed", "; ".join(reasons))
    if precomputed_age_ms is not None:
        reasons.append(f"the precomputed page is older than {PRECOMPUTED_MAX_MS // 86_400_000} days")
    if not titles:
        reasons.append("no titles are known")
    return Decision("popular", "; ".join(reasons))
