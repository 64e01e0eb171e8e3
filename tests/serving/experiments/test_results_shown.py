"""Results and designs on a terminal, out of what the API answers."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from serving.experiments.decision import decide
from serving.experiments.design import Baseline, design
from serving.experiments.presentation import in_full
from serving.experiments.results import report_of
from serving.experiments.results_shown import design_shown, results_shown
from streams.experiments.aggregates import Aggregate
from streams.experiments.definition import Experiment
from tests.serving.experiments.aggregated import two_arms
from tests.serving.experiments.reports import DAY_MS, START_MS, definition_of


def shown(renderable: Any) -> str:
    console = Console(width=100, file=io.StringIO(), soft_wrap=True)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def answer(aggregates: list[Aggregate], **changes: Any) -> dict[str, Any]:
    definition = definition_of(**changes)
    experiment = Experiment(definition, "running", 2, started_at_ms=START_MS)
    report = report_of(experiment, aggregates, None, START_MS + 10 * DAY_MS)
    decision = decide(report, definition, START_MS + 10 * DAY_MS)
    found: dict[str, Any] = in_full({"report": report, "decision": decision})
    return found


def test_results_begin_with_what_to_know_first_and_name_verdict_reasons_and_effects() -> None:
    text = shown(results_shown(answer(two_arms(1, 20_000, plays=2.2, skips=0.8))))
    assert text.startswith("Members come in the declared shares")
    assert "By the rules: ship (b)" in text
    assert "Guardrail skips with b" in text
    assert "40,000" in text
    assert "+10" in text


def test_results_without_data_are_shown_too() -> None:
    text = shown(results_shown(answer([])))
    assert text.startswith("Nobody has been exposed yet")
    assert "By the rules: continue" in text
    assert "not yet" in text


def test_several_treatments_are_told_apart() -> None:
    found = answer(two_arms(2, 5_000), variants=definition_of("b", "c").variants)
    assert "plays, c" in shown(results_shown(found))


def test_a_design_is_a_sentence_and_power_by_days() -> None:
    found = in_full(design(definition_of(mde=0.05), Baseline(2.0, 2.0, 500.0)))
    text = shown(design_shown(found))
    assert text.startswith(found["sentence"][:40])
    assert "500 new members a day" in text
    assert "█" in text
