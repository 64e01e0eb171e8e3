"""Outcomes of experiments in the SQL database: members, aggregates and positions, changed together or not at all."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple

import msgspec
import sqlalchemy as sa

from streams.errors import Corrupt, Fenced
from streams.event_log.protocol import TopicPartition
from streams.experiments.aggregates import (
    ALL,
    Aggregate,
    Cell,
    Counted,
    Sums,
    contribution,
    decode_sums,
    encode_sums,
    total,
)
from streams.experiments.definition import Definition
from streams.experiments.tables import aggregates_table, members_table, positions_table
from streams.positions import NOTHING
from streams.stores.sql import insert_new, reading, upsert, writing

LOCK: Final = "experiment-outcomes"
"""Whoever counts takes turns: what one reads of a member's history must not be older than what another has counted."""

ROWS_PER_STATEMENT: Final = 500
NEWEST_EVENT: Final = "#newest-event"
"""In place of a topic: the time of the newest event or exposure that was counted."""

_counted: Final = msgspec.json.Decoder(Counted)


class MemberRow(NamedTuple):
    """A member of an experiment as it is stored. partition: of whose aggregates the contribution is."""

    experiment: str
    member_id: str
    partition: int
    counted: Counted


class OutcomeStore:
    """The outcomes of all experiments, as one consumer group counts them."""

    def __init__(self, engine: sa.Engine, group: str) -> None:
        self._engine = engine
        self._group = group

    def position(self, place: TopicPartition) -> int:
        """Return the position of the last record counted, NOTHING if none is. Raises TryAgain."""
        table = positions_table.c
        with reading(self._engine) as connection:
            found = connection.scalar(
                sa.select(table.position).where(
                    table.group_name == self._group, table.topic == place.topic, table.partition == place.partition
                )
            )
        return NOTHING if found is None else int(found)

    @contextmanager
    def counting(self) -> Iterator[Counting]:
        """Yield a transaction that nobody else counts beside; nothing of it is there unless it ends well."""
        with writing(self._engine, LOCK) as connection:
            counting = Counting(self._engine, connection, self._group)
            yield counting
            counting.finish()


