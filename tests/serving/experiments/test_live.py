"""Experiments followed in the database: swapped whole, kept while it is away, and in a file for the next start."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from serving.experiments.last_good import LastGood
from serving.experiments.live import LiveExperiments
from streams.experiments.definition import Experiment, Patch
from streams.experiments.tables import defaults_table, experiments_table
from streams.settings import Settings
from streams.stores.sql import open_sql, writing
from tests.serving.experiments.definitions import running
from tests.serving.experiments.running import write_defaults, write_experiment
from tests.tcp_proxy import TcpProxy


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_sql(Settings(state=tmp_path / "state"))
    yield engine
    engine.dispose()


@pytest.fixture
def live_on(tmp_path: Path) -> Iterator[Callable[[sa.Engine], LiveExperiments]]:
    opened: list[LiveExperiments] = []

    def make(engine: sa.Engine) -> LiveExperiments:
        opened.append(LiveExperiments(engine, tmp_path / "experiments.live", 0.02, lambda: 1_000))
        return opened[-1]

    yield make
    for live in opened:
        live.close()


def changed(experiment: Experiment, **fields: object) -> Experiment:
    values = {name: getattr(experiment, name) for name in experiment.__struct_fields__}
    return Experiment(**{**values, "revision": experiment.revision + 1, **fields})


def away(tmp_path: Path) -> sa.Engine:
    """Return an engine whose database cannot be opened: its path is a folder."""
    (tmp_path / "away" / "marquee.db").mkdir(parents=True)
    return open_sql(Settings(state=tmp_path / "away"))


def test_what_starts_and_stops_arrives(engine: sa.Engine, live_on: Callable[[sa.Engine], LiveExperiments]) -> None:
    live = live_on(engine)
    live.start()
    assert (live.is_known, live.current.assign("42", {}).key) == (True, "")
    experiment = running("exp", [1.0])
    write_experiment(engine, experiment)
    _wait_until(lambda: live.current.assign("42", {}).key == "exp=v0")
    write_experiment(engine, changed(experiment, status="stopped"))
    _wait_until(lambda: live.current.assign("42", {}).key == "")
    assert live.view.experiments["exp"].status == "stopped"
    write_experiment(engine, changed(experiment, status="archived", revision=9))
    _wait_until(lambda: not live.view.experiments)


def test_who_remembers_assignments_is_told_only_of_what_changes_them(
    engine: sa.Engine, live_on: Callable[[sa.Engine], LiveExperiments]
) -> None:
    live, experiment = live_on(engine), running("exp")
    write_experiment(engine, experiment)
    assert live.refresh()
    allocation = live.current
    write_experiment(engine, Experiment(running("draft").definition))
    assert not live.refresh()
    assert list(live.view.experiments) == ["draft", "exp"]
    assert live.current is allocation
    write_defaults(engine, Patch(model="candidate"), 1)
    assert live.refresh()
    assert live.current.assign("42", {}).patch == Patch(model="candidate")
    write_experiment(engine, changed(experiment, spans=()))
    assert live.refresh()
    assert not live.refresh()


def test_a_change_within_the_same_revision_is_seen(
    engine: sa.Engine, live_on: Callable[[sa.Engine], LiveExperiments]
) -> None:
    live = live_on(engine)
    write_experiment(engine, running("exp", [1.0, 0.0]))
    live.refresh()
    write_experiment(engine, running("exp", [0.0, 1.0]))
    with writing(engine) as connection:
        connection.execute(sa.update(experiments_table).values(updated_at_ms=99))
    assert live.refresh()
    assert live.current.assign("42", {}).key == "exp=v1"


@pytest.mark.parametrize(
    "value", ["", "{", "null", '{"definition": {}}', '{"definition": "\\ud800"}', "[" * 5_000, '{"definition": 1e999}']
)
def test_a_row_that_cannot_be_read_harms_no_other_and_stays_as_it_was(
    engine: sa.Engine, live_on: Callable[[sa.Engine], LiveExperiments], value: str
) -> None:
    live = live_on(engine)
    write_experiment(engine, running("bad", [1.0]))
    write_experiment(engine, running("good", [1.0]))
    live.refresh()
    _write_raw(engine, "bad", value, 5)
    _write_raw(engine, "worse", value, 5)
    live.refresh()
    assert live.current.assign("42", {}).key == "bad=v0,good=v0"
    assert set(live.problems) == {"bad", "worse"}
    assert live.problem is None
    _write_raw(engine, "bad", value, 6, status="stopped")
    live.refresh()
    assert live.current.assign("42", {}).key == "good=v0"
    write_experiment(engine, running("bad", [1.0]))
    live.refresh()
    assert live.current.assign("42", {}).key == "bad=v0,good=v0"
    assert set(live.problems) == {"worse"}


def test_a_row_that_has_another_experiment_is_not_used(
    engine: sa.Engine, live_on: Callable[[sa.Engine], LiveExperiments]
) -> None:
    live = live_on(engine)
    write_experiment(engine, running("one", [1.0]))
    with writing(engine) as connection:
        connection.execute(sa.update(experiments_table).values(id="other"))
    live.refresh()
    assert live.current.assign("42", {}).key == ""
    assert live.problems == {"other": "its row has experiment one"}


def test_defaults_that_cannot_be_read_stay_as_they_were(
    engine: sa.Engine, live_on: Callable[[sa.Engine], LiveExperiments]
) -> None:
    live = live_on(engine)
    write_defaults(engine, Patch(model="candidate"), 1)
    live.refresh()
    with writing(engine) as connection:
        connection.execute(sa.update(defaults_table).values(value="{"))
    write_experiment(engine, running("exp", [1.0]))
    live.refresh()
    assert live.current.assign("42", {}).key == "exp=v0"
    assert live.current.defaults == Patch(model="candidate")


def test_a_process_that_starts_while_the_database_is_away_has_the_last_good_definitions(
    tmp_path: Path, engine: sa.Engine, live_on: Callable[[sa.Engine], LiveExperiments]
) -> None:
    write_experiment(engine, running("exp", [1.0]))
    write_defaults(engine, Patch(model="candidate"), 1)
    live_on(engine).refresh()
    later = live_on(away(tmp_path))
    later.start()
    assert later.problem is not None
    assert (later.is_known, later.current.assign("42", {}).key) == (True, "exp=v0")
    assert later.current.defaults == Patch(model="candidate")


def test_without_database_and_file_nothing_is_known(
    tmp_path: Path, live_on: Callable[[sa.Engine], LiveExperiments]
) -> None:
    live = live_on(away(tmp_path))
    live.start()
    assert not live.is_known
    assert live.current.assign("42", {}).variants == {}


@pytest.mark.parametrize("keep", [slice(0), slice(30), slice(65), slice(100), slice(-1), slice(1, None)])
def test_a_damaged_file_is_left_alone(
    tmp_path: Path,
    engine: sa.Engine,
    live_on: Callable[[sa.Engine], LiveExperiments],
    keep: slice,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write_experiment(engine, running("exp", [1.0]))
    live_on(engine).refresh()
    file = tmp_path / "experiments.live"
    file.write_bytes(file.read_bytes()[keep])
    later = live_on(away(tmp_path))
    later.start()
    assert not later.is_known
    assert "its checksum is wrong" in caplog.text


def test_a_file_of_another_version_loses_only_what_it_cannot_say(tmp_path: Path) -> None:
    file = LastGood(tmp_path / "file")
    file.write([running("a"), {"definition": {"id": "future"}}], Patch())  # type: ignore[list-item]  # as another version would
    kept = file.read()
    assert kept is not None
    assert [each.definition.id for each in kept[0]] == ["a"]


def test_a_file_that_cannot_be_written_stops_nothing(tmp_path: Path, engine: sa.Engine) -> None:
    live = LiveExperiments(engine, tmp_path / "no" / "such" / "folder", 60.0, lambda: 0)
    write_experiment(engine, running("exp", [1.0]))
    assert live.refresh()
    (tmp_path / "no" / "such").mkdir(parents=True)
    live.refresh()
    assert LastGood(tmp_path / "no" / "such" / "folder").read() is not None


def test_the_file_is_whole_whenever_it_is_read(tmp_path: Path) -> None:
    file, stop = LastGood(tmp_path / "file"), threading.Event()
    file.write([], Patch())

    def write() -> None:
        while not stop.is_set():
            file.write([running(f"e{n}") for n in range(20)], Patch())

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert all(file.read() is not None for _ in range(200))
    finally:
        stop.set()
        writer.join()


def test_definitions_outlive_a_server_that_goes_away_and_follow_it_again(
    postgres_schema_url: str, live_on: Callable[[sa.Engine], LiveExperiments]
) -> None:
    url = sa.make_url(postgres_schema_url)
    with TcpProxy(str(url.host), url.port or 5432) as proxy:
        there = url.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
        engine, direct = (
            open_sql(Settings(sql_url=there, sql_timeout_s=2)),
            open_sql(Settings(sql_url=postgres_schema_url)),
        )
        live = live_on(engine)
        write_experiment(direct, running("exp", [1.0]))
        live.refresh()
        proxy.cut()
        assert not live.refresh()
        assert "away" in (live.problem or "")
        assert live.current.assign("42", {}).key == "exp=v0"
        write_experiment(direct, running("other", [1.0]))
        proxy.mend()
        assert live.refresh()
        assert live.current.assign("42", {}).key == "exp=v0,other=v0"
        engine.dispose()
        direct.dispose()


def _write_raw(engine: sa.Engine, name: str, value: str, revision: int, status: str = "running") -> None:
    row = {"id": name, "status": status, "revision": revision, "value": value, "updated_at_ms": revision}
    with writing(engine) as connection:
        connection.execute(sa.delete(experiments_table).where(experiments_table.c.id == name))
        connection.execute(sa.insert(experiments_table).values(row))


def _wait_until(true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
