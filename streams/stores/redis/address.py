"""Where a Redis is, read from a URL."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from streams.errors import FixRequest
from streams.settings import Settings

SCHEMES: Final = ("redis", "rediss", "redis+cluster", "rediss+cluster")
DEFAULT_PORT: Final = 6379
DEFAULT_PREFIX: Final = "marquee"
_PREFIX: Final = re.compile(r"[^{}\s]+")


class Node(NamedTuple):
    """A server by host and port."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return host:port."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Address:
    """The server, or of a cluster the servers to ask first; `prefix` goes before every key."""

    nodes: tuple[Node, ...]
    is_cluster: bool = False
    has_tls: bool = False
    database: int = 0
    username: str = ""
    password: str = field(default="", repr=False)
    prefix: str = DEFAULT_PREFIX


def address_of(settings: Settings) -> Address:
    """Return the address in `settings.hot_url`, with the password of the settings unless the URL has one."""
    return parse_address(settings.hot_url, settings.redis_password.get_secret_value())


def parse_address(url: str, password: str = "") -> Address:
    """Return the address in a URL. Raises FixRequest for one that is none; it does not repeat a password.

    >>> parse_address("redis+cluster://a:7000,b:7001?prefix=p").nodes
    (Node(host='a', port=7000), Node(host='b', port=7001))
    """
    try:
        parts = urlsplit(url)
        login, _, hosts = parts.netloc.rpartition("@")
        username, _, own_password = login.partition(":")
        prefix = parse_qs(parts.query, strict_parsing=bool(parts.query)).get("prefix", [DEFAULT_PREFIX])[-1]
        address = Address(
            tuple(map(_node, hosts.split(","))),
            parts.scheme.endswith("+cluster"),
            parts.scheme.startswith("rediss"),
            int(parts.path.strip("/") or 0),
            unquote(username),
            unquote(own_password) or password,
            prefix,
        )
    except ValueError:
        raise _wrong("cannot be read") from None
    if not _PREFIX.fullmatch(prefix):
        raise _wrong("has a prefix with braces or spaces in it")
    if address.database and address.is_cluster:
        raise _wrong("names a database, of which a cluster has only one")
    if len(address.nodes) > 1 and not address.is_cluster:
        raise _wrong("names several servers that are no cluster")
    return address


def _node(text: str) -> Node:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(text)
    return Node(parts.hostname, parts.port or DEFAULT_PORT)


def _wrong(what: str) -> FixRequest:
    forms = "redis://host:6379/0?prefix=p or redis+cluster://host:7000,host:7001?prefix=p"
    return FixRequest("MARQUEE_HOT_URL", f"it {what}; it has the form {forms} (rediss for TLS)")
