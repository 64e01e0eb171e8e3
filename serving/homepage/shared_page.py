"""Pages that serving processes share through the hot store: a cached page as bytes, and back.

A page is shared once the impression of its first serving is written, so whoever serves it again names a page that can
be found. It comes without the state, snapshot and rows that it was made from: those are in that impression.
"""

from __future__ import annotations

from typing import Final

import msgspec

from serving.homepage.page_cache import CachedPage, PageKey
from serving.homepage.treatment import NO_TREATMENT, Treatment

FORMAT: Final = 1
"""Raised with each change of what follows, or of the JSON of an answer: others' pages are then not read."""


class _Shared(msgspec.Struct, array_like=True):
    """made_by: format and version of the page builder. tail: of the answer, see `page_json`."""

    made_by: str
    member_id: str
    version: int
    seed: int
    computed_at_ms: int
    feature_position: int
    feature_time_ms: int
    model_version: str | None
    origin_page_id: str
    tail: bytes


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(_Shared)


def encode_shared(entry: CachedPage) -> bytes:
    """Return a page that has been shown as others may read it."""
    return _encode(
        _Shared(
            _made_by(entry.treatment.version),
            entry.key.member_id,
            entry.version,
            entry.seed,
            entry.computed_at_ms,
            entry.feature_position,
            entry.feature_time_ms,
            entry.model_version,
            entry.origin_page_id or "",
            entry.tail,
        )
    )


def decode_shared(value: bytes, key: PageKey, partition: int, treatment: Treatment = NO_TREATMENT) -> CachedPage | None:
    """Return a page that others have shared, None if it cannot be read or was made by other code or parameters than the
    treatment's.

    partition: of the member's impressions.
    """
    try:
        shared = _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if shared.made_by != _made_by(treatment.version) or shared.member_id != key.member_id or not shared.origin_page_id:
        return None
    return CachedPage(
        key,
        shared.tail,
        computed_at_ms=shared.computed_at_ms,
        feature_position=shared.feature_position,
        feature_time_ms=shared.feature_time_ms,
        model_version=shared.model_version,
        version=shared.version,
        partition=partition,
        seed=shared.seed,
        origin_page_id=shared.origin_page_id,
        treatment=treatment,
    )


def _made_by(page_version: str) -> str:
    return f"{FORMAT}-{page_version}"
