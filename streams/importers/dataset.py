"""A data set: titles and what members did with them, ready to replay."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from streams.catalogue import Title
from streams.events import Event
from streams.importers.columns import BadRows


@dataclass(frozen=True)
class Dataset:
    """Titles and time-ordered events. address: content address of the source; the same source gives the same data."""

    name: str
    address: str
    titles: Sequence[Title]
    events: Sequence[Event]
    bad_rows: BadRows = field(default_factory=BadRows)


def address_of(*files: Path) -> str:
    """Return the sha256 over the content of files, in their order."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
