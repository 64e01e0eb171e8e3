"""Feature state stores by URL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from streams.errors import FixRequest
from streams.settings import Settings
from streams.stores.embedded_hot import EmbeddedHotStore
from streams.stores.live_reads import LiveReads, LocalReads
from streams.stores.protocol import DurableStore, StateStore
from streams.stores.sqlite_durable import SqliteDurableStore


def open_hot(settings: Settings) -> StateStore:
    """Return the store of `settings.hot_url`; it opens its files on first use. FixRequest for unknown schemes."""
    if settings.scheme_of(settings.hot_url) == "embedded":
        return EmbeddedHotStore(settings.path_of(settings.hot_url), settings.hot_max_bytes)
    raise _unknown("MARQUEE_HOT_URL", settings.hot_url, ["embedded:"])


def open_live_reads(settings: Settings, hot: StateStore, kinds: Sequence[str]) -> LiveReads:
    """Return reads of the store of `settings.hot_url` for one event loop, which follow changes of the kinds.

    `hot` is that store, opened in this process; its owner closes it, after these reads. FixRequest for unknown schemes.
    """
    if settings.scheme_of(settings.hot_url) == "embedded":
        return LocalReads(hot)
    raise _unknown("MARQUEE_HOT_URL", settings.hot_url, ["embedded:"])


def open_durable(settings: Settings) -> DurableStore:
    """Return the durable store of `settings.durable_url`; it opens its file on first use. Raises FixRequest likewise.

    Its writes reach the disk when the log's do: a state that lags behind what was committed would lose events.
    """
    if settings.scheme_of(settings.durable_url) == "sqlite":
        return SqliteDurableStore(settings.path_of(settings.durable_url))
    raise _unknown("MARQUEE_DURABLE_URL", settings.durable_url, ["sqlite:"])


def _unknown(variable: str, url: str, known: Iterable[str]) -> FixRequest:
    return FixRequest(variable, f"{url!r} is not a known engine; known are {', '.join(known)}")
