"""The tables of the durable store, as numbered migrations.

Each statement says IF NOT EXISTS, so that a migration which was cut off can be run again from its start. A migration is
never changed once it is released: what is to be different is another one.
"""

from __future__ import annotations

from typing import Final, NamedTuple

_TABLE_OF_KIND: Final = {
    "member": "states_member",
    "title": "states_title",
    "title_shown": "states_title_shown",
    "precomputed": "states_precomputed",
}
OTHER_STATES: Final = "states_other"
"""Of all other kinds: marks and records, of which there are few."""

STATES_TABLES: Final = (*_TABLE_OF_KIND.values(), OTHER_STATES)


class Migration(NamedTuple):
    """One step of the schema; `{keyspace}` in a statement stands for the keyspace."""

    version: int
    name: str
    statements: tuple[str, ...]


def states_table(kind: str) -> str:
    """Return the table of a kind's states; what follows an @ (a generation of the kind) shares the kind's table.

    A scan of a kind reads one table. With all kinds in one, a scan of a thousand titles would read a million members.

    >>> states_table("title"), states_table("title@2"), states_table("folded")
    ('states_title', 'states_title', 'states_other')
    """
    return _TABLE_OF_KIND.get(kind.partition("@")[0], OTHER_STATES)


def _create_states(table: str) -> str:
    return _STATES.replace("{table}", table)


_STATES: Final = """
CREATE TABLE IF NOT EXISTS {keyspace}.{table} (
    kind text,
    key blob,
    position bigint,
    value blob,
    PRIMARY KEY ((kind, key))
) WITH compaction = {'class': 'LeveledCompactionStrategy'}
"""

# Levelled compaction where rows are overwritten and read one by one: nearly every read finds its row in one file.
# Size-tiered (the default) for history, which is only added to and seldom read. Not time-windowed: its windows are of
# write timestamps, and ours are log positions.
# gc_grace stays at ten days except where a deleted row that comes back does no harm (members_by_week: see profiles.py).
_HISTORY: Final = """
CREATE TABLE IF NOT EXISTS {keyspace}.history (
    member_id text,
    event_time_ms bigint,
    position bigint,
    type text,
    item_id text,
    value double,
    PRIMARY KEY (member_id, event_time_ms, position)
) WITH CLUSTERING ORDER BY (event_time_ms DESC, position DESC)
"""

_PROFILES: Final = """
CREATE TABLE IF NOT EXISTS {keyspace}.profiles (
    member_id text PRIMARY KEY,
    life int,
    country text,
    device text,
    first_seen_ms bigint,
    last_seen_ms bigint
) WITH compaction = {'class': 'LeveledCompactionStrategy'}
"""

_MEMBERS_BY_WEEK: Final = """
CREATE TABLE IF NOT EXISTS {keyspace}.members_by_week (
    week int,
    shard int,
    slot bigint,
    member_id text,
    last_seen_ms bigint,
    PRIMARY KEY ((week, shard), slot, member_id)
) WITH CLUSTERING ORDER BY (slot DESC, member_id DESC)
    AND compaction = {'class': 'LeveledCompactionStrategy'} AND gc_grace_seconds = 10800
"""

_WEEKS: Final = """
CREATE TABLE IF NOT EXISTS {keyspace}.weeks (
    one int,
    week int,
    PRIMARY KEY (one, week)
) WITH CLUSTERING ORDER BY (week DESC)
"""

_CLAIMS: Final = """
CREATE TABLE IF NOT EXISTS {keyspace}.claims (
    kind text,
    key blob,
    position bigint,
    owner uuid,
    PRIMARY KEY ((kind, key), position)
) WITH gc_grace_seconds = 10800
"""

MIGRATIONS: Final = (
    Migration(
        1,
        "states, history and profiles",
        (
            *(_create_states(table) for table in STATES_TABLES),
            _HISTORY,
            _PROFILES,
            _MEMBERS_BY_WEEK,
            _WEEKS,
            _CLAIMS,
        ),
    ),
    Migration(2, "the page of an event", ("ALTER TABLE {keyspace}.history ADD IF NOT EXISTS page_id text",)),
)
