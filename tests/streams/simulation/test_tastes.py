from __future__ import annotations

import numpy as np

from streams.simulation.catalogue import generate_catalogue
from streams.simulation.tastes import World, attraction, member_name

TITLES = generate_catalogue(np.random.default_rng(1), 1_000)


def test_a_member_is_the_same_in_every_process_and_another_in_another_world() -> None:
    first, again = World(1).member("m0001"), World(1).member("m0001")
    assert np.array_equal(first.tastes, again.tastes)
    assert (first.favourites, first.country, first.device) == (again.favourites, again.country, again.device)
    assert not np.array_equal(first.tastes, World(2).member("m0001").tastes)


def test_traits_do_not_depend_on_the_order_they_are_asked_for() -> None:
    forward, backward = World(1), World(1)
    ours = {t.item_id: forward.traits(t.item_id, t.title, t.genres).vector for t in TITLES[:50]}
    theirs = {t.item_id: backward.traits(t.item_id, t.title, t.genres).vector for t in reversed(TITLES[:50])}
    assert all(np.array_equal(ours[item_id], theirs[item_id]) for item_id in ours)


def test_members_like_their_favourite_genre_best() -> None:
    world = World(1)
    better = 0
    for index in range(100):
        member = world.member(member_name(index))
        scores = {t.item_id: attraction(member, world.traits(t.item_id, t.title, t.genres)) for t in TITLES}
        favourite = [scores[t.item_id] for t in TITLES if member.favourites[0] in t.genres]
        better += bool(np.mean(favourite) > np.mean(list(scores.values())))
    assert better >= 90


def test_titles_of_a_series_attract_alike() -> None:
    world = World(1)
    first, second = (
        world.traits(i, name, ("Drama",)).vector for i, name in (("t1", "Slow House"), ("t2", "Slow House 2"))
    )
    stranger = world.traits("t3", "Honest Orchard", ("Drama",)).vector
    assert float(first @ second) > 0.8 > float(first @ stranger)


def test_a_title_without_genres_has_traits_of_its_own() -> None:
    assert np.isclose(np.linalg.norm(World(1).traits("t1", "Paterson", ()).vector), 1.0)


def test_attraction_is_a_probability_and_most_titles_leave_a_member_cold() -> None:
    world = World(1)
    members = [world.member(member_name(index)) for index in range(20)]
    chances = [attraction(member, world.traits(t.item_id, t.title, t.genres)) for member in members for t in TITLES]
    assert 0.0 < min(chances) < max(chances) < 1.0
    assert 0.1 < float(np.mean(chances)) < 0.35
    assert float(np.median(chances)) < 0.2
