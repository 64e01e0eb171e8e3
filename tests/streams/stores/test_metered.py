"""Stores that count do what the stores below do, and say how long it took and what failed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from streams.errors import MarqueeError, TryAgain
from streams.settings import Settings
from streams.stores.metered import open_metered_durable, open_metered_hot
from streams.stores.protocol import HistoryRow, Profile
from tests.streams.stores.engines import entry


def timed(engine: str, operation: str, kind: str) -> float:
    labels = {"engine": engine, "operation": operation, "kind": kind}
    return REGISTRY.get_sample_value("marquee_store_seconds_count", labels) or 0.0


def failed(engine: str, operation: str, kind: str, error: str) -> float:
    labels = {"engine": engine, "operation": operation, "kind": kind, "error": error}
    return REGISTRY.get_sample_value("marquee_store_errors_total", labels) or 0.0


def test_operations_do_what_the_store_does_and_are_timed(tmp_path: Path) -> None:
    hot = open_metered_hot(Settings(state=tmp_path))
    before = timed("embedded", "put", "member")
    assert hot.put("member", [entry(b"m", 7), entry(b"n", 8)]) == [True, True]
    assert hot.put("member", [entry(b"m", 6)]) == [False]
    assert timed("embedded", "put", "member") - before == 2
    assert hot.positions("member", [b"m", b"x"]) == [7, 0]
    assert hot.versions("member", [b"m"]) == [14]
    assert dict(hot.scan("member")) == {b"m": entry(b"m", 7).value, b"n": entry(b"n", 8).value}
    assert hot.get("member", [b"m"]) == [entry(b"m", 7).value]
    hot.close()


def test_a_durable_store_keeps_histories_and_profiles_as_before(tmp_path: Path) -> None:
    durable = open_metered_durable(Settings(state=tmp_path))
    row = HistoryRow("m", 7, 1_000, "play", "t")
    durable.write("member", [entry(b"m", 7)])
    durable.append_history([row])
    durable.put_profiles([Profile("m", "NL", "tv", 1, 2)])
    assert durable.get("member", [b"m"]) == [entry(b"m", 7).value]
    assert durable.history("m", 10) == [row]
    assert durable.profile("m") == Profile("m", "NL", "tv", 1, 2)
    assert durable.member_ids(10) == ["m"]
    assert durable.forget("m") == 2
    assert timed("sqlite", "append", "history") >= 1
    durable.close()


def test_errors_are_counted_by_what_they_ask_for_and_raised(tmp_path: Path) -> None:
    durable = open_metered_durable(Settings(state=tmp_path))
    durable.put("member", [entry(b"m", 7)])
    before = failed("sqlite", "get", "member", "TryAgain"), failed("sqlite", "scan", "member", "TryAgain")
    (tmp_path / "durable.db").rename(tmp_path / "away.db")
    with pytest.raises(TryAgain):
        durable.get("member", [b"m"])
    with pytest.raises(MarqueeError):
        list(durable.scan("member"))
    assert failed("sqlite", "get", "member", "TryAgain") == before[0] + 1
    assert failed("sqlite", "scan", "member", "TryAgain") == before[1] + 1
    durable.close()
    shutil.rmtree(tmp_path)
