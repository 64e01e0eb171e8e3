"""The catalogue: titles, as published. Genres of a published title never change, because folds depend on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from streams.errors import FixRequest
from streams.events import MAX_ID_BYTES, is_valid_id
from streams.stores.sql import insert_new, reading, writing

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
"""A title is live a second after it is published: by then every agent can read it, so folds agree everywhere."""

MAX_TITLE_CHARACTERS: Final = 1_000
MAX_GENRES: Final = 32
"""Every genre becomes a feature of every member; real catalogues have a few per title."""

MAX_YEAR: Final = 9_999
MAX_DURATION_S: Final = 10_000_000
"""Longer than any title: 115 days."""

GENRE_SEPARATOR: Final = "|"


class Title(msgspec.Struct, frozen=True, gc=False):
    """A title. year: 0 if unknown. live_from_ms: messages appended before then do not know it."""

    item_id: str
    title: str
    year: int
    genres: tuple[str, ...]
    duration_s: int = 0
    live_from_ms: int = 0


class Catalogue(Mapping[str, Title]):
    """An immutable view of the titles known, by item id, in the order given. genres: all of them, sorted."""

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
    """Add titles that are not there yet (one there stays as it is), live from now_ms + GRACE_MS; return how many.

    All are added or none; several processes may publish at once. Raises FixRequest for a title out of bounds, TryAgain
    when the database is away.
    """
    for title in titles:
        check_title(title)
    different = {title.item_id: title for title in titles}
    rows = [_row(different[item_id], now_ms + GRACE_MS) for item_id in sorted(different)]  # sorted: no deadlocks
    if not rows:
        return 0
    statement = insert_new(engine, titles_table).returning(titles_table.c.item_id)
    with writing(engine) as connection:
        return len(connection.scalars(statement, rows).all())


def check_title(title: Title) -> None:
    """Raise FixRequest unless a title can be stored and read back as it is, and found by every event that names it."""
    if not is_valid_id(title.item_id):
        raise FixRequest("item_id", f"must have 1 to {MAX_ID_BYTES} bytes and no control characters")
    if len(title.title) > MAX_TITLE_CHARACTERS:
        raise FixRequest("title", f"may have {MAX_TITLE_CHARACTERS} characters; {title.item_id} has {len(title.title)}")
    if "\x00" in title.title or not _is_unicode(title.title):
        raise FixRequest("title", f"must be Unicode text without NUL; {title.item_id} has other")
    if len(title.genres) > MAX_GENRES or len(set(title.genres)) != len(title.genres):
        raise FixRequest("genres", f"may be {MAX_GENRES} different ones; {title.item_id} has {len(title.genres)}")
    if not all(is_valid_id(genre) and GENRE_SEPARATOR not in genre for genre in title.genres):
        fix = f"a genre must have 1 to {MAX_ID_BYTES} bytes, without control characters and {GENRE_SEPARATOR!r}"
        raise FixRequest("genres", f"{fix}; {title.item_id} has others")
    if not 0 <= title.year <= MAX_YEAR:
        raise FixRequest("year", f"must be between 0 (unknown) and {MAX_YEAR}; {title.item_id} has {title.year}")
    if not 0 <= title.duration_s <= MAX_DURATION_S:
        raise FixRequest(
            "duration_s", f"must be between 0 and {MAX_DURATION_S}; {title.item_id} has {title.duration_s}"
        )


def _is_unicode(text: str) -> bool:
    """Return whether a text can be written as UTF-8: no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _row(title: Title, live_from_ms: int) -> dict[str, object]:
    return {
        "item_id": title.item_id,
        "title": title.title,
        "year": title.year,
        "genres": GENRE_SEPARATOR.join(title.genres),
        "duration_s": title.duration_s,
        "live_from_ms": live_from_ms,
    }


def read_catalogue(engine: sa.Engine) -> Catalogue:
    """Return all titles published so far, in the order of publication, then of ids. Raises TryAgain when the database
    is away."""
    with reading(engine) as connection:
        titles = [_title(row) for row in connection.execute(sa.select(titles_table))]
    return Catalogue(sorted(titles, key=lambda title: (title.live_from_ms, title.item_id)))  # not by a server's locale


def count_titles(engine: sa.Engine) -> int:
    """Return how many titles are published: they are only ever added, so this says whether there are new ones.

    Raises TryAgain when the database is away.
    """
    with reading(engine) as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(titles_table)) or 0


def newest_live_from_ms(engine: sa.Engine) -> int:
    """Return when the title published last is or was live, 0 without any. Raises TryAgain when the database is away."""
    with reading(engine) as connection:
        return connection.scalar(sa.select(sa.func.max(titles_table.c.live_from_ms))) or 0


def _title(row: sa.Row[Any]) -> Title:
    genres = tuple(genre for genre in row.genres.split(GENRE_SEPARATOR) if genre)
    return Title(row.item_id, row.title, row.year, genres, row.duration_s, row.live_from_ms)
