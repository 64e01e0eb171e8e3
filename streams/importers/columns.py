"""Columns of a CSV file, read at once, with every bad row named by file and line.

One bad row in a hundred is reported and left out; more of them means that the file is not what it should be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
from numpy.typing import NDArray

from streams.errors import FixRequest

MAX_BAD_SHARE: Final = 0.01
"""Real exports have the odd broken row; above this share, a wrong file or separator is the likelier cause."""
MIN_BAD_ROWS: Final = 10
"""So many bad rows pass in any file, however short."""
MAX_EXAMPLES: Final = 10
"""So many bad rows are named one by one; the others are only counted."""
BLOCK_BYTES: Final = 16 << 20

_INTEGER: Final = r"^-?[0-9]{1,18}$"
_NUMBER: Final = r"^-?[0-9]{1,15}(\.[0-9]{0,15})?$"


@dataclass(frozen=True)
class Column:
    """A column to read. low, high: the bounds of a number, inclusive. optional: whether a field may be empty
    (nan, or empty text)."""

    name: str
    kind: Literal["integer", "number", "text"]
    low: float = 0.0
    high: float = 1e15
    optional: bool = False

    @property
    def fix(self) -> str:
        """What a field of this column must be."""
        if self.kind == "text":
            return f"`{self.name}` must be UTF-8 text that is not empty"
        kind = "an integer" if self.kind == "integer" else "a number"
        return f"`{self.name}` must be {kind} from {self.low:.15g} to {self.high:.15g}"


class BadRow(NamedTuple):
    """A row left out, and how to mend it. line: from 1, as an editor counts."""

    file: str
    line: int
    fix: str


@dataclass
class BadRows:
    """The bad rows of one or more files: how many, and the first few of them."""

    count: int = 0
    examples: list[BadRow] = field(default_factory=list)

    def add(self, row: BadRow) -> None:
        """Count a bad row."""
        self.count += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(row)

    def extend(self, other: BadRows) -> None:
        """Take in the bad rows of another file."""
        self.count += other.count
        self.examples += other.examples[: MAX_EXAMPLES - len(self.examples)]


@dataclass(frozen=True)
class Rows:
    """The good rows of a file: int64, float64 (nan where empty) and str columns of one length, in file order."""

    columns: dict[str, NDArray[Any]]
    bad: BadRows

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]


def read_columns(path: Path, columns: Sequence[Column]) -> Rows:
    """Return the named columns of a CSV file (gzip by its ending). Raises FixRequest when the file is missing, lacks a
    column, or has more bad rows than the bounds above."""
    bad = BadRows()
    raw, lines = _read_raw(path, [column.name for column in columns], bad)
    good = np.ones(len(lines), bool)
    for column in columns:
        wrong = good & ~_is_valid(raw[column.name], column)
        for line in lines[wrong]:
            bad.add(BadRow(str(path), int(line), column.fix))
        good &= ~wrong
    _check_bound(path, bad, len(lines))
    chosen = {column.name: raw[column.name].filter(pa.array(good)) for column in columns}
    return Rows({column.name: _typed(chosen[column.name], column) for column in columns}, bad)


def _read_raw(path: Path, names: Sequence[str], bad: BadRows) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """Return the columns, and the line number of each row; rows of a wrong width are counted and left out.

    Each byte is read as one character (Latin-1), so that bytes that are no UTF-8 spoil their own field only.
    """
    skipped: list[int] = []

    def skip(row: Any) -> str:
        skipped.append(row.number)
        bad.add(
            BadRow(str(path), row.number, f"the row has {row.actual_columns} fields, the header {row.expected_columns}")
        )
        return "skip"

    try:
        table = pcsv.read_csv(
            str(path),
            read_options=pcsv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, encoding="latin-1"),
            parse_options=pcsv.ParseOptions(invalid_row_handler=skip, ignore_empty_lines=False),
            convert_options=pcsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), include_columns=list(names), strings_can_be_null=False
            ),
        )
    except FileNotFoundError:
        raise FixRequest(str(path), "the file is not there; name the folder that holds it") from None
    except KeyError as error:
        raise FixRequest(str(path), f"line 1: {error.args[0]}; the header must name {', '.join(names)}") from None
    except (pa.ArrowInvalid, OSError, EOFError) as error:
        raise FixRequest(str(path), f"it cannot be read as CSV ({error})") from None
    raw = {name: table[name].combine_chunks() for name in names}
    lines = np.delete(np.arange(2, len(table) + len(skipped) + 2), np.asarray(skipped, np.int64) - 2)
    return _without_blank_lines(raw, lines)


def _without_blank_lines(raw: dict[str, Any], lines: NDArray[np.int64]) -> tuple[dict[str, Any], NDArray[np.int64]]:
    lengths = sum(pc.binary_length(column).to_numpy(zero_copy_only=False) for column in raw.values())
    if not len(lines) or np.all(lengths):
        return raw, lines
    filled = np.asarray(lengths) > 0
    return {name: column.filter(pa.array(filled)) for name, column in raw.items()}, lines[filled]


def _is_valid(values: Any, column: Column) -> NDArray[np.bool_]:
    empty: NDArray[np.bool_] = pc.binary_length(values).to_numpy(zero_copy_only=False) == 0
    valid = _is_text(values) if column.kind == "text" else _is_number(values, column)
    return valid | empty if column.optional else valid & ~empty


def _is_number(values: Any, column: Column) -> NDArray[np.bool_]:
    matches: NDArray[np.bool_] = pc.match_substring_regex(
        values, _INTEGER if column.kind == "integer" else _NUMBER
    ).to_numpy(zero_copy_only=False)
    numbers = np.full(len(values), np.nan)
    numbers[matches] = pc.cast(values.filter(pa.array(matches)), pa.float64()).to_numpy()
    return matches & (numbers >= column.low) & (numbers <= column.high)


def _is_text(values: Any) -> NDArray[np.bool_]:
    return np.fromiter((_decoded(value) is not None for value in values.to_pylist()), bool, len(values))


def _decoded(characters: str) -> str | None:
    """Return the UTF-8 text in a field that was read byte by byte, None if it is none."""
    try:
        return characters if characters.isascii() else characters.encode("latin-1").decode()
    except UnicodeDecodeError:
        return None


def _typed(values: Any, column: Column) -> NDArray[Any]:
    if column.kind == "text":
        texts = np.empty(len(values), object)
        texts[:] = [_decoded(value) for value in values.to_pylist()]
        return texts
    if column.optional:
        values = pc.if_else(pc.equal(values, ""), None, values)
    numbers: NDArray[Any] = values.cast(pa.int64() if column.kind == "integer" else pa.float64()).to_numpy(
        zero_copy_only=False
    )
    return numbers


def _check_bound(path: Path, bad: BadRows, good_width: int) -> None:
    """Raise FixRequest if more rows are bad than a file of its length may have."""
    allowed = max(MIN_BAD_ROWS, int(MAX_BAD_SHARE * good_width))
    if bad.count > allowed:
        first = bad.examples[0]
        raise FixRequest(
            str(path), f"{bad.count:,} bad rows (at most {allowed:,}); the first, line {first.line}: {first.fix}"
        )
