"""A showing: one page served once, as the request path notes it, and the impression that it becomes off that path."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from serving.page_cache import CachedPage, Origin
from serving.pages.page import Row
from streams.impressions import Impression, ShownItem, ShownRow


class Showing(NamedTuple):
    """entry: what was served. origin: the entry's, where this was its first serving; None for a repeat."""

    page_id: str
    served_at_ms: int
    step: str
    degraded: str | None
    entry: CachedPage
    origin: Origin | None


def impression_of(showing: Showing) -> Impression:
    """Return the impression: whole for a first serving, else a repeat that names the page it repeats."""
    entry, origin = showing.entry, showing.origin
    impression = Impression(
        page_id=showing.page_id,
        member_id=entry.key.member_id,
        served_at_ms=showing.served_at_ms,
        step=showing.step,
        rows=[],
        degraded=showing.degraded,
        model_version=entry.model_version,
        feature_position=entry.feature_position,
        request=request_of(entry),
        origin_page_id=entry.origin_page_id if origin is None else None,
    )
    return impression if origin is None else _whole(impression, origin)


def _whole(repeat: Impression, origin: Origin) -> Impression:
    page = origin.page
    return msgspec.structs.replace(
        repeat,
        rows=shown_rows(page.rows),
        state=origin.state,
        title_snapshot=page.title_snapshot,
        variants=page.variants,
        page_version=origin.page_version,
    )


def request_of(entry: CachedPage) -> dict[str, str]:
    """Return what the page was computed from beside state, snapshot and model: enough to compute it again."""
    return {
        "country": entry.key.country,
        "device": entry.key.device,
        "now_ms": str(entry.computed_at_ms),
        "seed": str(entry.seed),
    }


def shown_rows(rows: list[Row]) -> list[ShownRow]:
    """Return rows as an impression has them."""
    return [
        ShownRow(
            row.row_id,
            row_position,
            [ShownItem(item.item_id, position, item.score, item.propensity) for position, item in enumerate(row.items)],
        )
        for row_position, row in enumerate(rows)
    ]
