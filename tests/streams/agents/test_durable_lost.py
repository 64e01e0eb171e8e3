"""A durable store that is lost while the hot one and the log remain: states, histories and profiles all come back."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streams.features.member import MEMBER
from streams.forget import forget_member
from streams.positions import pack_position
from streams.stores.embedded_hot import EmbeddedHotStore
from streams.stores.protocol import DurableStore
from tests.streams.agents.test_feature_agent import PLACE, Driver, agent_over, assert_as_replayed, batch_of
from tests.streams.features.events import EPOCH, generated
from tests.streams.stores.cassandra_places import own_keyspace
from tests.streams.stores.engines import DURABLE

MEMBERS = 20


@pytest.fixture(params=["sqlite_durable", "cassandra"])
def new_durable(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], DurableStore]]:
    """Return what opens a durable store that holds nothing."""
    opened: list[DurableStore] = []

    def open_in(place: str) -> DurableStore:
        opened.append(DURABLE[request.param](f"{place}{uuid.uuid4().hex[:12]}"))
        return opened[-1]

    if request.param == "cassandra":
        with own_keyspace(request.getfixturevalue("cassandra_url")) as url:
            yield lambda: open_in(f"{url}#")
    else:
        yield lambda: open_in(f"{tmp_path}/")
    for store in opened:
        store.close()


def test_a_lost_durable_store_gets_histories_and_profiles_again_though_hot_states_cover_them(
    new_durable: Callable[[], DurableStore], tmp_path: Path
) -> None:
    hot = EmbeddedHotStore(tmp_path / "hot", 64 << 20)
    stream = generated(600, MEMBERS)
    names = [f"m{number}" for number in range(MEMBERS)]
    first = new_durable()
    Driver(lambda: agent_over(hot, first), stream, [250, 3, 50]).run()
    before = {name: (first.history(name, 1_000), first.profile(name)) for name in names}
    assert sum(len(rows) for rows, _ in before.values()) == len({event.event_id for event in stream})

    second = new_durable()
    Driver(lambda: agent_over(hot, second, members_held=5), stream, [90, 200]).run()
    assert_as_replayed(stream, hot, second)
    assert {name: (second.history(name, 1_000), second.profile(name)) for name in names} == before

    forget_member("m0", hot, second, floor=pack_position(EPOCH, len(stream) - 1))
    third = new_durable()
    Driver(lambda: agent_over(hot, third), stream, [600]).run()
    assert (third.history("m0", 10), third.profile("m0"), hot.get(MEMBER.name, [b"m0"])) == ([], None, [None])
    assert third.history("m1", 1_000) == before["m1"][0]
    hot.close()


def test_a_lost_durable_store_takes_the_hot_state_where_the_log_no_longer_has_all_of_it(
    new_durable: Callable[[], DurableStore], tmp_path: Path
) -> None:
    hot = EmbeddedHotStore(tmp_path / "hot", 64 << 20)
    stream = generated(200, MEMBERS)
    first = new_durable()
    Driver(lambda: agent_over(hot, first), stream, [100]).run()
    whole = dict(hot.scan(MEMBER.name))

    second = new_durable()
    agent = agent_over(hot, second)
    agent.assigned([PLACE])
    agent.process(batch_of(stream, 120))
    agent.write()
    again = dict(second.scan(MEMBER.name))
    assert again == {key: whole[key] for key in again}
    assert len(again) > MEMBERS // 2
    assert dict(hot.scan(MEMBER.name)) == whole
    hot.close()
