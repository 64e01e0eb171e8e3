"""The npm providers, installed once into a folder that git ignores."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from marquee.engines.local import DEFAULT_FOLDER

HERE = Path(__file__).parent
FOLDER = Path(__file__).resolve().parents[2] / DEFAULT_FOLDER / "ofrep-node"
"""Kept between runs, as the engines' files are."""
FILES = ("package.json", "package-lock.json", "evaluate.mjs")
INSTALL_TIMEOUT_S = 120
RUN_TIMEOUT_S = 60


def evaluate(question: dict[str, Any]) -> dict[str, Any]:
    """Return what `evaluate.mjs` prints for a question. Skips the test, or fails it where engines are required, if
    node or the providers cannot be had."""
    folder = _install()
    run = subprocess.run(
        ["node", "evaluate.mjs"],
        cwd=folder,
        input=json.dumps(question),
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
    )
    assert run.returncode == 0, run.stderr
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer


def _install() -> Path:
    """Return the folder with the providers that the lock file names, installed by whichever process comes first."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        _cannot("node and npm are not installed")
    name = hashlib.sha256(b"".join((HERE / file).read_bytes() for file in FILES)).hexdigest()[:16]
    folder = FOLDER / name
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(FOLDER / name, ignore_errors=True)
            folder.mkdir()
            for file in FILES:
                shutil.copy(HERE / file, folder)
            _npm_ci(folder)
            (folder / "complete").touch()
    return folder


def _npm_ci(folder: Path) -> None:
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        _cannot("npm ci takes too long")
    if done.returncode != 0:
        _cannot(f"npm ci failed: {done.stderr[-500:]}")


def _cannot(why: str) -> None:
    if os.environ.get("MARQUEE_REQUIRE_ENGINES") == "1":
        pytest.fail(why, pytrace=False)
    pytest.skip(why)
