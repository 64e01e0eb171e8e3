"""A page's JSON answer in pieces: `{"served": {…}, "member_id": …, "rows": […]}`.

Most of an answer is the same each time a page is served. It is encoded once; a cache hit only joins what differs
(page id, step, ages) with it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from serving.pages.page import Page

_encode = msgspec.json.Encoder().encode

HEAD: Final = b'{"served":{"page_id":"'
FRESH_HIT: Final = b'","step":"fresh","cache":"hit","degraded":null,"cache_age_ms":'


def how_served(step: str, cache: str, degraded: str | None) -> bytes:
    """Return the piece between the page id and the cache age; FRESH_HIT is the one of a fresh hit."""
    return b'","step":"%b","cache":"%b","degraded":%b,"cache_age_ms":' % (
        step.encode(),
        cache.encode(),
        _encode(degraded),
    )


def middle(feature_position: int) -> bytes:
    """Return the piece between the cache age and the feature age."""
    return b',"feature_position":%d,"feature_age_ms":' % feature_position


def tail(page: Page, member_id: str, rows: bytes) -> bytes:
    """Return the piece after the feature age; rows: from `rows_json`."""
    return b',"model_version":%b,"variants":%b},"member_id":%b,"rows":%b}' % (
        _encode(page.model_version),
        _encode(page.variants),
        _encode(member_id),
        rows,
    )


def rows_json(page: Page) -> bytes:
    """Return the rows as JSON."""
    return _encode(page.rows)


def age(now_ms: int, then_ms: int) -> bytes:
    """Return the ms since `then_ms`, null for a time of 0; a time ahead of now is as old as nothing.

    >>> age(1_500, 1_000), age(1_500, 0), age(1_500, 2_000)
    (b'500', b'null', b'0')
    """
    if not then_ms:
        return b"null"
    return b"%d" % (now_ms - then_ms) if now_ms > then_ms else b"0"
