"""Which server of a cluster has which bucket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streams.stores.redis.address import Node
from streams.stores.redis.keys import TAGS, slot_of

Owners = tuple[Node | None, ...]
"""The server of each bucket, None for one whose slot no server has."""


def owners_of(reply: Sequence[Any], asked: Node) -> Owners:
    """Return the owners from the reply to CLUSTER SLOTS of the server that was asked.

    A server that does not know its own host leaves it empty: it is the one under which it was asked.
    """
    ranges = [(first, last, _node(primary, asked)) for first, last, primary, *_ in reply]
    return tuple(next((node for first, last, node in ranges if first <= slot_of(tag) <= last), None) for tag in TAGS)


def _node(primary: Sequence[Any], asked: Node) -> Node:
    host = primary[0].decode() if primary[0] else ""
    return Node(host if host not in ("", "?") else asked.host, int(primary[1]))
