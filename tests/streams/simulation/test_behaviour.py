from __future__ import annotations

import numpy as np

from streams.events import Event, check_event
from streams.simulation.behaviour import MAX_PLAYS, MAX_VIEWS, Memory, clicks_by_row, stars, visit
from streams.simulation.catalogue import generate_catalogue
from streams.simulation.click_model import ClickModel
from streams.simulation.tastes import World, member_name
from tests.streams.simulation.pages import page_of

NOW_MS = 1_700_000_000_000
TITLES = generate_catalogue(np.random.default_rng(1), 200)
WORLD = World(1)


def one_visit(seed: int, member: int = 0, memory: Memory | None = None) -> list[Event]:
    page = page_of(TITLES, f"page{seed}")
    who = WORLD.member(member_name(member))
    events, _ = visit(page, who, memory or Memory(), WORLD, ClickModel(), NOW_MS, np.random.default_rng(seed))
    return events


def test_the_same_page_and_seed_give_the_same_events() -> None:
    assert one_visit(5) == one_visit(5)
    assert one_visit(5) != one_visit(6)


def test_events_are_valid_in_order_and_name_their_place_on_the_page() -> None:
    page = page_of(TITLES)
    rows = {row.row_id: row for row in page.rows}
    for seed in range(50):
        events = one_visit(seed, member=seed)
        times = [event.event_time_ms for event in events]
        assert times == sorted(times)
        assert len({event.event_id for event in events}) == len(events)
        for event in events:
            check_event(event)
            assert event.page_id == f"page{seed}"
            assert event.row_id is not None
            assert event.position is not None
            assert rows[event.row_id].items[event.position].item_id == event.item_id
            assert set(event.context) == {"country", "device"}


def test_a_visit_is_bounded_and_what_is_done_makes_sense() -> None:
    kinds: set[str] = set()
    for seed in range(300):
        events = one_visit(seed, member=seed % 40)
        types = [event.type for event in events]
        kinds |= set(types)
        assert types.count("view") <= MAX_VIEWS
        assert types.count("play") <= MAX_PLAYS
        played = {event.item_id for event in events if event.type == "play"}
        clicked = {event.item_id for event in events if event.type == "click"}
        judged = {
            event.item_id for event in events if event.type in ("progress", "complete", "rate", "like", "dislike")
        }
        assert judged <= played <= clicked
    assert kinds == {"view", "click", "play", "progress", "complete", "skip", "rate", "like", "dislike", "list_add"}


def test_what_was_watched_to_its_end_is_hardly_watched_again() -> None:
    def plays(memory: Memory) -> int:
        return sum(event.type == "play" for seed in range(200) for event in one_visit(seed, member=3, memory=memory))

    knows_all = Memory()
    for title in TITLES:
        knows_all.remember(title.item_id, 1.0)
    assert plays(knows_all) < 0.2 * sum(
        event.type == "play" for seed in range(200) for event in one_visit(seed, member=3)
    )


def test_a_memory_forgets_the_oldest_first() -> None:
    memory = Memory()
    for index in range(3_000):
        memory.remember(f"t{index}", 1.0)
    assert memory.factor("t0") == 1.0
    assert memory.factor("t2999") < 0.1


def test_a_started_title_draws_until_it_is_finished() -> None:
    memory = Memory()
    memory.remember("t1", 0.4)
    assert (memory.factor("t1"), memory.started_share("t1")) == (2.0, 0.4)
    memory.remember("t1", 1.0)
    assert (memory.factor("t1") < 0.1, memory.started_share("t1")) == (True, 0.0)


def test_stars_are_halves_that_follow_the_taste() -> None:
    rng = np.random.default_rng(1)
    low, high = ([stars(wanted, rng) for _ in range(200)] for wanted in (0.05, 0.95))
    assert np.mean(low) + 1.5 < np.mean(high)
    assert all(0.5 <= value <= 5.0 and (2 * value).is_integer() for value in low + high)


def test_counts_by_row_kind_add_up() -> None:
    page = page_of(TITLES, rows=4, width=5)
    member = WORLD.member("m0001")
    _, looks = visit(page, member, Memory(), WORLD, ClickModel(), NOW_MS, np.random.default_rng(1))
    counts = clicks_by_row(page, looks)
    assert {kind: shown for kind, (shown, _, _) in counts.items()} == {"top_picks": 5, "genre": 15}
    assert sum(clicked for _, _, clicked in counts.values()) == sum(look.clicked for look in looks)


def test_an_empty_page_makes_no_events() -> None:
    page = page_of([], rows=0)
    member = WORLD.member("m0001")
    assert visit(page, member, Memory(), WORLD, ClickModel(), NOW_MS, np.random.default_rng(1)) == ([], [])
