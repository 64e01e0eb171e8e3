"""Taking a member's rows out of the warehouse."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from streams.errors import TryAgain
from streams.stores.folder_lock import alone_in
from streams.warehouse.ranges import RangeFile, Slice, list_files
from streams.warehouse.reading import read_slices
from streams.warehouse.schemas import SCHEMAS, TOPICS
from streams.warehouse.writing import replace_file


def forget_rows(root: Path, member_id: str) -> int:
    """Rewrite every file that holds rows of a member without them; return how many rows went.

    Messages that did not decode go too if they were keyed by the member or quote the id. A file left without rows
    stays, because its name says that its offsets have been stored. Raises TryAgain; running it again goes on.
    """
    return sum(_forget_in_topic(root, topic, member_id) for topic in TOPICS if (root / topic).is_dir())


def _forget_in_topic(root: Path, topic: str, member_id: str) -> int:
    try:
        with alone_in(root / topic):  # not while files are merged: the merged one would hold the rows again
            return sum(_forget_in_file(topic, file, member_id) for file in list_files(root, topic))
    except OSError as error:
        raise TryAgain(f"{root / topic} cannot be rewritten: {error}") from error


def _forget_in_file(topic: str, file: RangeFile, member_id: str) -> int:
    whole = [Slice(file, file.first)]
    fields = [field for field in SCHEMAS[topic] if field.name in ("member_id", "raw", "raw_key")]
    if not pc.any(_is_of(read_slices(whole, pa.schema(fields)), member_id)).as_py():
        return 0
    table = read_slices(whole, SCHEMAS[topic])
    kept = table.filter(pc.invert(_is_of(table, member_id)))
    replace_file(file.path, kept)
    return len(table) - len(kept)


def _is_of(table: pa.Table, member_id: str) -> pa.ChunkedArray:
    """Return for each row whether it is the member's."""
    quoted = msgspec.json.encode(member_id)
    signs = (
        pc.equal(table.column("member_id"), member_id),
        pc.equal(table.column("raw_key"), pa.scalar(member_id.encode(), pa.binary())),
        pc.match_substring(table.column("raw"), quoted),
    )
    of_member = pc.fill_null(signs[0], False)
    for sign in signs[1:]:
        of_member = pc.or_(of_member, pc.fill_null(sign, False))
    return of_member
