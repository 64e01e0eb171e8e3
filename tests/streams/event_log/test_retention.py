"""What retention may delete."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.event_log.group_store import Commit
from streams.event_log.retention import ABANDONED_AFTER_MS, read_by_all, step_floor

NOW_MS = 1_700_000_000_000


def test_without_groups_nothing_holds_records_back() -> None:
    assert read_by_all({}, (), 1, NOW_MS) is None


def test_the_slowest_group_holds_records_back() -> None:
    commits = {"fast": Commit(1, 90, NOW_MS), "slow": Commit(1, 40, NOW_MS)}
    assert read_by_all(commits, (), 1, NOW_MS) == 40


def test_a_member_that_has_not_committed_yet_holds_everything_back() -> None:
    assert read_by_all({"fast": Commit(1, 90, NOW_MS)}, {"new"}, 1, NOW_MS) == 0


def test_an_abandoned_group_holds_nothing_back_unless_a_member_is_there() -> None:
    commits = {"old": Commit(1, 10, NOW_MS - ABANDONED_AFTER_MS), "new": Commit(1, 70, NOW_MS)}
    assert read_by_all(commits, (), 1, NOW_MS) == 70
    assert read_by_all(commits, {"old"}, 1, NOW_MS) == 10


def test_a_commit_of_a_former_epoch_says_nothing_of_this_one() -> None:
    commits = {"group": Commit(1, 1000, NOW_MS)}
    assert read_by_all(commits, (), 2, NOW_MS) is None
    assert read_by_all(commits, {"group"}, 2, NOW_MS) == 0


@given(st.integers(0, 1000), st.integers(0, 1000), st.one_of(st.none(), st.integers(0, 2000)))
def test_a_step_deletes_something_of_what_may_go_and_never_more(start: int, count: int, limit: int | None) -> None:
    floor = step_floor(start, start + count, limit)
    assert floor <= start + count
    if limit is not None:
        assert floor <= limit
    if count and (limit is None or limit > start):
        assert floor > start
