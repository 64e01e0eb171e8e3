"""After the chaos: is everything what a clean offline replay of the log gives, byte for byte?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import sqlalchemy as sa

from load_tests.chaos.experiment import NAME
from load_tests.chaos.served import compare_served
from streams import topics
from streams.catalogue import Catalogue
from streams.event_log.epochs import read_epochs
from streams.event_log.protocol import Batch, EventLog
from streams.experiments.aggregates import ALL
from streams.experiments.definition import Experiment
from streams.experiments.outcome_store import read_aggregates
from streams.experiments.recompute import recompute
from streams.experiments.table import read_experiments
from streams.features.replay import replay
from streams.stores.protocol import DurableStore, StateStore
from streams.warehouse import read_topic

READ_RECORDS = 5_000


@dataclass(frozen=True)
class Comparison:
    """What was compared, and every difference found (bounded to a few of each kind)."""

    records: int
    distinct_events: int
    duplicates: int
    states: dict[str, int]
    history_rows: int
    warehouse_rows: int
    served_pages: int
    served_states: int
    members_in_experiment: int
    differences: list[str]


def compare(
    log: EventLog, catalogue: Catalogue, hot: StateStore, durable: DurableStore, warehouse: Path, sql: sa.Engine
) -> Comparison:
    """Return how the stores, the warehouse and the counted experiment differ from the log's clean replay; nothing
    may."""
    batches = list(read_batches(log, topics.MEMBER_EVENTS))
    epochs = log.epochs(topics.MEMBER_EVENTS)
    offline = replay([*batches, *read_batches(log, topics.IMPRESSIONS)], catalogue, epochs).packed()
    differences: list[str] = []
    for kind, expected in offline.items():
        for name, store in (("hot", hot), ("durable", durable)):
            differences += _states_differ(f"{name} {kind}", expected, dict(store.scan(kind)))
    ids = Counter(_ids(batches))
    history = sum(len(durable.history(member, 1_000_000)) for member in durable.member_ids(1_000_000))
    if history != len(ids):
        differences.append(f"history has {history} rows for {len(ids)} distinct events")
    served = compare_served(batches, read_batches(log, topics.IMPRESSIONS), catalogue)
    differences += served.differences
    stored = _warehouse_offsets(warehouse)
    differences += _offsets_differ(batches, stored)
    counted, anew = dict(read_aggregates(sql, NAME)[0]), recompute(warehouse, _experiment(sql), catalogue, epochs)
    differences += [
        f"experiment: {cell} differs" for cell in counted.keys() | anew.keys() if counted.get(cell) != anew.get(cell)
    ]
    return Comparison(
        records=sum(ids.values()),
        distinct_events=len(ids),
        duplicates=sum(ids.values()) - len(ids),
        states={kind: len(states) for kind, states in offline.items()},
        history_rows=history,
        warehouse_rows=sum(stored.values()),
        served_pages=served.pages,
        served_states=served.states,
        members_in_experiment=sum(sums.members for cell, sums in counted.items() if cell.segment == ALL),
        differences=differences,
    )


def _experiment(sql: sa.Engine) -> Experiment:
    return next(each for each in read_experiments(sql) if each.definition.id == NAME)


def read_batches(log: EventLog, topic: str) -> Iterator[Batch]:
    """Yield a topic from start to end, epoch by epoch, and within one partition by partition."""
    return read_epochs(log, topic, READ_RECORDS)


def _states_differ(name: str, expected: dict[bytes, bytes], found: dict[bytes, bytes]) -> list[str]:
    missing = [key for key in expected if key not in found]
    extra = [key for key in found if key not in expected]
    other = [key for key, value in expected.items() if key in found and found[key] != value]
    said = ((missing, "missing"), (extra, "not in the replay"), (other, "different"))
    return [f"{name}: {len(keys)} states {what}, such as {keys[0]!r}" for keys, what in said if keys]


def _ids(batches: Iterable[Batch]) -> Iterator[str]:
    for batch in batches:
        for record in batch.records:
            yield msgspec.json.decode(record.value)["event_id"]


def _warehouse_offsets(warehouse: Path) -> Counter[tuple[int, int]]:
    table = read_topic(warehouse, topics.MEMBER_EVENTS, columns=["partition", "offset"])
    return Counter(zip(table["partition"].to_pylist(), table["offset"].to_pylist(), strict=True))


def _offsets_differ(batches: Iterable[Batch], stored: Counter[tuple[int, int]]) -> list[str]:
    expected = {(batch.partition, record.offset) for batch in batches for record in batch.records}
    lost, twice = expected - set(stored), [place for place, count in stored.items() if count > 1]
    said = ((sorted(lost), "lost"), (sorted(set(stored) - expected), "not in the log"), (twice, "more than once"))
    return [f"warehouse: {len(places)} rows {what}, such as {places[0]}" for places, what in said if places]
