"""Single writes put together to requests.

A request costs the driver some 70 microseconds, a row in it 10. Rows of one partition make one mutation; rows of a few
partitions save requests all the same, and what the coordinator passes on to other nodes is as much as without.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from cassandra.query import BatchStatement, BatchType

BATCH_BYTES: Final = 4_500
"""Estimated. A node warns of every batch above 5 kB and refuses those above 50 kB, unless it is told otherwise."""

BATCH_PARTITIONS: Final = 10
"""More, and a node warns of it."""


class Write(NamedTuple):
    """One write: a prepared statement, its values, its partition, and about how many bytes it has."""

    statement: Any
    values: Sequence[Any]
    partition: object
    size: int


def in_batches(writes: Iterable[Write]) -> Iterator[Any]:
    """Yield statements of the driver that do the writes, neighbours together; writes of one partition should be
    neighbours. All are idempotent: they carry their own timestamps."""
    batch: list[Write] = []
    size = 0
    partitions: set[object] = set()
    for write in writes:
        if batch and (
            size + write.size > BATCH_BYTES
            or (len(partitions) == BATCH_PARTITIONS and write.partition not in partitions)
        ):
            yield _statement(batch)
            batch, size, partitions = [], 0, set()
        batch.append(write)
        size += write.size
        partitions.add(write.partition)
    if batch:
        yield _statement(batch)


def _statement(writes: Sequence[Write]) -> Any:
    if len(writes) == 1:
        bound = writes[0].statement.bind(writes[0].values)
        bound.is_idempotent = True
        return bound
    batch = BatchStatement(BatchType.UNLOGGED)
    for write in writes:
        batch.add(write.statement, write.values)
    batch.is_idempotent = True
    return batch
