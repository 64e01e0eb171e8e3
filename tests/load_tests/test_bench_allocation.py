"""The benchmark of allocation has the experiments that it says, and measures them."""

from __future__ import annotations

from load_tests.bench.allocation import EXPERIMENTS, measure_allocation


def test_a_member_is_in_nearly_all_of_the_running_experiments() -> None:
    report = measure_allocation(rounds=3, members=200)
    assert EXPERIMENTS * 0.95 < report.variants <= EXPERIMENTS  # but for those who are held out
    assert min(report.nothing_us, report.allocation_us, report.treated_us, report.again_us, report.alone_us) > 0
