"""The catalogue: titles, as published. Genres of a published title never change, because folds depend on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
import sqlalchemy as sa

from streams.stores.sql import ensure_tables

metadata = sa.MetaData()

titles_table = sa.Table(
    "titles",
    metadata,
    sa.Column("item_id", sa.String(128), primary_key=True),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("year", sa.Integer, nullable=False),
    sa.Column("genres", sa.Text, nullable=False),
    sa.Column("duration_s", sa.Integer, nullable=False),
    sa.Column("live_from_ms", sa.BigInteger, nullable=False, index=True),
)

GRACE_MS = 1_000
"""A title is live a second after it is published: by then every agent can read it, so online and offline folds agree."""


class Title(msgspec.Struct, frozen=True, gc=False):
    """A title. year: 0 if unknown. live_from_ms: messages appended before then do not know it."""

    item_id: str
    title: str
    year: int
    genres: tuple[str, ...]
    duration_s: int = 0
    live_from_ms: int = 0


class Catalogue(Mapping[str, Title]):
    """An immutable view of the titles known, by item id; iteration is in item id order of publication."""

    def __init__(self, titles: Iterable[Title]) -> None:
        self._titles = {title.item_id: title for title in titles}
        self.genres: tuple[str, ...] = tuple(
            sorted({genre for title in self._titles.values() for genre in title.genres})
        )

    def __getitem__(self, item_id: str) -> Title:
        return self._titles[item_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._titles)

    def __len__(self) -> int:
        return len(self._titles)


def publish_titles(engine: sa.Engine, titles: Sequence[Title], now_ms: int) -> int:
    """Add titles that are not there yet (one there stays as it is), live from now_ms + GRACE_MS; return how many are new."""
    ensure_tables(engine, metadata)
    with engine.begin() as connection:
        known = set(connection.scalars(sa.select(titles_table.c.item_id)))
        rows = [
            {
                "item_id": title.item_id,
                "title": title.title,
                "year": title.year,
                "genres": "|".join(title.genres),
                "duration_s": title.duration_s,
                "live_from_ms": now_ms + GRACE_MS,
            }
            for title in {title.item_id: title for title in titles}.values()
            if title.item_id not in known
        ]
        if rows:
            connection.execute(sa.insert(titles_table), rows)
    return len(rows)


def read_catalogue(engine: sa.Engine) -> Catalogue:
    """Return all titles published so far."""
    ensure_tables(engine, metadata)
    with engine.connect() as connection:
        rows = connection.execute(sa.select(titles_table).order_by(titles_table.c.live_from_ms, titles_table.c.item_id))
        return Catalogue(
            Title(
                row.item_id,
                row.title,
                row.year,
                tuple(g for g in row.genres.split("|") if g),
                row.duration_s,
                row.live_from_ms,
            )
            for row in rows
        )
