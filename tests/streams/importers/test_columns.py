from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.errors import FixRequest
from streams.importers.columns import MAX_EXAMPLES, Column, read_columns

NUMBER = Column("n", "number", 0.0, 5.0)
TEXT = Column("t", "text")


def write(folder: Path, text: str | bytes, name: str = "file.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_columns_are_found_by_name_and_others_ignored(tmp_path: Path) -> None:
    rows = read_columns(write(tmp_path, "x,t,n\n1,a,2.5\n2,b,0\n"), [NUMBER, TEXT])
    assert rows["n"].tolist() == [2.5, 0.0]
    assert rows["t"].tolist() == ["a", "b"]
    assert rows.bad.count == 0


def test_each_bad_row_is_named_by_its_line_and_left_out(tmp_path: Path) -> None:
    text = "n,t\n1,a\nten,b\n2,c,d\n\n3,\n9,e\n4,f\n"
    rows = read_columns(write(tmp_path, text), [NUMBER, TEXT])
    assert rows["n"].tolist() == [1.0, 4.0]
    assert {row.line for row in rows.bad.examples} == {3, 4, 6, 7}
    assert all(row.file.endswith("file.csv") and row.fix for row in rows.bad.examples)


def test_quoted_fields_may_hold_separators(tmp_path: Path) -> None:
    assert read_columns(write(tmp_path, 'n,t\n1,"a, b"\n'), [TEXT])["t"].tolist() == ["a, b"]


def test_text_that_is_not_utf8_is_a_bad_row(tmp_path: Path) -> None:
    rows = read_columns(write(tmp_path, b"n,t\n1,\xff\xfe\n2,ok\n"), [NUMBER, TEXT])
    assert rows["t"].tolist() == ["ok"]
    assert rows.bad.examples[0].line == 2


def test_an_optional_number_may_be_empty(tmp_path: Path) -> None:
    rows = read_columns(write(tmp_path, "n,t\n,a\n1,b\n"), [Column("n", "number", optional=True), TEXT])
    assert np.isnan(rows["n"][0])
    assert rows["n"][1] == 1.0


def test_gzip_is_read_by_its_ending(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(b"n\n1\n"), "file.csv.gz")
    assert read_columns(path, [NUMBER])["n"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"", "file.csv", "cannot be read as CSV"),
        (b"m,t\n1,a\n", "file.csv", "the header must name n"),
        (b"not gzip", "file.csv.gz", "cannot be read as CSV"),
        (gzip.compress(b"n\n1\n" * 1000)[:-20], "file.csv.gz", "cannot be read as CSV"),
    ],
)
def test_a_file_that_is_no_such_table_says_what_to_mend(tmp_path: Path, content: bytes, name: str, words: str) -> None:
    with pytest.raises(FixRequest, match=words) as caught:
        read_columns(write(tmp_path, content, name), [NUMBER])
    assert caught.value.field.endswith(name)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(FixRequest, match="is not there"):
        read_columns(tmp_path / "absent.csv", [NUMBER])


def test_few_bad_rows_pass_and_too_many_do_not(tmp_path: Path) -> None:
    good = "1\n" * 2000
    rows = read_columns(write(tmp_path, "n\n" + "x\n" * 20 + good), [NUMBER])
    assert (len(rows["n"]), rows.bad.count, len(rows.bad.examples)) == (2000, 20, MAX_EXAMPLES)
    with pytest.raises(FixRequest, match=r"21 bad rows \(at most 20\); the first, line 2"):
        read_columns(write(tmp_path, "n\n" + "x\n" * 21 + good), [NUMBER])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_any_bytes_give_rows_or_a_fix_request(tmp_path: Path, content: bytes) -> None:
    try:
        rows = read_columns(write(tmp_path, b"n,t\n" + content), [NUMBER, TEXT])
    except FixRequest:
        return
    assert len(rows["n"]) == len(rows["t"])
    assert np.all((rows["n"] >= 0) & (rows["n"] <= 5))
