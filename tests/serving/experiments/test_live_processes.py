"""Definitions in several serving processes at once, and in one that starts while the database is dead."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import httpx

from streams.experiments.definition import Patch, Variant
from streams.settings import Settings
from streams.stores.sql import open_sql
from tests.serving.experiments.definitions import running
from tests.serving.experiments.running import write_defaults, write_experiment
from tests.serving.platform import prepare, serving_process, small_settings

MEMBERS = [f"member-{n}" for n in range(10)]


def variants_of(url: str) -> list[str]:
    """Return what members get on pages, or what apps are told where the flag is not there."""
    with httpx.Client(base_url=url, timeout=20) as client:
        context = [{"context": {"targetingKey": member_id}} for member_id in MEMBERS]
        flags = [client.post("/ofrep/v1/evaluate/flags/rows", json=each).json() for each in context]
        pages = [client.get("/homepage", params={"member_id": member_id}).json() for member_id in MEMBERS]
    told = [flag.get("variant", flag.get("errorCode")) for flag in flags]
    shown = [page["served"]["variants"].get("rows", "FLAG_NOT_FOUND") for page in pages]
    assert told == shown
    return told


def test_definitions_reach_every_process_and_outlive_a_dead_database(tmp_path: Path) -> None:
    settings = small_settings(tmp_path)
    prepare(settings)
    variants = (Variant("few", 0.5, Patch(params={"row_size": 8})), Variant("many", 0.5))
    with contextlib.ExitStack() as stack:
        urls = [stack.enter_context(serving_process(settings))[1] for _ in range(2)]
        sql = open_sql(settings)
        write_experiment(sql, running("rows", variants=variants))
        write_defaults(sql, Patch(params={"row_min": 2}), 1)
        sql.dispose()
        deadline_s = time.monotonic() + 5
        for url in urls:
            while _flag(url) == "FLAG_NOT_FOUND":
                assert time.monotonic() < deadline_s, "definitions have not arrived within 5 s"
                time.sleep(0.05)
        first, second = map(variants_of, urls)
        assert first == second
        assert set(first) == {"few", "many"}
    _kill_database(settings)
    with serving_process(settings) as (_, url):
        assert variants_of(url) == first


def _flag(url: str) -> str | None:
    answer = httpx.post(f"{url}/ofrep/v1/evaluate/flags/rows", json={"context": {"targetingKey": "42"}}, timeout=20)
    code: str | None = answer.json().get("errorCode")
    return code


def _kill_database(settings: Settings) -> None:
    """Put a folder where the database was: nothing can be read from it any more."""
    path = settings.path_of(settings.sql_url)
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    path.mkdir()
