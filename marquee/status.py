"""What `marquee status` shows: lag, counts, freshness and the champion, read from the stores as they are."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
from rich.console import Console
from rich.table import Table

from marquee.lag import lag, records
from marquee.state_folder import StateFolder, require_state
from serving.models.registry import CHAMPION, aliased_version
from streams import topics
from streams.catalogue import count_titles
from streams.errors import MarqueeError
from streams.event_log.open import open_event_log
from streams.event_log.protocol import EventLog
from streams.settings import Settings
from streams.stores.open import open_durable
from streams.stores.protocol import DurableStore
from streams.stores.sql import open_sql

GROUPS = {"features": [topics.MEMBER_EVENTS], "shown": [topics.IMPRESSIONS], "warehouse": [topics.MEMBER_EVENTS]}


class Status(msgspec.Struct):
    """What runs. lag: records not consumed yet, by consumer group; records: in the log, by topic.

    newest_event_s: age of the newest event that a member's state includes; None without any. away: what could not be
    read, and why.
    """

    state: str
    running: bool
    lag: dict[str, int] = {}
    records: dict[str, int] = {}
    titles: int | None = None
    newest_event_s: float | None = None
    champion: str | None = None
    away: dict[str, str] = {}


def read_status(settings: Settings, now_ms: int) -> Status:
    """Return the status; a part that is away is named as such and does not hide the others."""
    require_state(settings)
    status = Status(str(settings.state), StateFolder(settings).is_locked())
    _attempt(status, "log", lambda: _read_log(settings, status))
    _attempt(status, "durable store", lambda: _read_freshness(settings, status, now_ms))
    _attempt(status, "sql", lambda: _read_sql(settings, status))
    return status


def print_status(settings: Settings, as_json: bool) -> None:
    """Print the status as a table or as JSON."""
    status = read_status(settings, time.time_ns() // 1_000_000)
    console = Console(soft_wrap=True)
    if as_json:
        console.out(msgspec.json.format(msgspec.json.encode(status)).decode(), highlight=False)
        return
    table = Table(show_header=False, box=None)
    for name, value in status_rows(status):
        table.add_row(name, value)
    console.print(table)


def status_rows(status: Status) -> list[tuple[str, str]]:
    """Return the status as (name, value) rows."""
    rows = [("state", status.state), ("running", "yes" if status.running else "no")]
    rows += [(f"lag of {group}", f"{count:,} records") for group, count in status.lag.items()]
    rows += [(f"log {topic}", f"{count:,} records") for topic, count in status.records.items()]
    newest = "no events yet" if status.newest_event_s is None else f"{status.newest_event_s:,.0f} s ago"
    rows += [("titles", "unknown" if status.titles is None else f"{status.titles:,}"), ("newest event", newest)]
    rows.append(("champion", status.champion[:12] if status.champion else "none yet: `marquee train`"))
    return rows + [(f"{part} is away", reason) for part, reason in status.away.items()]


def _attempt(status: Status, part: str, read: Callable[[], None]) -> None:
    try:
        read()
    except MarqueeError as error:
        status.away[part] = str(error)


def _read_log(settings: Settings, status: Status) -> None:
    log: EventLog = open_event_log(settings)
    try:
        status.lag = {group: lag(log, group, consumed) for group, consumed in GROUPS.items()}
        status.records = {topic: records(log, topic) for topic in topics.ALL}
    finally:
        log.close()


def _read_freshness(settings: Settings, status: Status, now_ms: int) -> None:
    durable: DurableStore = open_durable(settings)
    try:
        newest = [profile for member in durable.member_ids(1) if (profile := durable.profile(member)) is not None]
        if newest:
            status.newest_event_s = max(0, now_ms - newest[0].last_seen_ms) / 1000
    finally:
        durable.close()


def _read_sql(settings: Settings, status: Status) -> None:
    engine = open_sql(settings)
    try:
        status.titles = count_titles(engine)
        status.champion = aliased_version(engine, CHAMPION)
    finally:
        engine.dispose()
