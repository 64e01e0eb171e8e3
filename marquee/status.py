"""What `marquee status` shows: what runs where, lag, counts, freshness and the champion, read from the engines as they
are. A part that is away is named as such, and hides no other."""

from __future__ import annotations

import logging
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from marquee.lag import lag, records
from marquee.state_folder import StateFolder, require_state
from serving.models.registry import CHAMPION, aliased_version
from streams import topics
from streams.agents.dead_letters import open_letters
from streams.catalogue import count_titles
from streams.errors import MarqueeError
from streams.event_log.open import open_event_log
from streams.features.member import MEMBER
from streams.settings import Settings
from streams.stores.open import open_durable, open_hot
from streams.stores.sql import open_sql
from streams.stores.sql_schema import schema_version

GROUPS: Final = {
    "features": [topics.MEMBER_EVENTS],
    "shown": [topics.IMPRESSIONS],
    "warehouse": [topics.MEMBER_EVENTS],
    "experiments": [topics.EXPOSURES, topics.MEMBER_EVENTS],
}

LOCAL: Final = ("embedded", "sqlite", "file")
"""The engines that keep their files in the state folder."""

LETTERS_COUNTED: Final = 1_000
"""Dead letters are read to be counted; an operator need not know how many more than these there are."""

ANSWER_S: Final = 2.0
"""How long the serving process may take to say whether it is ready: it asks each of its engines."""

UNKNOWN: Final = "unknown"

NOBODY: Final = b"\x00"
"""A key that no member has: ids have no control characters."""


class Status(msgspec.Struct):
    """What runs. engines: each part's URL, without passwords. running: whether a supervisor holds the state folder.
    serving: what the process at the settings' address says.

    lag: records not committed yet, by consumer group; records: in the log, by topic; dead_letters: not driven again, by
    reason, LETTERS_COUNTED in all at most, None where the log is away. newest_event_s: age of the newest event that a
    member's state includes; None without any. revision: of the SQL tables. away: what could not be read, and why.
    """

    state: str
    running: bool
    engines: dict[str, str] = {}
    serving: str = ""
    lag: dict[str, int] = {}
    records: dict[str, int] = {}
    dead_letters: dict[str, int] | None = None
    titles: int | None = None
    newest_event_s: float | None = None
    champion: str | None = None
    revision: str | None = None
    away: dict[str, str] = {}


def read_status(settings: Settings, now_ms: int) -> Status:
    """Return the status. Raises FixRequest where there is no state folder, though an engine keeps its files there."""
    engines = engine_urls(settings)
    if any(settings.scheme_of(url) in LOCAL for part, url in engines.items() if part != "warehouse"):
        require_state(settings)
    running = settings.state.is_dir() and StateFolder(settings).is_locked()
    shown = {part: without_password(url) for part, url in engines.items()}
    status = Status(str(settings.state), running, shown, serving_says(settings.host, settings.port))
    _attempt(status, "log", lambda: _read_log(settings, status))
    _attempt(status, "hot store", lambda: _ask_hot(settings))
    _attempt(status, "durable store", lambda: _read_freshness(settings, status, now_ms))
    _attempt(status, "sql", lambda: _read_sql(settings, status))
    return status


def engine_urls(settings: Settings) -> dict[str, str]:
    """Return the URL of each part's engine."""
    return {
        "log": settings.log_url,
        "hot store": settings.hot_url,
        "durable store": settings.durable_url,
        "sql": settings.sql_url,
        "warehouse": settings.warehouse_url,
    }


def without_password(url: str) -> str:
    """Return a URL to be shown.

    >>> without_password("postgresql://marquee:secret@db:5432/marquee"), without_password("embedded:log")
    ('postgresql://marquee:***@db:5432/marquee', 'embedded:log')
    """
    split = urlsplit(url)
    user, at, host = split.netloc.rpartition("@")
    if ":" not in user:
        return url
    return urlunsplit(split._replace(netloc=f"{user.partition(':')[0]}:***{at}{host}"))


