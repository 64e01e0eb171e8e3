"""What a variant's patch does to a page: checked before it may start, combined with others, applied to parameters."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Final, get_args

import msgspec

from serving.pages.page import RowKind
from serving.pages.params import PageParams
from streams.errors import FixRequest
from streams.experiments.definition import Experiment, Patch, Variant

ROW_KINDS: Final[tuple[str, ...]] = get_args(RowKind)
MAX_TTL_S: Final = 86_400.0
MAX_WEIGHT: Final = 1_000.0
NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""Of a model: an alias, or a version (64 hex digits)."""

_TEN_YEARS_MS: Final = 10 * 365 * 86_400_000
BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "row_size": (1, 64),
    "row_min": (1, 64),
    "candidates": (20, 5_000),
    "continue_size": (0, 64),
    "continue_max_age_ms": (0, _TEN_YEARS_MS),
    "continue_done": (0, 1),
    "continue_chance": (0, 1),
    "continue_half_life_ms": (1_000, _TEN_YEARS_MS),
    "because_rows": (0, 20),
    "because_min_strength": (0, 10),
    "because_sources": (0, 64),
    "genre_rows": (0, 40),
    "genre_cap": (1, 64),
    "diversity_depth": (1, 1_000),
    "trending_size": (1, 64),
    "trending_pool": (1, 600),
    "trending_min_count": (0, 1_000_000),
    "trending_min_titles": (0, 1_000_000),
    "popular_min_titles": (0, 1_000_000),
    "explore_size": (0, 64),
    "explore_width": (1, 100),
    "explore_new_share": (0, 1),
    "explore_shown_max": (0, 1e9),
    "explore_young_days": (0, 3_650),
}
"""Within these every page can be built in its time: rows have up to 64 titles, as `draft.EXAMINED` does."""

_WHOLE: Final = {field.name for field in fields(PageParams) if field.type == "int"}


def check_patch(patch: Patch, name: str = "patch") -> None:
    """Raise FixRequest, naming the field below `name`, for a patch that no page could be made with."""
    if patch.model is not None and not NAME.fullmatch(patch.model):
        raise FixRequest(f"{name}.model", "give an alias of the registry, such as candidate, or a version")
    if patch.rows is not None:
        _check_kinds(f"{name}.rows", patch.rows)
        if not patch.rows:
            raise FixRequest(f"{name}.rows", "name one kind of row at least, or leave it out for all")
    weights = patch.row_weights or {}
    _check_kinds(f"{name}.row_weights", tuple(weights))
    for kind, weight in weights.items():
        _check_number(f"{name}.row_weights.{kind}", weight, 0.0, MAX_WEIGHT)
    if patch.page_ttl_s is not None:
        _check_number(f"{name}.page_ttl_s", patch.page_ttl_s, 1.0, MAX_TTL_S)
    for field, value in (patch.params or {}).items():
        if field not in BOUNDS:
            raise FixRequest(
                f"{name}.params.{field[:64]}", f"there is no such parameter; there are {', '.join(BOUNDS)}"
            )
        _check_number(f"{name}.params.{field}", value, *BOUNDS[field])
        if field in _WHOLE and value != int(value):
            raise FixRequest(f"{name}.params.{field}", "give a whole number")


def combine(first: Patch, then: Patch) -> Patch:
    """Return a patch that has the effect of one and then the other: where both change a thing, the latter stands."""
    return Patch(
        model=first.model if then.model is None else then.model,
        rows=first.rows if then.rows is None else then.rows,
        row_weights=_merged(first.row_weights, then.row_weights),
        page_ttl_s=first.page_ttl_s if then.page_ttl_s is None else then.page_ttl_s,
        params=_merged(first.params, then.params),
    )


def apply_patch(params: PageParams, patch: Patch) -> PageParams:
    """Return the parameters of a page under a patch; `params` itself where the patch changes none of them.

    What the patch has that no page can be made with (it was written to the table by other code, say) is left out.
    """
    changes: dict[str, Any] = {}
    for field, value in (patch.params or {}).items():
        if field in BOUNDS and BOUNDS[field][0] <= value <= BOUNDS[field][1]:
            changes[field] = int(value) if field in _WHOLE else float(value)
    if patch.rows is not None:
        changes["rows"] = tuple(patch.rows)
    if patch.row_weights:
        changes["row_weights"] = tuple(sorted(patch.row_weights.items()))
    return replace(params, **changes) if changes else params


def _merged(first: dict[str, float] | None, then: dict[str, float] | None) -> dict[str, float] | None:
    return {**(first or {}), **(then or {})} or None


def _check_kinds(field: str, kinds: tuple[str, ...]) -> None:
    unknown = set(kinds) - set(ROW_KINDS)
    if unknown:
        raise FixRequest(field, f"{min(unknown)[:64]!r} is no kind of row; there are {', '.join(ROW_KINDS)}")


def _check_number(field: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise FixRequest(field, f"give a number from {low:g} to {high:g}")


def pinned(experiment: Experiment) -> Experiment:
    """Return an experiment whose variants name versions instead of the aliases that it keeps versions of."""
    variants = tuple(_pinned(variant, experiment.models) for variant in experiment.definition.variants)
    definition = msgspec.structs.replace(experiment.definition, variants=variants)
    return msgspec.structs.replace(experiment, definition=definition)


def _pinned(variant: Variant, models: Mapping[str, str]) -> Variant:
    version = models.get(variant.patch.model or "")
    if version is None:
        return variant
    return msgspec.structs.replace(variant, patch=msgspec.structs.replace(variant.patch, model=version))
