"""Java engines come as jars from Maven: the versions are those of deploy/pom.xml, the checksums Maven's to check."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Final

from streams.errors import FixRequest, TryAgain

DEPLOY: Final = Path(__file__).resolve().parents[2] / "deploy"
POM: Final = DEPLOY / "pom.xml"
MAVEN_S: Final = 900.0
JAVA: Final = 17
"""Cassandra 5 runs on 11 and 17, Kafka 4 on 17 and newer."""


def version(engine: str) -> str:
    """Return the version of an engine that deploy/pom.xml names."""
    found = ET.parse(POM).find(f".//{{*}}{engine}.version")  # noqa: S314
    if found is None or not found.text:
        raise FixRequest(str(POM), f"it has no {engine}.version")
    return found.text


def jars(engine: str, folder: Path) -> Path:
    """Return the folder of an engine's jars below `folder`; Maven fetches them if they are not there yet.

    Raises TryAgain when it cannot. Several processes may ask at once: one fetches, the others wait.
    """
    target = folder / f"{engine}-{version(engine)}-{hashlib.sha256(POM.read_bytes()).hexdigest()[:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{engine}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _fetch(engine, target)
    return target


def missing_java() -> str | None:
    """Return what keeps Java engines from running here, None if nothing does."""
    if java() is None:
        return f"Java {JAVA} is missing (Debian: apt install openjdk-{JAVA}-jre-headless)"
    return None


def missing_jars(engine: str, folder: Path) -> str | None:
    """Return what keeps an engine's jars from being had here, None if nothing does."""
    if shutil.which("mvn") is None and not any(folder.glob(f"{engine}-{version(engine)}-*")):
        return "Maven is missing, which fetches the jars (Debian: apt install maven)"
    return None


def java() -> str | None:
    """Return the Java to run: JAVA_HOME's, or that of the path."""
    home = os.environ.get("JAVA_HOME")
    return shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")


def _fetch(engine: str, target: Path) -> None:
    partial = target.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    options = ["--quiet", "--batch-mode", "--strict-checksums", "--file", str(POM), f"-P{engine}"]
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={partial}"]
    try:
        done = subprocess.run(  # noqa: S603
            ["mvn", *options, *goal],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=MAVEN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TryAgain(f"the jars of {engine} could not be fetched ({error})") from None
    if done.returncode:
        errors = [line for line in done.stdout.splitlines() if "ERROR" in line]
        raise TryAgain(f"the jars of {engine} could not be fetched: {(errors or ['Maven failed'])[0]}")
    partial.rename(target)
