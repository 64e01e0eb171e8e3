"""The parameters of a page: which rows, how long, how diverse, how much exploration."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Final

import msgspec

from streams.errors import FixRequest

BUILDER_VERSION: Final = 2
"""Raised whenever the same inputs and parameters would give another page."""

DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class PageParams:
    """Sizes count titles, times are in ms. The defaults make about nine rows of 12 to 20 titles."""

    row_size: int = 20
    row_min: int = 4
    """A shorter row is left out, unless the page would have no rows at all."""
    candidates: int = 512
    """Best titles by score from which rows are filled: four pages' worth, so that most genre rows find theirs there."""

    continue_size: int = 12
    continue_max_age_ms: int = 60 * DAY_MS
    continue_done: float = 0.95
    """Who has watched this share of a title has seen it; the rest is credits."""
    continue_chance: float = 0.5
    """The chance that a member goes on with what they watched just now; it halves every `continue_half_life_ms`."""
    continue_half_life_ms: int = 2 * DAY_MS

    because_rows: int = 2
    because_min_strength: float = 0.8
    because_sources: int = 12
    """Recent liked titles that rows and reasons may refer to."""

    genre_rows: int = 3
    genre_cap: int = 9
    """Titles of any one genre among the top picks."""
    diversity_depth: int = 96
    """Candidates that top picks are chosen from: going deeper for variety's sake costs too much relevance."""

    trending_size: int = 16
    trending_pool: int = 40
    trending_min_count: int = 3
    """A title wants this many plays in a week before a trend of it is more than chance."""
    trending_min_titles: int = 12
    """Fewer titles than this make no row worth its place; then a month is looked at."""
    popular_min_titles: int = 40
    """The shortest popularity clock that counts a play or more for so many titles is the one to speak of."""

    explore_size: int = 12
    explore_width: int = 8
    """Titles among which each exploring position is drawn: their propensity is 1 in so many."""
    explore_new_share: float = 0.5
    """The share of exploring positions kept for new titles and those that the model does not know."""
    explore_shown_max: float = 50.0
    """A title shown no more than this in 30 days still has something to tell."""
    explore_young_days: float = 14.0

    rows: tuple[str, ...] | None = None
    """The kinds of rows that a page may have, None for all. A page that would have none gets one of any titles."""
    row_weights: tuple[tuple[str, float], ...] | None = None
    """Factors of the rows' predicted values, by kind; 1 for kinds that are not named."""

    @property
    def version(self) -> str:
        """A short digest of the parameters and the builder's version; pages are alike only under the same one.

        What is None is left out, so that a new parameter leaves the digests of pages without it as they were.
        """
        return _version_of(self)

    def allows(self, kind: str) -> bool:
        """Return whether a page may have rows of a kind."""
        return self.rows is None or kind in self.rows

    def weight(self, kind: str) -> float:
        """Return the factor of the predicted value of rows of a kind."""
        return 1.0 if self.row_weights is None else dict(self.row_weights).get(kind, 1.0)


DEFAULT_PARAMS: Final = PageParams()


@lru_cache(maxsize=1_024)
def _version_of(params: PageParams) -> str:
    values = {name: value for name, value in _values(params) if value is not None}
    return hashlib.sha256(msgspec.json.encode((BUILDER_VERSION, values))).hexdigest()[:16]


def changes_of(params: PageParams, base: PageParams = DEFAULT_PARAMS) -> str:
    """Return the fields in which parameters differ from others, as a JSON object; "" where they do not."""
    if params is base:
        return ""
    before = dict(_values(base))
    changed = {name: value for name, value in _values(params) if value != before[name]}
    return msgspec.json.encode(changed).decode() if changed else ""


def with_changes(changes: str, base: PageParams = DEFAULT_PARAMS) -> PageParams:
    """Return the parameters that `changes_of` was told. Raises FixRequest if it cannot be read."""
    if not changes:
        return base
    try:
        changed = msgspec.json.decode(changes, type=dict[str, Any])
        return msgspec.convert(dict(_values(base)) | changed, PageParams)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FixRequest("params", f"the page's parameters cannot be read ({error})") from None


def _values(params: PageParams) -> list[tuple[str, Any]]:
    return [(field.name, getattr(params, field.name)) for field in fields(PageParams)]
