"""Where a Cassandra cluster is, from a URL."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from streams.errors import FixRequest

DEFAULT_PORT: Final = 9042
DEFAULT_KEYSPACE: Final = "marquee"
_KEYSPACE: Final = re.compile(r"[a-z][a-z0-9_]{0,47}")


class Address(NamedTuple):
    """The nodes to ask first, as (host, port), and the keyspace."""

    nodes: tuple[tuple[str, int], ...]
    keyspace: str


def parse_address(url: str) -> Address:
    """Return the address in `cassandra://host:9042[,host]/keyspace`. Raises FixRequest.

    >>> parse_address("cassandra://a,b:9043/films")
    Address(nodes=(('a', 9042), ('b', 9043)), keyspace='films')
    >>> parse_address("cassandra://[::1]").keyspace
    'marquee'
    """
    parts = urlsplit(url)
    keyspace = parts.path.strip("/") or DEFAULT_KEYSPACE
    if _KEYSPACE.fullmatch(keyspace) is None:
        raise _cannot_be(url, "a keyspace is a lower-case letter, then up to 47 of a-z, 0-9 and _")
    return Address(tuple(_node(url, node) for node in parts.netloc.split(",")), keyspace)


def _node(url: str, node: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{node}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _cannot_be(url, str(error)) from None
    if not host or parts.username is not None:
        raise _cannot_be(url, "it is cassandra://host:port,host:port/keyspace; the user has a setting of its own")
    return host, port or DEFAULT_PORT


def _cannot_be(url: str, why: str) -> FixRequest:
    return FixRequest("MARQUEE_DURABLE_URL", f"{url!r} cannot be: {why}")
