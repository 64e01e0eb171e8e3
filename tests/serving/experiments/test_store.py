"""Experiments in the database: one change at a time, each audited, and nothing half done."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Iterator

import msgspec
import pytest
import sqlalchemy as sa

from serving.experiments.audit import read_audit
from serving.experiments.lifecycle import Archive, Decide, Edit, Ramp, Ship, Start, Stop
from serving.experiments.refusals import Conflict, Invalid, UnknownExperiment
from serving.experiments.roles import Actor
from serving.experiments.spans import LAYER, size_of
from serving.experiments.store import ExperimentStore
from streams.errors import Corrupt, FixRequest, MarqueeError, TryAgain
from streams.experiments.definition import Experiment, Patch
from streams.experiments.table import read_defaults, read_experiments
from streams.experiments.tables import experiments_table
from streams.settings import Settings
from streams.stores.sql import open_sql
from tests.serving.experiments.definitions import definition
from tests.tcp_proxy import TcpProxy

EDITOR = Actor("ed", "editor")
NOW_MS = 1_700_000_000_000


@pytest.fixture
def store(sql_engine: sa.Engine) -> ExperimentStore:
    return ExperimentStore(sql_engine, lambda version: version)


def act(store: ExperimentStore, name: str, action: object, expected: int | None = None) -> Experiment:
    return store.act(name, action, EDITOR, NOW_MS, random.Random(1), expected=expected)  # type: ignore[arg-type]  # actions all


def test_what_is_drafted_is_read_back_as_it_is(store: ExperimentStore, sql_engine: sa.Engine) -> None:
    created = store.create(definition("b"), EDITOR, NOW_MS)
    store.create(definition("a"), EDITOR, NOW_MS)
    assert store.read("b") == created == Experiment(definition("b"), created_at_ms=NOW_MS)
    assert [each.definition.id for each in store.listed()] == ["a", "b"]
    assert [each.definition.id for each in store.listed(after="a", limit=1)] == ["b"]
    act(store, "a", Start())
    assert [each.definition.id for each in store.listed(["running"])] == ["a"]
    assert [each.definition.id for each in read_experiments(sql_engine, ["draft"])] == ["b"]
    assert read_experiments(sql_engine, ["running"]) == [store.read("a")]


def test_spans_of_a_whole_layer_are_kept_exactly(store: ExperimentStore) -> None:
    store.create(definition("a"), EDITOR, NOW_MS)
    act(store, "a", Start())
    assert size_of(store.read("a").spans) == LAYER


def test_an_id_is_taken_once(store: ExperimentStore) -> None:
    store.create(definition("a"), EDITOR, NOW_MS)
    with pytest.raises(Conflict, match="there is an experiment a"):
        store.create(definition("a"), EDITOR, NOW_MS)
    with pytest.raises(UnknownExperiment):
        store.read("b")


def test_what_cannot_be_run_is_not_kept(store: ExperimentStore) -> None:
    for wrong in (definition("a", mde=-1.0), definition("a", patch=Patch(model="nobody"))):
        with pytest.raises(Invalid):
            store.create(wrong, EDITOR, NOW_MS)
    assert store.listed() == []
    store.create(definition("a"), EDITOR, NOW_MS)
    with pytest.raises(Invalid):
        act(store, "a", Edit(definition("a", patch=Patch(model="nobody"))))
    assert store.read("a").revision == 1


def test_every_change_is_audited_with_who_and_why(store: ExperimentStore, sql_engine: sa.Engine) -> None:
    store.create(definition("a", traffic=0.5), EDITOR, NOW_MS)
    act(store, "a", Edit(definition("a", traffic=0.5, hypothesis="Other words")))
    for action in (Start(), Ramp(0.75), Stop("enough"), Decide("inconclusive", ("too few",)), Archive("done")):
        act(store, "a", action)
    entries = read_audit(sql_engine, "a")
    assert [entry.action for entry in entries] == ["create", "edit", "start", "ramp", "stop", "decide", "archive"]
    assert [entry.revision for entry in entries] == list(range(1, 8))
    assert {(entry.actor, entry.role, entry.at_ms) for entry in entries} == {("ed", "editor", NOW_MS)}
    assert entries[1].detail["changed"] == ["hypothesis"]
    assert entries[3].detail["traffic"] == {"before": 0.5, "after": 0.75}
    assert entries[4].detail["reason"] == "enough"
    assert [entry.n for entry in read_audit(sql_engine, "a", after=entries[4].n)] == [e.n for e in entries[5:]]


def test_what_is_refused_leaves_no_trace(store: ExperimentStore, sql_engine: sa.Engine) -> None:
    store.create(definition("a"), EDITOR, NOW_MS)
    before = store.read("a")
    for action in (Stop("enough"), Ship("v1", "go"), Edit(definition("b"))):
        with pytest.raises(FixRequest):
            act(store, "a", action)
    assert store.read("a") == before
    assert len(read_audit(sql_engine, "a")) == 1
    assert read_defaults(sql_engine) == Patch()


def test_who_has_read_an_older_revision_is_told(store: ExperimentStore) -> None:
    store.create(definition("a"), EDITOR, NOW_MS)
    act(store, "a", Edit(definition("a", hypothesis="Mine")), expected=1)
    with pytest.raises(Conflict, match="at 2, not 1"):
        act(store, "a", Edit(definition("a", hypothesis="Yours")), expected=1)
    assert store.read("a").definition.hypothesis == "Mine"


def test_of_editors_at_once_one_is_first_and_the_others_are_told(store: ExperimentStore, sql_engine: sa.Engine) -> None:
    store.create(definition("a"), EDITOR, NOW_MS)
    outcomes = at_once(
        [lambda n=n: act(store, "a", Edit(definition("a", hypothesis=f"By {n}")), expected=1) for n in range(6)]
    )
    won = [outcome for outcome in outcomes if isinstance(outcome, Experiment)]
    assert len(won) == 1
    assert all(isinstance(outcome, Experiment | Conflict | TryAgain) for outcome in outcomes)
    assert store.read("a") == won[0]
    assert len(read_audit(sql_engine, "a")) == 2


def test_experiments_started_at_once_share_no_members(store: ExperimentStore) -> None:
    for n in range(5):
        store.create(definition(f"e{n}", layer="home", traffic=0.3), EDITOR, NOW_MS)
    outcomes = at_once([lambda n=n: act(store, f"e{n}", Start()) for n in range(5)])
    started = [outcome for outcome in outcomes if isinstance(outcome, Experiment)]
    spans = sorted((span for each in started for span in each.spans), key=lambda span: span.begin)
    assert len(started) == 3
    assert all(one.end <= other.begin for one, other in itertools.pairwise(spans))
    assert [type(o).__name__ for o in outcomes if not isinstance(o, Experiment)] == ["Conflict"] * 2


def at_once(calls: list[object]) -> list[object]:
    """Return what calls returned or raised, made at the same time."""
    barrier, outcomes = threading.Barrier(len(calls)), list[object]()

    def run(call: object) -> None:
        barrier.wait(10)
        try:
            outcomes.append(call())  # type: ignore[operator]  # a callable
        except MarqueeError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return outcomes


def test_a_row_of_another_version_is_named_as_such(store: ExperimentStore, sql_engine: sa.Engine) -> None:
    store.create(definition("a"), EDITOR, NOW_MS)
    with sql_engine.begin() as connection:
        connection.execute(sa.update(experiments_table).values(value='{"definition": 1}'))
    with pytest.raises(Corrupt, match="cannot be read"):
        store.read("a")


@pytest.fixture
def proxied(postgres_schema_url: str) -> Iterator[tuple[sa.Engine, TcpProxy]]:
    there = sa.make_url(postgres_schema_url)
    with TcpProxy(str(there.host), there.port or 5432) as proxy:
        url = there.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
        engine = open_sql(Settings(sql_url=url, sql_timeout_s=2))
        yield engine, proxy
        engine.dispose()


def test_a_database_that_goes_away_is_said_so_and_used_again_once_it_is_back(
    proxied: tuple[sa.Engine, TcpProxy],
) -> None:
    engine, proxy = proxied
    store = ExperimentStore(engine, lambda version: version)
    store.create(definition("a"), EDITOR, NOW_MS)
    proxy.cut()
    with pytest.raises(TryAgain):
        act(store, "a", Start())
    with pytest.raises(TryAgain):
        store.listed()
    proxy.mend()
    assert store.read("a").status == "draft"
    assert act(store, "a", Start(), expected=1).status == "running"


def test_an_experiment_survives_its_json() -> None:
    draft = Experiment(definition("a", forced={"ann": "v1"}, patch=Patch(params={"row_size": 12})))
    assert msgspec.json.decode(msgspec.json.encode(draft), type=Experiment) == draft
