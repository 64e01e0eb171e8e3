"""The content address of source code: which code made a model or a dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent


def code_address(modules: Iterable[ModuleType]) -> str:
    """Return the sha256 over the sources of modules (all of a package's), by name; order does not matter."""
    return _address(frozenset(path for module in modules for path in _sources(module)))


def _sources(module: ModuleType) -> list[Path]:
    if hasattr(module, "__path__"):
        return [path for folder in module.__path__ for path in Path(folder).rglob("*.py")]
    return [Path(module.__file__)] if module.__file__ else []


@lru_cache(maxsize=8)
def _address(paths: frozenset[Path]) -> str:
    digest = hashlib.sha256()
    for name, path in sorted((path.resolve().relative_to(ROOT).as_posix(), path) for path in paths):
        digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()
