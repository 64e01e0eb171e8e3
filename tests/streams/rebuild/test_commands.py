"""`marquee topics` and `marquee rebuild`, as an operator runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from streams.errors import FixRequest
from streams.rebuild.cli import rebuild
from streams.settings import Settings, load_settings
from streams.topics_cli import topics_app
from tests.streams.rebuild.live import publish

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.setenv("MARQUEE_STATE", str(tmp_path))
    monkeypatch.setenv("MARQUEE_LOG_SYNC", "false")
    load_settings.cache_clear()
    publish(Settings(state=tmp_path))
    app = typer.Typer()
    app.add_typer(topics_app)
    app.command("rebuild")(rebuild)
    yield lambda *words, **options: CliRunner().invoke(app, list(words), **options)
    load_settings.cache_clear()


def test_a_topic_grows_once_the_operator_has_said_yes(run: Run) -> None:
    refused = run("topics", "grow", "member-events", "--partitions", "6", input="n\n")
    assert refused.exit_code == 1
    assert "4 partitions" in run("topics", "list").stdout.splitlines()[0].replace("   ", " ")
    grown = run("topics", "grow", "member-events", "--partitions", "6", "--yes")
    assert "member-events has 6 partitions; epoch 2 begins at: member-events/0 at 0" in grown.stdout
    again = run("topics", "grow", "member-events", "--partitions", "6", "--yes")
    assert "has 6 partitions already" in again.stdout
    described = run("topics", "describe", "member-events").stdout.splitlines()
    assert described[1].startswith("epoch 2: 6 partitions, from offsets 0, 0")
    assert len(described) == 8
    assert isinstance(run("topics", "grow", "member-events", "--partitions", "2", "--yes").exception, FixRequest)
    assert isinstance(run("topics", "describe", "nothing").exception, FixRequest)


def test_a_rebuild_says_what_serves(run: Run) -> None:
    assert "features: generation 1 serves" in run("rebuild", "--status").stdout
    done = run("rebuild", "--kinds", "title_shown", "--keep-old")
    assert done.exit_code == 0, done.output
    assert "shown: generation 2 from 0 records of the warehouse and 0 of the log, serves now" in done.stdout
    assert "kept: 1" in done.stdout
    assert "kept" not in run("rebuild", "--delete-old").stdout
    assert "does not serve yet" in run("rebuild", "--no-switch").stdout
    assert "is being built" in run("rebuild", "--status").stdout
    assert isinstance(run("rebuild", "--kinds", "page").exception, FixRequest)
