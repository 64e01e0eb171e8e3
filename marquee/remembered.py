"""Where a platform runs, remembered in its state folder: commands on the folder find its engines and its address."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

import msgspec

from streams.settings import Settings

FILE: Final = "platform.json"
ENGINES: Final = ("log_url", "hot_url", "durable_url", "sql_url", "warehouse_url", "blobs_url")
ADDRESS: Final = ("host", "port")


def remember(settings: Settings) -> None:
    """Keep which engines a platform runs on and where it serves, for its owner's eyes: a URL may have a password."""
    values = {name: str(getattr(settings, name)) for name in (*ENGINES, *ADDRESS)}
    temporary = settings.state / f"{FILE}.{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(values)))
    temporary.replace(settings.state / FILE)


def recall(environment: MutableMapping[str, str], *, address: bool = True) -> None:
    """Put what the state folder remembers into an environment; what is set there already stays.

    address: also where the platform serves. A file that cannot be read is as good as none: the settings' defaults hold.
    """
    folder = Path(environment.get("MARQUEE_STATE") or Settings.model_fields["state"].default)
    try:
        values = msgspec.json.decode((folder / FILE).read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError):
        return
    for name in (*ENGINES, *(ADDRESS if address else ())):
        if name in values:
            environment.setdefault(f"MARQUEE_{name.upper()}", values[name])
