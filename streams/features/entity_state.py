"""The state of one entity in memory."""

from __future__ import annotations

import msgspec

from streams.features.aggregation import State


class EntityState(msgspec.Struct, gc=False):
    """An entity's features. position: of the newest message in it. watermark_ms: highest event time, 0 for none.

    parts: the states of the view's aggregations, in the view's order.
    """

    position: int
    watermark_ms: int
    parts: list[State]
