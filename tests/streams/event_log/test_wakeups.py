"""Appends wake waiting consumers; where they cannot, consumers look by themselves."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from streams.event_log import wakeups
from streams.event_log.wakeups import Bell, Waiter


def waits_s(waiter: Waiter, timeout_s: float) -> float:
    started = time.monotonic()
    waiter.wait(timeout_s)
    return time.monotonic() - started


def test_a_ring_ends_a_wait_in_any_of_the_folders(tmp_path: Path) -> None:
    waiter = Waiter([tmp_path / "a", tmp_path / "b"], "one")
    timer = threading.Timer(0.02, Bell(tmp_path / "b").ring)
    timer.start()
    assert waits_s(waiter, 10.0) < 5.0
    timer.join()
    waiter.close()


def test_a_ring_before_the_wait_is_not_lost_and_ends_one_wait_only(tmp_path: Path) -> None:
    waiter = Waiter([tmp_path / "a"], "one")
    bell = Bell(tmp_path / "a")
    for _ in range(100):
        bell.ring()
    assert waits_s(waiter, 10.0) < 5.0
    assert waits_s(waiter, 0.02) >= 0.015
    waiter.close()


def test_a_bell_finds_waiters_that_come_later_and_forgets_those_that_go(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    bell = Bell(folder)
    bell.ring()
    first = Waiter([folder], "first")
    bell.ring()
    assert waits_s(first, 10.0) < 5.0
    second = Waiter([folder], "second")
    first.close()
    bell.ring()
    assert waits_s(second, 10.0) < 5.0
    assert [path.name for path in folder.iterdir()] == ["second"]
    second.close()
    bell.close()


def test_pipes_of_dead_consumers_are_removed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dead")
    Bell(tmp_path).ring()
    assert list(tmp_path.iterdir()) == []


def test_a_bell_never_blocks_on_a_waiter_that_does_not_read(tmp_path: Path) -> None:
    waiter = Waiter([tmp_path], "slow")
    bell = Bell(tmp_path)
    for _ in range(wakeups.DRAIN_BYTES + 10):
        bell.ring()
    assert waits_s(waiter, 10.0) < 5.0
    waiter.close()
    bell.close()


def test_without_pipes_a_wait_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no pipes here")

    monkeypatch.setattr(os, "mkfifo", refuse)
    waiter = Waiter([tmp_path], "one")
    assert waits_s(waiter, 10.0) < 5.0
    waiter.close()
