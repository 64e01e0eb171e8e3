"""Keys in files that only their owner can read: where `marquee up` leaves the first one, and commands find it."""

from __future__ import annotations

import contextlib
import os
import urllib.parse
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from serving.experiments.roles import add_key, hash_of, new_key
from streams.errors import FixRequest
from streams.settings import Settings

FOLDER: Final = "keys"
"""In the state folder."""

FIRST: Final = "approver"
"""The role of the key that a platform starts with."""


LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


def first_key_path(settings: Settings) -> Path:
    """Return where the key is that `marquee up` makes."""
    return settings.state / FOLDER / f"{FIRST}.key"


def make_first_key(settings: Settings, engine: sa.Engine, now_ms: int) -> Path:
    """Have a key in its file that may do everything; one that is there is let in (again, if the database is another).

    A key that was revoked stays so. Raises TryAgain when the database is away, FixRequest if no file can be written.
    """
    path = first_key_path(settings)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            write_key(path, new_key())
        key = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FixRequest(str(path), f"the key cannot be kept there ({error}); mend that, or remove the file") from None
    add_key(engine, key, f"marquee-up-{hash_of(key)[:6]}", FIRST, now_ms)  # several platforms may share a database
    return path


def key_for(settings: Settings, url: str) -> str:
    """Return the key that `marquee up` made for whom it was made: a platform of this machine; "" for all others."""
    host = urllib.parse.urlsplit(url).hostname
    return read_key(first_key_path(settings)) if host in {*LOOPBACK, settings.host} else ""


def write_key(path: Path, key: str) -> None:
    """Write a key for its owner's eyes alone; a crash leaves no file or a whole one. Raises OSError."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(f"{key}\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_key(path: Path) -> str:
    """Return the key in a file, "" if there is no such file. Raises FixRequest where it cannot be read."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise FixRequest(str(path), f"the key in it cannot be read ({error})") from None
