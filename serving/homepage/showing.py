"""A showing: one page served once, as the request path notes it, and the impression that it becomes off that path."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from serving.homepage.page_cache import CachedPage, Origin
from serving.pages.page import Row
from streams.impressions import Impression, ShownItem, ShownRow, encode_impression

Showing = tuple[bytes, int, str, str | None, CachedPage, Origin | None]
"""page_id, served_at_ms, step, degraded, the entry that was served, and its origin where this was its first serving
(None for a repeat). A plain tuple: each cache hit makes one, and a named one takes five times as long."""


def grouped(showings: Sequence[Showing]) -> list[list[Showing]]:
    """Return showings as the groups that share a message: the repeats of a fresh page, which differ in id and time
    alone, together in the place of the first; each other showing alone."""
    groups: list[list[Showing]] = []
    repeats: dict[CachedPage, list[Showing]] = {}
    for showing in showings:
        if not _is_plain_repeat(showing):
            groups.append([showing])
        elif (group := repeats.get(showing[4])) is not None:
            group.append(showing)
        else:
            repeats[showing[4]] = group = [showing]
            groups.append(group)
    return groups


def encoded_impression(group: Sequence[Showing]) -> bytes:
    """Return the wire form of the impression of one of the groups of `grouped`."""
    first, others = group[0], group[1:]
    if not _is_plain_repeat(first):
        return encode_impression(impression_of(first))
    page_id, served_at_ms, _, _, entry, _ = first
    if entry.repeat is None:
        entry.repeat = _repeat(entry)
    head = b'{"page_id":"%b","served_at_ms":%d%b' % (page_id, served_at_ms, entry.repeat)
    if not others:
        return head + b"}"
    return b'%b,"repeats":[%b]}' % (head, b",".join([b'["%b",%d]' % showing[:2] for showing in others]))


def _is_plain_repeat(showing: Showing) -> bool:
    return showing[5] is None and showing[2] == "fresh" and showing[3] is None


def _repeat(entry: CachedPage) -> bytes:
    """Return what the repeats of a fresh page have in common, without the closing brace; fields that would have their
    default are left out."""
    shared: dict[str, object] = {
        "member_id": entry.key.member_id,
        "step": "fresh",
        "rows": [],
        "origin_page_id": entry.origin_page_id,
        "model_version": entry.model_version,
        "feature_position": entry.feature_position,
    }
    if entry.treatment.variants:
        shared["variants"] = entry.treatment.variants
    return b"," + msgspec.json.encode(shared)[1:-1]


def impression_of(showing: Showing) -> Impression:
    """Return the impression: whole for a first serving, else a repeat that names the page it repeats."""
    page_id, served_at_ms, step, degraded, entry, origin = showing
    impression = Impression(
        page_id=page_id.decode(),
        member_id=entry.key.member_id,
        served_at_ms=served_at_ms,
        step=step,
        rows=[],
        degraded=degraded,
        model_version=entry.model_version,
        feature_position=entry.feature_position,
        variants=dict(entry.treatment.variants),
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
        request=repeat.request | {"params": origin.changes} if origin.changes else repeat.request,
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
