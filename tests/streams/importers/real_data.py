"""Where the real data sets are, if they are."""

from __future__ import annotations

from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


def folder_or_skip(name: str) -> Path:
    """Return a data set's folder; skip the test where it is absent."""
    if not (DATA / name).is_dir():
        pytest.skip(f"the {name} data set is not here")
    return DATA / name
