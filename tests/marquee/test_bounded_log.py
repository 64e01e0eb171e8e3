from __future__ import annotations

from pathlib import Path

from marquee.bounded_log import BoundedLog


def test_lines_are_appended_to_what_is_there(tmp_path: Path) -> None:
    for word in (b"one\n", b"two\n"):
        log = BoundedLog(tmp_path / "logs" / "a.log")
        log.write(word)
        log.close()
    assert (tmp_path / "logs" / "a.log").read_bytes() == b"one\ntwo\n"


def test_the_newest_lines_are_kept_and_all_files_stay_within_bounds(tmp_path: Path) -> None:
    log = BoundedLog(tmp_path / "a.log", max_bytes=100, kept=2)
    for number in range(200):
        log.write(b"%08d\n" % number)
    log.close()
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["a.log", "a.log.1", "a.log.2"]
    assert all(file.stat().st_size <= 100 for file in files)
    assert files[0].read_bytes().endswith(b"00000199\n")


def test_a_log_that_cannot_be_written_loses_lines_only(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    BoundedLog(tmp_path / "file" / "a.log").write(b"lost\n")