def serving_says(host: str, port: int) -> str:
    """Return what the serving process of an address says of itself, in a word or its own list of problems."""
    where = f"http://{host}:{port}"
    try:
        with urllib.request.urlopen(f"{where}/readyz", timeout=ANSWER_S):  # noqa: S310 - http, to our own process
            return f"{where} is ready"
    except urllib.error.HTTPError as error:
        with error:
            return f"{where} is not ready: {_problems(error.read())}"
    except OSError:
        return f"nobody answers at {where}"


def _problems(answer: bytes) -> str:
    try:
        problems = msgspec.json.decode(answer, type=_Readiness).problems
    except msgspec.MsgspecError:
        return "another program answers there"
    return "; ".join(f"{part}: {problem}" for part, problem in problems.items())


class _Readiness(msgspec.Struct):
    problems: dict[str, str]


def print_status(settings: Settings, as_json: bool) -> None:
    """Print the status as a table or as JSON."""
    logging.disable()  # what is away is said once, in the table
    status = read_status(settings, time.time_ns() // 1_000_000)
    console = Console(soft_wrap=True)
    if as_json:
        console.out(msgspec.json.format(msgspec.json.encode(status)).decode(), highlight=False)
        return
    table = Table(show_header=False, box=None)
    for name, value in status_rows(status):
        table.add_row(name, Text(value))  # a reason may hold brackets
    console.print(table)


def status_rows(status: Status) -> list[tuple[str, str]]:
    """Return the status as (name, value) rows."""
    rows = [("state", status.state), ("running", "yes" if status.running else "no"), ("serving", status.serving)]
    rows += status.engines.items()
    rows += [(f"lag of {group}", f"{count:,} records") for group, count in status.lag.items()]
    rows += [(f"log {topic}", f"{count:,} records") for topic, count in status.records.items()]
    rows.append(("dead letters", _letters(status.dead_letters)))
    rows.append(("titles", UNKNOWN if status.titles is None else f"{status.titles:,}"))
    rows.append(("newest event", _newest(status)))
    rows.append(("champion", _champion(status)))
    return rows + [(f"{part} is away", reason) for part, reason in status.away.items()]


def _newest(status: Status) -> str:
    if status.newest_event_s is not None:
        return f"{status.newest_event_s:,.0f} s ago"
    return UNKNOWN if "durable store" in status.away else "no events yet"


def _champion(status: Status) -> str:
    if status.champion:
        return status.champion[:12]
    return UNKNOWN if "sql" in status.away else "none yet: `marquee train`"


def _letters(by_reason: Mapping[str, int] | None) -> str:
    if by_reason is None:
        return UNKNOWN
    if not by_reason:
        return "none"
    count = sum(by_reason.values())
    more = " or more" if count >= LETTERS_COUNTED else ""
    reasons = ", ".join(f"{number:,} {reason}" for reason, number in by_reason.items())
    return f"{count:,}{more} ({reasons}): `marquee dead-letters list`"


def _attempt(status: Status, part: str, read: Callable[[], None]) -> None:
    try:
        read()
    except MarqueeError as error:
        status.away[part] = str(error)


def _read_log(settings: Settings, status: Status) -> None:
    log = open_event_log(settings)
    try:
        status.lag = {group: lag(log, group, consumed) for group, consumed in GROUPS.items()}
        status.records = {topic: records(log, topic) for topic in topics.ALL}
        letters = Counter(letter.reason for letter in islice(open_letters(log), LETTERS_COUNTED))
        status.dead_letters = dict(letters.most_common())
    finally:
        log.close()


def _ask_hot(settings: Settings) -> None:
    hot = open_hot(settings)
    try:
        hot.positions(MEMBER.name, [NOBODY])
    finally:
        hot.close()


def _read_freshness(settings: Settings, status: Status, now_ms: int) -> None:
    durable = open_durable(settings)
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
        status.revision = schema_version(engine)
    finally:
        engine.dispose()
