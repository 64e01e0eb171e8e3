"""Definitions in files, JSON or TOML, as people write them; the API says what is wrong in them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from streams.errors import FixRequest


def read_definition_file(path: Path) -> dict[str, Any]:
    """Return what a file says. Raises FixRequest where it cannot be read, or is no object."""
    try:
        raw = path.read_bytes()
        found = tomllib.loads(raw.decode()) if path.suffix == ".toml" else msgspec.json.decode(raw)
    except OSError as error:
        raise FixRequest(str(path), f"it cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        kind = "TOML" if path.suffix == ".toml" else "JSON"
        raise FixRequest(str(path), f"it is not {kind}: {error}") from None
    if not isinstance(found, dict):
        raise FixRequest(str(path), "it holds no object; see docs/experiments/example.json")
    return found
