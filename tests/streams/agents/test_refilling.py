"""Refills of a lost hot store are told of: a new platform's empty one is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prometheus_client import REGISTRY

from streams.agents.refilling import HotStoreWatch
from streams.settings import Settings
from streams.stores.generations import GenerationalDurableStore, GenerationalStore, Names
from streams.stores.open import open_durable, open_hot
from tests.streams.agents.state_stores import MemoryStore
from tests.streams.stores.engines import entry


def refills(result: str) -> float:
    return REGISTRY.get_sample_value("marquee_hot_refills_total", {"result": result}) or 0.0


def test_a_refill_counts_as_done_only_if_there_were_states(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path)
    hot, durable = open_hot(settings), open_durable(settings)
    watch = HotStoreWatch(hot, durable, run=lambda work: work())
    before = refills("nothing"), refills("done"), refills("TryAgain")
    watch.look()
    watch.look()
    assert (refills("nothing"), refills("done")) == (before[0] + 1, before[1])
    durable.put("member", [entry(b"m", 7)])
    hot.close()
    lost = Settings(state=tmp_path, hot_url="embedded:another")
    with_less = HotStoreWatch(open_hot(lost), durable, run=lambda work: work())
    with_less.look()
    assert (refills("nothing"), refills("done")) == (before[0] + 1, before[1] + 1)
    (tmp_path / "durable.db").rename(tmp_path / "away.db")
    HotStoreWatch(open_hot(Settings(state=tmp_path, hot_url="embedded:third")), durable, run=lambda work: work()).look()
    assert refills("TryAgain") == before[2] + 1
    assert REGISTRY.get_sample_value("marquee_hot_refilling") == 0
    durable.close()


def test_a_refill_stays_in_the_generation_that_it_began_in() -> None:
    hot, durable, names = MemoryStore(), MemoryStore(), Names()
    durable.put("member", [entry(b"m", 7)])
    begun: list[Callable[[], None]] = []
    HotStoreWatch(GenerationalStore(hot, names), GenerationalDurableStore(durable, names), run=begun.append).look()
    names.of = {"member": "member@2", "refilled": "refilled-features@2"}
    begun[0]()
    assert sorted(hot.states) == ["member", "refilled"]


def test_what_is_lost_during_a_refill_is_refilled_once_more() -> None:
    hot, durable = MemoryStore(), MemoryStore()
    durable.put("member", [entry(b"m", 7)])
    begun: list[Callable[[], None]] = []
    watch = HotStoreWatch(hot, durable, run=begun.append)
    watch.look({b"mark": 7})
    hot.states.clear()  # and all that the refill had put into it; the refill itself goes on
    del durable.states["member"]
    begun.pop()()
    durable.put("member", [entry(b"m", 7)])
    watch.look({b"mark": 7})
    begun.pop()()
    watch.look({b"mark": 7})
    assert hot.get("member", [b"m"]) == [entry(b"m", 7).value]
    watch.look({b"mark": 7})
    assert not begun
