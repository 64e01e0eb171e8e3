"""Which log a topic's files are of: positions of another log say nothing of theirs.

    <root>/<topic>/_logs/<epoch>-<topic id>

is an empty file, made before the first record of that epoch is stored
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from streams.errors import TryAgain

FOLDER: Final = "_logs"

_NOTE: Final = re.compile(r"(\d{5})-([A-Za-z0-9_-]+)")


def note_log(root: Path, topic: str, epoch: int, topic_id: str) -> None:
    """Note that records of an epoch are of the topic with this id. Raises TryAgain if the disk is full or away."""
    folder = root / topic / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{epoch:05d}-{topic_id}").touch()
    except OSError as error:
        raise TryAgain(f"the warehouse cannot be written: {error}") from error


def noted_logs(root: Path, topic: str) -> dict[int, set[str]]:
    """Return the ids of the topics that an epoch's records are of, by epoch; more than one only if two logs began in
    it at once. Raises TryAgain."""
    found: dict[int, set[str]] = {}
    try:
        for path in (root / topic / FOLDER).iterdir():
            if match := _NOTE.fullmatch(path.name):
                found.setdefault(int(match[1]), set()).add(match[2])
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise TryAgain(f"the warehouse cannot be read: {error}") from error
    return found
