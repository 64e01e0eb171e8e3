"""Feature state stores by URL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from streams.errors import FixRequest
from streams.settings import Settings
from streams.stores.embedded_hot import EmbeddedHotStore
from streams.stores.live_reads import LiveReads, LocalReads
from streams.stores.protocol import DurableStore, StateStore
from streams.stores.redis import address as redis_address
from streams.stores.sqlite_durable import SqliteDurableStore

_HOT: Final = ["embedded:", "redis://", "rediss://", "redis+cluster://", "rediss+cluster://"]


def open_hot(settings: Settings) -> StateStore:
    """Return the store of `settings.hot_url`; it opens files or connects on first use.

    Raises FixRequest for unknown schemes.
    """
    if settings.scheme_of(settings.hot_url) == "embedded":
        return EmbeddedHotStore(settings.path_of(settings.hot_url), settings.hot_max_bytes)
    if settings.scheme_of(settings.hot_url) in redis_address.SCHEMES:
        from streams.stores.redis.hot_store import RedisHotStore  # takes a while to import

        address = redis_address.address_of(settings)
        return RedisHotStore(address, settings.redis_write_timeout_s, settings.redis_connections)
    raise _unknown("MARQUEE_HOT_URL", settings.hot_url, _HOT)


def open_live_reads(settings: Settings, hot: StateStore, kinds: Sequence[str]) -> LiveReads:
    """Return reads of the store of `settings.hot_url` for one event loop, which follow changes of the kinds.

    `hot` is that store, opened in this process; its owner closes it, after these reads. FixRequest for unknown schemes.
    """
    if settings.scheme_of(settings.hot_url) == "embedded":
        return LocalReads(hot)
    if settings.scheme_of(settings.hot_url) in redis_address.SCHEMES:
        from streams.stores.redis.reads import RedisReads

        return RedisReads(redis_address.address_of(settings), kinds, settings.redis_timeout_s)
    raise _unknown("MARQUEE_HOT_URL", settings.hot_url, _HOT)


def open_durable(settings: Settings) -> DurableStore:
    """Return the durable store of `settings.durable_url`; it opens it on first use. Raises FixRequest likewise.

    Its writes reach the disk when the log's do: a state that lags behind what was committed would lose events.
    """
    if settings.scheme_of(settings.durable_url) == "sqlite":
        return SqliteDurableStore(settings.path_of(settings.durable_url))
    if settings.scheme_of(settings.durable_url) == "cassandra":
        from streams.stores.cassandra.store import CassandraDurableStore  # half a second that only its users pay

        return CassandraDurableStore(settings)
    raise _unknown("MARQUEE_DURABLE_URL", settings.durable_url, ["sqlite:", "cassandra://"])


def _unknown(variable: str, url: str, known: Iterable[str]) -> FixRequest:
    return FixRequest(variable, f"{url!r} is not a known engine; known are {', '.join(known)}")
