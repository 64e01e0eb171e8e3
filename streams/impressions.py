"""Impressions and exposures: what serving says it showed, to whom, on what grounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

import msgspec

from streams.errors import Undeliverable

MAX_IMPRESSION_BYTES: Final = 512 * 1024
MAX_EXPOSURE_BYTES: Final = 16 * 1024
"""Ten times what ids of the longest kind take, each byte escaped."""

StorableId = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
StorableTime = Annotated[int, msgspec.Meta(ge=0, lt=4_102_444_800_000)]
"""What every store can hold, also as part of a key: see streams.events. Unix ms, before 2100-01-01."""


class ShownItem(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One title as shown. position: within its row, from 0. propensity: the probability that it stood there."""

    item_id: str
    position: int
    score: float
    propensity: float


class ShownRow(msgspec.Struct, frozen=True, gc=False):
    """One row as shown; row_position: from the top of the page, from 0."""

    row_id: str
    row_position: int
    items: list[ShownItem]


class Impression(msgspec.Struct, frozen=True, gc=False):
    """A page as served. A repeat from the cache names the page it repeats in `origin_page_id` and has no rows.

    repeats: the page ids and times of further repeats within the same moment, which differ in nothing else and so need
    no messages of their own; see `showings_of`.
    state: the member's packed feature state as read (base64 in JSON), so that the page can be recomputed exactly;
    title_snapshot: content address of the live title features used; step: the ladder step; request: what was asked, and
    in `params` in what the page's parameters differed from the defaults (JSON), which `page_version` is the digest of.
    """

    page_id: str
    member_id: str
    served_at_ms: int
    step: str
    rows: list[ShownRow]
    origin_page_id: str | None = None
    degraded: str | None = None
    model_version: str | None = None
    feature_position: int = 0
    state: bytes | None = None
    title_snapshot: str | None = None
    variants: dict[str, str] = {}
    request: dict[str, str] = {}
    page_version: str = ""
    repeats: list[tuple[str, int]] = []


class Exposure(msgspec.Struct, frozen=True, gc=False):
    """A member met a variant of an experiment, on a page or (`source`) in an app; page_id: "" where there was none.

    first: whether the process that says so has not said it before, as far as it remembers; the first of all is the one
    with the least `exposed_at_ms`. step: the page's step of the ladder, `fallback` for a fresh page that the champion
    made because the variant's model was not there; whatever is not `fresh` did not show the variant in full.
    country, device: of the request. forced: the variant was given to a tester, whose outcomes do not count.
    """

    experiment: str
    variant: str
    member_id: StorableId
    page_id: str
    exposed_at_ms: StorableTime
    first: bool
    step: str = "fresh"
    country: str = ""
    device: str = ""
    forced: bool = False
    source: Literal["page", "app"] = "page"


_impression_decoder = msgspec.json.Decoder(Impression)
_exposure_decoder = msgspec.json.Decoder(Exposure)
_encoder = msgspec.json.Encoder()


def encode_impression(impression: Impression) -> bytes:
    """Return the wire form of an impression."""
    return _encoder.encode(impression)


def decode_impression(raw: bytes) -> Impression:
    """Return the impression in a message. Raises Undeliverable (too-large, malformed)."""
    if len(raw) > MAX_IMPRESSION_BYTES:
        raise Undeliverable("too-large", f"{len(raw)} bytes; an impression may have {MAX_IMPRESSION_BYTES}")
    try:
        return _impression_decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Undeliverable("malformed", str(error)) from None


def encode_exposure(exposure: Exposure) -> bytes:
    """Return the wire form of an exposure."""
    return _encoder.encode(exposure)


def decode_exposure(raw: bytes) -> Exposure:
    """Return the exposure in a message. Raises Undeliverable (too-large, malformed)."""
    if len(raw) > MAX_EXPOSURE_BYTES:
        raise Undeliverable("too-large", f"{len(raw)} bytes; an exposure may have {MAX_EXPOSURE_BYTES}")
    try:
        return _exposure_decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Undeliverable("malformed", str(error)) from None


def showings_of(impression: Impression) -> Iterator[Impression]:
    """Yield the impression of each page that a message is of: its own and those in `repeats`, which are then empty."""
    alone = msgspec.structs.replace(impression, repeats=[]) if impression.repeats else impression
    yield alone
    for page_id, served_at_ms in impression.repeats:
        yield msgspec.structs.replace(alone, page_id=page_id, served_at_ms=served_at_ms)