class Counting:
    """One transaction: what it reads stays true until its end. Aggregates are written at the end, each once."""

    def __init__(self, engine: sa.Engine, connection: sa.Connection, group: str) -> None:
        self.connection: Final = connection
        self._engine = engine
        self._group = group
        self._less: dict[tuple[str, int], list[dict[Cell, Sums]]] = {}
        self._more: dict[tuple[str, int], list[dict[Cell, Sums]]] = {}

    def advance(self, place: TopicPartition, before: int, after: int) -> None:
        """Note how far a partition is counted. Raises Fenced unless it was counted to `before`: others were here."""
        if self._move(place.topic, place.partition, before, after):
            return
        raise Fenced(f"{place.topic}/{place.partition} is counted by another owner by now")

    def note_newest(self, partition: int, time_ms: int) -> None:
        """Note the time of the newest event or exposure of a partition, if it is newer."""
        table = positions_table.c
        row = {"group_name": self._group, "topic": NEWEST_EVENT, "partition": partition, "position": time_ms}
        self.connection.execute(insert_new(self._engine, positions_table), row)
        here = (table.group_name == self._group) & (table.topic == NEWEST_EVENT) & (table.partition == partition)
        self.connection.execute(
            sa.update(positions_table).where(here, table.position < time_ms).values(position=time_ms)
        )

    def members(self, member_ids: Collection[str], experiments: Collection[str]) -> dict[tuple[str, str], MemberRow]:
        """Return what is stored of members in experiments, by (experiment, member)."""
        found: dict[tuple[str, str], MemberRow] = {}
        table, ids = members_table.c, sorted(member_ids)
        for start in range(0, len(ids), ROWS_PER_STATEMENT):
            some = ids[start : start + ROWS_PER_STATEMENT]
            query = sa.select(members_table).where(table.member_id.in_(some), table.experiment.in_(sorted(experiments)))
            found.update(((row.experiment, row.member_id), _member_row(row)) for row in self.connection.execute(query))
        return found

    def members_after(self, experiment: str, after: str, limit: int) -> list[MemberRow]:
        """Return the members of an experiment whose ids follow `after`, in order."""
        table = members_table.c
        query = sa.select(members_table).where(table.experiment == experiment, table.member_id > after)
        rows = self.connection.execute(query.order_by(table.member_id).limit(limit))
        return [_member_row(row) for row in rows]

    def replace(self, definition: Definition, old: MemberRow | None, new: MemberRow | None) -> None:
        """Put what is known of a member in place of what was; None: nothing. Both are of the same member."""
        if old is not None:
            self._less.setdefault((old.experiment, old.partition), []).append(contribution(definition, old.counted))
        if new is not None:
            self._more.setdefault((new.experiment, new.partition), []).append(contribution(definition, new.counted))
            row = {"experiment": new.experiment, "member_id": new.member_id, "partition": new.partition}
            value = msgspec.json.encode(new.counted).decode()
            self.connection.execute(upsert(self._engine, members_table), {**row, "value": value})
        elif old is not None:
            table = members_table.c
            here = (table.experiment == old.experiment) & (table.member_id == old.member_id)
            self.connection.execute(sa.delete(members_table).where(here))

    def is_settled(self, experiment: str) -> bool:
        """Return whether an experiment that has ended was counted to its end."""
        table = positions_table.c
        here = (table.group_name == self._group) & (table.topic == _settled(experiment))
        return self.connection.scalar(sa.select(table.position).where(here)) is not None

    def settle(self, experiment: str) -> None:
        """Note that an experiment that has ended was counted to its end."""
        self._move(_settled(experiment), 0, NOTHING, 1)

    def finish(self) -> None:
        """Write the aggregates that have changed."""
        for place in sorted(self._less.keys() | self._more.keys()):
            less, more = total(self._less.get(place, [])), total(self._more.get(place, []))
            cells = [cell for cell in less.keys() | more.keys() if less.get(cell) != more.get(cell)]
            stored = self._stored(*place) if cells else {}
            for cell in sorted(cells):
                sums = stored.get(cell, Sums()) - less.get(cell, Sums()) + more.get(cell, Sums())
                self._put(*place, cell, sums)
        self._less.clear()
        self._more.clear()

    def _stored(self, experiment: str, partition: int) -> dict[Cell, Sums]:
        table = aggregates_table.c
        query = sa.select(aggregates_table).where(table.experiment == experiment, table.partition == partition)
        return {_cell(row): decode_sums(row.value) for row in self.connection.execute(query)}

    def _put(self, experiment: str, partition: int, cell: Cell, sums: Sums) -> None:
        key = {"experiment": experiment, "partition": partition, **cell._asdict()}
        if sums.is_empty:
            here = sa.and_(*(aggregates_table.c[name] == value for name, value in key.items()))
            self.connection.execute(sa.delete(aggregates_table).where(here))
        else:
            self.connection.execute(upsert(self._engine, aggregates_table), {**key, "value": encode_sums(sums)})

    def _move(self, topic: str, partition: int, before: int, after: int) -> bool:
        """Return whether a position was `before` and is `after` now."""
        key = {"group_name": self._group, "topic": topic, "partition": partition}
        if before == NOTHING:
            new = self.connection.execute(insert_new(self._engine, positions_table), {**key, "position": after})
            return new.rowcount == 1
        table = positions_table.c
        here = (table.group_name == self._group) & (table.topic == topic) & (table.partition == partition)
        moved = sa.update(positions_table).where(here, table.position == before).values(position=after)
        return self.connection.execute(moved).rowcount == 1


def read_aggregates(
    engine: sa.Engine, experiment: str, with_segments: bool = True
) -> tuple[list[Aggregate], int | None]:
    """Return an experiment's aggregates over all partitions, and the time (Unix ms) of the newest event or exposure
    that was counted, None before there was one. with_segments: else those of all members alone, a tenth of them.

    Raises TryAgain when the database is away, Corrupt.
    """
    cells = aggregates_table.c
    newest = positions_table.c
    here = [cells.experiment == experiment, *([] if with_segments else [cells.segment == ALL])]
    with reading(engine) as connection:
        rows = connection.execute(sa.select(aggregates_table).where(*here)).all()
        data_ms = connection.scalar(sa.select(sa.func.max(newest.position)).where(newest.topic == NEWEST_EVENT))
    found = total({_cell(row): decode_sums(row.value)} for row in rows)
    return [Aggregate(cell, sums) for cell, sums in sorted(found.items())], data_ms


def forget_outcomes(engine: sa.Engine, definitions: Mapping[str, Definition], member_id: str) -> int:
    """Take a member out of every experiment; return out of how many. Raises TryAgain when the database is away.

    definitions: of all experiments, by id.
    """
    with OutcomeStore(engine, "").counting() as counting:
        rows = counting.members([member_id], definitions)
        for (experiment, _), row in rows.items():
            counting.replace(definitions[experiment], row, None)
    return len(rows)


def _settled(experiment: str) -> str:
    return f"#settled/{experiment}"


def _cell(row: sa.Row[tuple[object, ...]]) -> Cell:
    return Cell(row.variant, row.day, row.stratum, row.segment)


def _member_row(row: sa.Row[tuple[object, ...]]) -> MemberRow:
    try:
        counted = _counted.decode(row.value)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"a member of experiment {row.experiment} cannot be read: {error}") from error
    return MemberRow(row.experiment, row.member_id, row.partition, counted)
