"""The ends of logs, and logs that begin anew."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

TAIL_BYTES: Final = 16 * 1024


def roll(path: Path) -> None:
    """Keep what a process said the last time beside what it says now, and nothing older."""
    if path.exists() and path.stat().st_size:
        path.replace(path.with_name(f"{path.name}.1"))


def last_lines(paths: Iterable[Path], count: int) -> list[str]:
    """Return the last lines of these files that say something, in the files' order."""
    lines: list[str] = []
    for path in paths:
        lines += [line for line in _tail(path).splitlines() if line.strip()][-count:]
    return lines[-count:]


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
