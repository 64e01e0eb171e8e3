"""Looks are kept on top of each other, thinned with age, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from serving.experiments.looks import DAY_MS, HOUR_MS, MINUTE_MS, Look, last_look, outdated, read_looks, store_look
from serving.experiments.report import PlannedLook
from streams.errors import Corrupt
from streams.experiments.tables import looks_table
from streams.stores.sql import writing
from tests.serving.experiments.reports import START_MS, effect_result, guardrail_result


def look(at_ms: int, **changes: object) -> Look:
    return Look(at_ms, 100, "continue", **changes)  # type: ignore[arg-type]  # any field's


def test_looks_come_back_as_they_were_in_order_and_each_experiment_has_its_own(sql_engine: sa.Engine) -> None:
    first = look(
        START_MS, effects=(effect_result("b", "better"),), guardrails=(guardrail_result("b", "harmed"),), mark="m"
    )
    second = look(START_MS + 1, srm_p_value=0.5, planned=(PlannedLook(START_MS, 100, 0.1),))
    assert last_look(sql_engine, "rows") is None
    assert store_look(sql_engine, "rows", first, None)
    assert store_look(sql_engine, "rows", second, first)
    assert store_look(sql_engine, "other", first, None)
    assert read_looks(sql_engine, "rows") == [first, second]
    assert last_look(sql_engine, "rows") == second
    assert first.was_harmed("skips", "b")
    assert first.effect("plays", "b") == effect_result("b", "better")


def test_a_look_is_stored_only_on_top_of_the_one_it_was_computed_from(sql_engine: sa.Engine) -> None:
    first, second = look(START_MS), look(START_MS + 10)
    assert store_look(sql_engine, "rows", first, None)
    assert not store_look(sql_engine, "rows", look(START_MS + 5), None)
    assert store_look(sql_engine, "rows", second, first)
    assert not store_look(sql_engine, "rows", look(START_MS + 20), first)
    assert not store_look(sql_engine, "rows", second, second)
    assert read_looks(sql_engine, "rows") == [first, second]


def test_of_a_look_every_minute_hundreds_are_kept_and_every_planned_one() -> None:
    planned = START_MS + 5 * HOUR_MS + 7
    times: list[int] = []
    for minute in range(10 * 24 * 60):
        times.append(START_MS + minute * MINUTE_MS + 7)
        if minute % 60 == 59:
            gone = set(outdated(times, {planned}, times[-1]))
            times = [at_ms for at_ms in times if at_ms not in gone]
    assert 200 < len(times) < 300
    assert planned in times
    assert len([at_ms for at_ms in times if at_ms > times[-1] - HOUR_MS]) == 60


def test_looks_that_the_grid_has_no_place_for_go_when_the_next_is_stored(sql_engine: sa.Engine) -> None:
    last = None
    for at_ms in range(START_MS, START_MS + 100, 10):
        store_look(sql_engine, "rows", look(at_ms), last)
        last = look(at_ms)
    assert [each.at_ms - START_MS for each in read_looks(sql_engine, "rows")] == [0, 90]


@given(st.lists(st.integers(0, 90 * DAY_MS), min_size=1, max_size=60, unique=True).map(sorted))
def test_thinning_keeps_the_newest_and_done_twice_does_no_more(times: Sequence[int]) -> None:
    gone = set(outdated(times, (), times[-1]))
    kept = [at_ms for at_ms in times if at_ms not in gone]
    assert times[-1] in kept
    assert times[0] in kept
    assert outdated(kept, (), times[-1]) == []


def test_a_look_that_cannot_be_read_is_called_corrupt(sql_engine: sa.Engine) -> None:
    store_look(sql_engine, "rows", look(START_MS), None)
    with writing(sql_engine) as connection:
        connection.execute(sa.update(looks_table).values(value="{"))
    with pytest.raises(Corrupt, match="look"):
        last_look(sql_engine, "rows")
