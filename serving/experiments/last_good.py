"""The last good definitions, in a file: a process that starts while the database is dead still has experiments."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from streams.errors import Corrupt
from streams.experiments.definition import Experiment, Patch
from streams.experiments.table import decode_experiment

MAX_BYTES: Final = 256 << 20

_log = logging.getLogger(__name__)


class _Body(msgspec.Struct):
    experiments: list[msgspec.Raw]
    defaults: Patch


class LastGood:
    """A file of experiments and defaults: its SHA-256 in the first line, JSON below; replaced whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, experiments: Sequence[Experiment], defaults: Patch) -> None:
        """Replace what is kept. Raises OSError."""
        body = msgspec.json.encode({"experiments": experiments, "defaults": defaults})
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            with temporary.open("wb") as file:
                file.write(b"%s\n%s" % (hashlib.sha256(body).hexdigest().encode(), body))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise

    def read(self) -> tuple[list[Experiment], Patch] | None:
        """Return what is kept; None, with a warning, for a file that is damaged, and where there is none.

        Of an experiment that cannot be read (another version has written it) only a warning is left.
        """
        try:
            with self._path.open("rb") as file:
                checksum, body = file.readline(65).rstrip(b"\n"), file.read(MAX_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("%s cannot be read: %s", self._path, error)
            return None
        if hashlib.sha256(body).hexdigest().encode() != checksum:
            _log.warning("%s is damaged: its checksum is wrong; it is not used", self._path)
            return None
        try:
            kept = msgspec.json.decode(body, type=_Body)
        except msgspec.MsgspecError as error:
            _log.warning("%s cannot be read: %s", self._path, error)
            return None
        return list(filter(None, map(_decoded, kept.experiments))), kept.defaults


def _decoded(raw: msgspec.Raw) -> Experiment | None:
    try:
        return decode_experiment(bytes(raw).decode())
    except Corrupt as error:
        _log.warning("an experiment in the file of last good definitions is left out: %s", error)
        return None
