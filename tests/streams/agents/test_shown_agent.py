"""The shown agent: each page served counts its titles once, whatever is delivered again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.agents.folding_agent import BEHIND_MS, BUSY_RECORDS
from streams.agents.refilling import SHOWN_KINDS, HotStoreWatch
from streams.agents.shown_agent import ShownAgent
from streams.errors import TryAgain
from streams.event_log.protocol import Batch, Record, TopicPartition
from streams.features.replay import replay
from streams.features.title import TITLE_SHOWN, title_key
from streams.impressions import Impression, ShownItem, ShownRow, encode_impression
from streams.topics import IMPRESSIONS
from tests.streams.agents.state_stores import Gate, Killed, Letters, MemoryStore, OneEpoch
from tests.streams.features.events import CATALOGUE, DAY_MS, EPOCH, NOW_MS


def agent_over(
    hot: MemoryStore, durable: MemoryStore, letters: Letters, log: OneEpoch, titles_held: int = 100
) -> ShownAgent:
    watch = HotStoreWatch(hot, durable, run=lambda work: work(), kinds=SHOWN_KINDS)
    return ShownAgent(hot, durable, letters, log, titles_held=titles_held, watch=watch)


PLACE = TopicPartition(IMPRESSIONS, 1)


def impression(number: int, *titles: str, origin: str | None = None) -> Impression:
    row = ShownRow("top_picks", 0, [ShownItem(item_id, place, 0.5, 1.0) for place, item_id in enumerate(titles)])
    return Impression(f"p{number}", "m", NOW_MS + number, "fresh", [] if origin else [row], origin_page_id=origin)


def batch_of(pages: Sequence[Impression], start: int = 0, end: int | None = None) -> Batch:
    records = [Record(offset, NOW_MS + DAY_MS, b"m", encode_impression(page)) for offset, page in enumerate(pages)]
    return Batch(IMPRESSIONS, 1, EPOCH, records[start:end])


def shown(store: MemoryStore, item_id: str) -> float:
    value = TITLE_SHOWN.result(TITLE_SHOWN.unpack(store.states["title_shown"][title_key(item_id, 1)]), NOW_MS)[
        "shown:1d"
    ]
    assert isinstance(value, float)
    return value


def test_titles_count_once_for_each_page_and_not_for_repeats() -> None:
    hot, durable = MemoryStore(), MemoryStore()
    agent = agent_over(hot, durable, Letters(), OneEpoch(EPOCH))
    pages = [impression(0, "a", "b"), impression(1, "a"), impression(2, origin="p0")]
    agent.process(batch_of(pages))

    assert agent.flush(NOW_MS) == {PLACE: 3}
    assert (shown(hot, "a"), shown(hot, "b")) == (2.0, 1.0)
    assert hot.states["title_shown"] == durable.states["title_shown"]


def test_what_is_no_impression_goes_to_the_dead_letters() -> None:
    letters = Letters()
    agent = agent_over(MemoryStore(), MemoryStore(), letters, OneEpoch(EPOCH))
    agent.process(Batch(IMPRESSIONS, 1, EPOCH, [Record(0, NOW_MS, b"", b"junk"), *batch_of([impression(1)]).records]))
    agent.process(Batch(IMPRESSIONS, 1, EPOCH, []))

    assert letters.reasons == ["malformed"]
    assert agent.flush(NOW_MS) == {PLACE: 1}


def test_an_agent_that_is_behind_gathers_writes() -> None:
    hot = MemoryStore()
    agent = agent_over(hot, MemoryStore(), Letters(), OneEpoch(EPOCH))
    agent.process(batch_of([impression(number, "a") for number in range(BUSY_RECORDS)]))

    assert agent.flush(NOW_MS + DAY_MS + BEHIND_MS) == {}
    agent.close()
    assert shown(hot, "a") == BUSY_RECORDS
    assert agent.flush(NOW_MS) == {PLACE: BUSY_RECORDS}
    agent.revoked([PLACE])
    assert agent.flush(NOW_MS) == {}


def test_a_topic_is_read_on_from_where_the_durable_store_ends_whatever_the_hot_one_holds() -> None:
    hot, durable = MemoryStore(), MemoryStore()
    agent = agent_over(hot, durable, Letters(), OneEpoch(EPOCH))

    assert agent.assigned([PLACE]) == {PLACE: 0}
    agent.process(batch_of([impression(0, "a")]))
    agent.flush(NOW_MS)
    assert agent.assigned([PLACE]) == {PLACE: 1}
    durable.states.clear()
    assert agent.assigned([PLACE]) == {PLACE: 0}


pages_of = st.lists(st.lists(st.sampled_from("abcde"), max_size=4), min_size=1, max_size=15)
failures = st.dictionaries(st.integers(1, 40), st.sampled_from([Killed("killed"), TryAgain("away")]), max_size=8)


@settings(max_examples=80)
@given(pages_of, st.lists(st.integers(1, 6), min_size=1, max_size=5), failures)
def test_kills_and_stores_that_are_away_lose_nothing_and_count_nothing_twice(
    shown_titles: list[list[str]], sizes: list[int], failing: Mapping[int, Exception]
) -> None:
    pages = [impression(number, *titles) for number, titles in enumerate(shown_titles)]
    gate = Gate()
    hot, durable = MemoryStore(gate), MemoryStore(gate)
    gate.failures = dict(failing)
    agent: ShownAgent | None = None
    committed = offset = turns = 0
    while committed < len(pages):
        size = sizes[turns % len(sizes)]
        turns += 1
        if agent is None:
            agent = agent_over(hot, durable, Letters(), OneEpoch(EPOCH), titles_held=2)
            offset = agent.assigned([PLACE])[PLACE]
            committed = max(committed, offset)
        try:
            agent.process(batch_of(pages, offset, offset + size))
            committed = agent.flush(NOW_MS).get(PLACE, committed)
        except Killed:
            agent = None
        except TryAgain:
            continue
        else:
            offset += len(pages[offset : offset + size])

    expected = replay([batch_of(pages)], CATALOGUE).packed()["title_shown"]
    assert dict(hot.scan("title_shown")) == dict(durable.scan("title_shown")) == expected
