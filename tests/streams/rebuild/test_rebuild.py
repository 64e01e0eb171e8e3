"""`marquee rebuild`: a new generation beside the one that serves, while events come in, and the change over to it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from streams.errors import FixRequest
from streams.event_log.open import open_event_log
from streams.event_log.protocol import EventLog
from streams.features.replay import feature_versions
from streams.forget import forget_member
from streams.rebuild.build import Engines, Rebuilt, drop_former, open_engines, rebuild
from streams.settings import Settings
from streams.stores.generations import GROUPS, change_generations, kind_in, read_generations
from streams.topics import IMPRESSIONS, MEMBER_EVENTS
from tests.streams.rebuild.live import (
    Producer,
    Worker,
    caught_up,
    impressions,
    messages,
    offline,
    publish,
    wait_for,
    workers,
)

BOTH = list(GROUPS)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state=tmp_path, log_sync=False, session_timeout_ms=2000, partitions=3, warehouse_flush_s=0.2)


@pytest.fixture
def engines(settings: Settings) -> Iterator[Engines]:
    publish(settings)
    with contextlib.ExitStack() as stack:
        yield open_engines(settings, stack)


def fill(log: EventLog, start: int, end: int) -> None:
    log.append(MEMBER_EVENTS, messages(range(start, end)))
    log.append(IMPRESSIONS, impressions(range(start, end, 5)))


def states(engines: Engines, number: int) -> dict[str, dict[str, dict[bytes, bytes]]]:
    """Return the states of a generation, by store and kind."""
    stores = {"hot": engines.hot, "durable": engines.durable}
    kinds = [kind for kinds in GROUPS.values() for kind in kinds]
    return {name: {kind: dict(store.scan(kind_in(kind, number))) for kind in kinds} for name, store in stores.items()}


def assert_as_replayed(engines: Engines, number: int) -> None:
    expected = offline(engines.settings, engines.log).packed()
    for name, kinds in states(engines, number).items():
        for kind, found in kinds.items():
            assert found.keys() == expected[kind].keys(), (name, kind)
            assert found == expected[kind], (name, kind)


def is_serving(engines: Engines, number: int) -> bool:
    found = read_generations(engines.durable)
    return all(found.serving(group) == number for group in BOTH)


def test_a_rebuild_beside_live_agents_ends_as_the_replay_says_and_the_old_states_are_deleted(
    engines: Engines, settings: Settings
) -> None:
    with workers(settings, 2):
        producer = Producer(engines.log)
        producer.wait_for(300)
        done = rebuild(engines, BOTH, settle_s=0.5)
        producer.wait_for(producer.sent + 200)
        producer.stop()
        wait_for(lambda: caught_up(engines.log))
    assert done == Rebuilt({"features": 2, "shown": 2}, done.fed, True, {}, {})
    assert done.fed["features"].from_log >= 300
    assert is_serving(engines, 2)
    assert_as_replayed(engines, 2)
    assert states(engines, 1) == {name: {kind: {} for kind in found} for name, found in states(engines, 1).items()}


def test_one_rebuild_after_another_while_the_topic_grows(engines: Engines, settings: Settings) -> None:
    with workers(settings, 1):
        producer = Producer(engines.log)
        producer.wait_for(200)
        grower = threading.Thread(target=engines.log.grow_topic, args=(MEMBER_EVENTS, 5))
        grower.start()
        rebuild(engines, BOTH, settle_s=0.3)
        grower.join()
        rebuild(engines, ["features"], settle_s=0.3)
        producer.wait_for(producer.sent + 100)
        producer.stop()
        wait_for(lambda: caught_up(engines.log))
    found = read_generations(engines.durable)
    assert (found.active, found.building) == ({"features": 3, "shown": 2}, {})
    expected = offline(settings, engines.log).packed()
    for store in (engines.hot, engines.durable):
        assert dict(store.scan("member@3")) == expected["member"]
        assert dict(store.scan("title@3")) == expected["title"]
        assert dict(store.scan("title_shown@2")) == expected["title_shown"]


def test_what_retention_has_deleted_comes_from_the_warehouse_without_gap_or_overlap(
    engines: Engines, settings: Settings
) -> None:
    fill(engines.log, 0, 400)
    with workers(settings, 1):
        wait_for(lambda: caught_up(engines.log))
        engines.log.grow_topic(MEMBER_EVENTS, 4)
        fill(engines.log, 400, 700)
        wait_for(lambda: caught_up(engines.log))
    expected = offline(settings, engines.log).packed()
    for topic in (MEMBER_EVENTS, IMPRESSIONS):
        for partition in range(engines.log.partition_count(topic)):
            end = engines.log.end_offset(topic, partition)
            engines.log.delete_records(topic, partition, end * (partition + 1) // 4)
    done = rebuild(engines, BOTH, keep_old=True, settle_s=0)
    assert done.fed["features"].from_warehouse > 200
    assert done.fed["features"].from_log + done.fed["features"].from_warehouse == 700
    assert done.kept == {"features": [1], "shown": [1]}
    assert states(engines, 2)["hot"] == states(engines, 2)["durable"] == states(engines, 1)["hot"] == expected

    from_warehouse = rebuild(engines, BOTH, "warehouse", keep_old=True, settle_s=0)
    assert from_warehouse.fed["features"].from_warehouse == 700
    assert states(engines, 3)["durable"] == expected

    left_out = rebuild(engines, BOTH, "log", keep_old=True, settle_s=0).left_out
    assert sum(left_out.values()) > 200
    drop_former(engines, BOTH)
    assert read_generations(engines.durable).former == {"features": [], "shown": []}


def test_a_gap_is_named_before_anything_serves(engines: Engines, settings: Settings) -> None:
    fill(engines.log, 0, 100)
    engines.log.delete_records(MEMBER_EVENTS, 1, 10)
    with pytest.raises(FixRequest, match=r"offset 0 of member-events/1 \(epoch 1\) is neither in the log nor"):
        rebuild(engines, BOTH, settle_s=0)
    assert is_serving(engines, 1)
    assert rebuild(engines, BOTH, "log", settle_s=0).left_out == {"member-events/1": 10}


def test_a_topic_made_anew_and_a_lost_durable_store_are_rebuilt_from_what_the_warehouse_kept(
    engines: Engines, settings: Settings
) -> None:
    fill(engines.log, 0, 200)
    with workers(settings, 1):
        wait_for(lambda: caught_up(engines.log))
        engines.log.delete_topic(MEMBER_EVENTS)
        engines.log.create_topic(MEMBER_EVENTS, 3)
        engines.log.append(MEMBER_EVENTS, messages(range(200, 300)))
        wait_for(lambda: caught_up(engines.log))
    before = states(engines, 1)
    rebuild(engines, BOTH, keep_old=True, settle_s=0)
    assert states(engines, 2) == before


def test_a_rebuild_that_ends_anywhere_goes_on_and_the_old_states_serve_meanwhile(
    engines: Engines, settings: Settings
) -> None:
    fill(engines.log, 0, 3000)
    with workers(settings, 1):
        wait_for(lambda: caught_up(engines.log))

    class Ended(Exception):  # noqa: N818 - what kill -9 does
        pass

    def end_after(count: int) -> Callable[[object], None]:
        seen = iter(range(count))

        def report(_progress: object) -> None:
            if next(seen, None) is None:
                raise Ended

        return report

    for count in (0, 1, 2, 3):
        with pytest.raises(Ended):
            rebuild(engines, BOTH, report=end_after(count), settle_s=0)
        assert is_serving(engines, 1)
        assert_as_replayed(engines, 1)
    rebuild(engines, BOTH, switch=False, settle_s=0)
    assert is_serving(engines, 1)
    done = rebuild(engines, BOTH, settle_s=0)
    assert done.numbers == {"features": 2, "shown": 2}
    assert done.fed["features"].from_log == 0, "all was there already"
    assert_as_replayed(engines, 2)


def test_a_member_who_was_forgotten_stays_so_though_the_log_has_their_events(
    engines: Engines, settings: Settings
) -> None:
    fill(engines.log, 0, 300)
    with workers(settings, 1):
        wait_for(lambda: caught_up(engines.log))
        forget_member("m7", engines.hot, engines.durable)
        forget_member("m14", engines.hot, engines.durable)
        again = [message for message in messages(range(300, 400)) if message.key == b"m14"]
        engines.log.append(MEMBER_EVENTS, again)
        wait_for(lambda: caught_up(engines.log))
    before = states(engines, 1)["durable"]["member"]
    rows = len(engines.durable.history("m14", 1000))
    rebuild(engines, BOTH, keep_old=True, settle_s=0)
    assert states(engines, 2)["durable"]["member"] == before
    assert b"m7" not in before
    assert engines.durable.history("m7", 10) == []
    assert len(engines.durable.history("m14", 1000)) == rows
    forget_member("m14", engines.hot, engines.durable)
    assert b"m14" not in states(engines, 1)["hot"]["member"]
    assert b"m14" not in states(engines, 2)["hot"]["member"]


def test_agents_of_other_features_wait_and_touch_nothing_until_the_states_are_rebuilt(
    engines: Engines, settings: Settings
) -> None:
    """The states that serve are said to be of an older version: what this code's agents find after an upgrade."""
    fill(engines.log, 0, 200)
    with workers(settings, 1):
        wait_for(lambda: caught_up(engines.log))
    older = {**feature_versions(), "member": "0ld"}
    change_generations(engines.durable, lambda found: msgspec.structs.replace(found, versions=older))
    before = states(engines, 1)

    new, old = Worker(settings), Worker(settings, versions=older)
    fill(engines.log, 200, 300)
    wait_for(lambda: "marquee rebuild" in (new.health.reasons().get("features") or ""))
    new.stop()
    wait_for(lambda: caught_up(engines.log, ["features"]))
    assert states(engines, 1) != before, "agents of the old code go on"
    new = Worker(settings)
    done = rebuild(engines, ["features"], settle_s=0)
    assert done.kept == {"features": [1]}, "processes of the old code may still read it"
    wait_for(lambda: "other features" in (old.health.reasons().get("features") or ""))
    old.stop()
    kept = states(engines, 1)["durable"]["member"]
    fill(engines.log, 300, 400)
    wait_for(lambda: caught_up(engines.log, ["features"]))
    new.stop()
    expected = offline(settings, engines.log).packed()
    assert dict(engines.hot.scan("member@2")) == dict(engines.durable.scan("member@2")) == expected["member"]
    assert states(engines, 1)["durable"]["member"] == kept
    drop_former(engines, ["features"])
    assert states(engines, 1)["hot"]["member"] == {}


