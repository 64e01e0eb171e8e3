"""How far each replay has come, so that one that was interrupted goes on where it stopped."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from streams.stores.sql import reading, upsert, writing

metadata = sa.MetaData()

replays_table = sa.Table(
    "replays",
    metadata,
    sa.Column("address", sa.String(64), primary_key=True),
    sa.Column("progress", sa.LargeBinary, nullable=False),
)


class Progress(msgspec.Struct, frozen=True):
    """A replay's progress. appended: events known to be in the log; offsets: each partition's end then, in the topic's
    `epoch`; shift_ms: what is added to every event time."""

    appended: int
    epoch: int
    offsets: list[int]
    shift_ms: int


class ProgressTable:
    """Reads and writes progress by the data set's address. Every method raises TryAgain when the database is away."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def read(self, address: str) -> Progress | None:
        """Return the progress of a data set's replay, None if it never began."""
        with reading(self._engine) as connection:
            raw = connection.scalar(sa.select(replays_table.c.progress).where(replays_table.c.address == address))
        return None if raw is None else msgspec.json.decode(raw, type=Progress)

    def write(self, address: str, progress: Progress) -> None:
        """Keep the progress of a data set's replay."""
        raw = msgspec.json.encode(progress)
        with writing(self._engine) as connection:
            connection.execute(upsert(self._engine, replays_table), {"address": address, "progress": raw})