def test_without_its_record_a_durable_store_takes_the_hot_ones(engines: Engines, settings: Settings) -> None:
    fill(engines.log, 0, 100)
    with workers(settings, 1):
        wait_for(lambda: caught_up(engines.log))
        rebuild(engines, BOTH, settle_s=0.3)
        fill(engines.log, 100, 150)
        wait_for(lambda: caught_up(engines.log))
    for path in settings.state.glob("durable.db*"):
        path.unlink()
    with open_again(settings) as again:
        with workers(settings, 1):
            wait_for(lambda: is_serving(again, 2))
            fill(again.log, 150, 200)
            wait_for(lambda: caught_up(again.log))
            wait_for(lambda: len(states(again, 2)["durable"]["member"]) == len(states(again, 2)["hot"]["member"]))
        assert_as_replayed(again, 2)


@contextlib.contextmanager
def open_again(settings: Settings) -> Iterator[Engines]:
    with contextlib.ExitStack() as stack:
        yield open_engines(settings, stack)


def test_an_open_log_is_all_that_a_new_platform_needs(settings: Settings) -> None:
    log = open_event_log(settings)
    log.close()
    publish(settings)
    with open_again(settings) as engines:
        done = rebuild(engines, BOTH, settle_s=0)
        assert done.fed["features"].from_log == 0
        assert is_serving(engines, 2)


def test_a_log_that_begins_again_in_an_epoch_that_the_warehouse_knows_is_refused(
    engines: Engines, settings: Settings
) -> None:
    fill(engines.log, 0, 100)
    with workers(settings, 1):
        wait_for(lambda: caught_up(engines.log))
    lost = settings.model_copy(update={"log_url": "embedded:other-log"})
    with contextlib.ExitStack() as stack:
        again = open_engines(lost, stack)
        with pytest.raises(FixRequest, match="that the log never had"):
            rebuild(again, BOTH, settle_s=0)
