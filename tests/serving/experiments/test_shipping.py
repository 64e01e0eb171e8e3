"""Shipping and undoing: defaults and champion change and come back exactly, in order, or not at all."""

from __future__ import annotations

import random

import msgspec
import pytest
import sqlalchemy as sa

from serving.experiments.audit import read_audit
from serving.experiments.lifecycle import Decide, Ship, Start, Stop, Undo
from serving.experiments.refusals import Conflict, Invalid
from serving.experiments.roles import Actor
from serving.experiments.store import ExperimentStore
from serving.models.aliases import set_alias
from serving.models.registry import CHAMPION, aliased_version, model_versions
from streams.errors import Corrupt
from streams.experiments.definition import Experiment, Patch, Variant
from streams.experiments.table import read_defaults
from streams.experiments.tables import defaults_table, experiments_table
from tests.serving import tiny_model
from tests.serving.experiments.definitions import definition
from training_bridge.registry import alias_history

APPROVER = Actor("ann", "approver")
NOW_MS = 1_700_000_000_000
OLD, NEW = "0" * 64, "1" * 64
SHORT = Patch(rows=("explore",), params={"row_size": 12.0, "genre_rows": 2.0})
LONG = Patch(page_ttl_s=60.0, params={"row_size": 30.0})


@pytest.fixture
def engine(sql_engine: sa.Engine) -> sa.Engine:
    for version in (OLD, NEW):
        tiny_model.register(sql_engine, version)
    set_alias(sql_engine, CHAMPION, OLD, "first", NOW_MS)
    set_alias(sql_engine, "candidate", NEW, "trained", NOW_MS)
    return sql_engine


@pytest.fixture
def store(engine: sa.Engine) -> ExperimentStore:
    return ExperimentStore(engine, lambda version: version)


def act(store: ExperimentStore, name: str, action: Start | Stop | Decide | Ship | Undo) -> Experiment:
    return store.act(name, action, APPROVER, NOW_MS, random.Random(1))


def decided(store: ExperimentStore, name: str, patch: Patch) -> None:
    store.create(definition(name, patch=patch), APPROVER, NOW_MS)
    for action in (Start(), Stop("enough"), Decide("ship", ("better",))):
        act(store, name, action)


def test_shipping_makes_the_patch_the_default_and_undoing_takes_it_back(
    store: ExperimentStore, engine: sa.Engine
) -> None:
    decided(store, "a", SHORT)
    assert act(store, "a", Ship("v1", "members like it")).status == "promoted"
    assert read_defaults(engine) == SHORT
    assert act(store, "a", Undo("they do not")).status == "decided"
    assert read_defaults(engine) == Patch()
    assert act(store, "a", Ship("v1", "they do")).status == "promoted"
    assert read_defaults(engine) == SHORT


def test_shipped_patches_pile_up_and_come_off_from_the_top(store: ExperimentStore, engine: sa.Engine) -> None:
    decided(store, "a", SHORT)
    decided(store, "b", LONG)
    act(store, "a", Ship("v1", "go"))
    act(store, "b", Ship("v1", "go"))
    both = read_defaults(engine)
    assert both == Patch(rows=("explore",), page_ttl_s=60.0, params={"row_size": 30.0, "genre_rows": 2.0})
    with pytest.raises(Conflict, match="b was shipped on top"):
        act(store, "a", Undo("oops"))
    assert read_defaults(engine) == both
    act(store, "b", Undo("oops"))
    assert read_defaults(engine) == SHORT
    act(store, "a", Undo("oops"))
    assert read_defaults(engine) == Patch()


def test_a_shipped_model_becomes_champion_by_the_registry_and_goes_back_by_it(
    store: ExperimentStore, engine: sa.Engine
) -> None:
    decided(store, "a", Patch(model="candidate", page_ttl_s=60.0))
    act(store, "a", Ship("v1", "it ranks better"))
    assert (aliased_version(engine, CHAMPION), read_defaults(engine)) == (NEW, Patch(page_ttl_s=60.0))
    act(store, "a", Undo("it does not"))
    assert (aliased_version(engine, CHAMPION), read_defaults(engine)) == (OLD, Patch())
    moves = [(change.previous, change.version, change.reason) for change in alias_history(engine, CHAMPION)]
    assert moves[1:] == [
        (OLD, NEW, "experiment a shipped v1: it ranks better"),
        (NEW, OLD, "experiment a undone: it does not"),
    ]
    changed = next(entry.detail["changed"] for entry in read_audit(engine, "a") if entry.action == "ship")
    assert (changed["champion_before"], changed["champion_after"]) == (OLD, NEW)


def test_a_version_can_be_shipped_as_well_as_an_alias(store: ExperimentStore, engine: sa.Engine) -> None:
    decided(store, "a", Patch(model=NEW))
    act(store, "a", Ship("v1", "go"))
    assert aliased_version(engine, CHAMPION) == NEW


def test_the_model_that_members_saw_is_shipped_though_its_alias_has_moved_on(
    store: ExperimentStore, engine: sa.Engine
) -> None:
    """A nightly training moves `candidate` to a model that no member of the experiment has seen."""
    decided(store, "a", Patch(model="candidate"))
    newest = "2" * 64
    tiny_model.register(engine, newest)
    set_alias(engine, "candidate", newest, "trained anew", NOW_MS + 1)
    verified: list[str] = []
    act(ExperimentStore(engine, verified.append), "a", Ship("v1", "it ranks better"))
    assert (aliased_version(engine, CHAMPION), verified) == (NEW, [NEW])


def test_a_champion_that_was_promoted_since_the_start_is_replaced_only_by_who_says_so(
    store: ExperimentStore, engine: sa.Engine
) -> None:
    """A nightly training promoted a model that the experiment never compared."""
    decided(store, "a", Patch(model="candidate", page_ttl_s=60.0))
    newest = "2" * 64
    tiny_model.register(engine, newest)
    set_alias(engine, CHAMPION, newest, "trained anew", NOW_MS + 1)
    for override in ((), ("variant",)):
        with pytest.raises(
            Conflict, match=r"override\.champion: model 2222\w* was promoted since .* 0000\w* was champion"
        ):
            act(store, "a", Ship("v1", "go", override))
    assert (aliased_version(engine, CHAMPION), read_defaults(engine)) == (newest, Patch())
    assert store.read("a").status == "decided"
    act(store, "a", Ship("v1", "we want it", ("champion",)))
    assert aliased_version(engine, CHAMPION) == NEW
    shipped = next(entry.detail for entry in read_audit(engine, "a") if entry.action == "ship")
    assert (shipped["override"], shipped["changed"]["champion_before"]) == (["champion"], newest)
    act(store, "a", Undo("oops"))
    assert aliased_version(engine, CHAMPION) == newest


def test_a_champion_that_is_the_tested_model_by_now_or_that_stays_stands_against_nothing(
    store: ExperimentStore, engine: sa.Engine
) -> None:
    decided(store, "a", Patch(model="candidate"))
    decided(store, "b", SHORT)
    set_alias(engine, CHAMPION, NEW, "promoted by hand", NOW_MS + 1)
    act(store, "a", Ship("v1", "go"))
    act(store, "b", Ship("v1", "go"))
    assert (aliased_version(engine, CHAMPION), read_defaults(engine)) == (NEW, SHORT)


def test_a_champion_that_came_and_went_stands_against_nothing(store: ExperimentStore, engine: sa.Engine) -> None:
    decided(store, "a", Patch(model=NEW))
    newest = "2" * 64
    tiny_model.register(engine, newest)
    set_alias(engine, CHAMPION, newest, "trained anew", NOW_MS + 1)
    set_alias(engine, CHAMPION, OLD, "rolled back", NOW_MS + 2)
    act(store, "a", Ship("v1", "go"))
    assert aliased_version(engine, CHAMPION) == NEW


def test_a_patch_that_names_the_champion_leaves_it_where_it_is(store: ExperimentStore, engine: sa.Engine) -> None:
    """Both arms kept the champion of the start; what was compared is the rest of the patch."""
    control, treatment = Patch(model=CHAMPION), Patch(model=CHAMPION, page_ttl_s=60.0)
    arms = (Variant("v0", 0.5, control), Variant("v1", 0.5, treatment))
    store.create(definition("a", variants=arms), APPROVER, NOW_MS)
    for action in (Start(), Stop("enough"), Decide("ship", ("better",))):
        act(store, "a", action)
    set_alias(engine, CHAMPION, NEW, "trained anew", NOW_MS + 1)
    verified: list[str] = []
    act(ExperimentStore(engine, verified.append), "a", Ship("v1", "go"))
    assert (aliased_version(engine, CHAMPION), read_defaults(engine), verified) == (NEW, Patch(page_ttl_s=60.0), [])
    act(store, "a", Undo("oops"))
    assert (aliased_version(engine, CHAMPION), read_defaults(engine)) == (NEW, Patch())


def test_of_an_experiment_that_kept_no_versions_the_one_named_at_its_stop_is_shipped(
    store: ExperimentStore, engine: sa.Engine
) -> None:
    """One that was started before versions were kept."""
    decided(store, "a", Patch(model="candidate"))
    value = msgspec.json.encode(msgspec.structs.replace(store.read("a"), models={})).decode()
    with engine.begin() as connection:
        connection.execute(sa.update(experiments_table).values(value=value))
    tiny_model.register(engine, "2" * 64)
    set_alias(engine, "candidate", "2" * 64, "trained anew", NOW_MS + 1)
    act(store, "a", Ship("v1", "it ranks better"))
    assert aliased_version(engine, CHAMPION) == NEW


def test_what_was_promoted_since_is_not_undone_with_it(store: ExperimentStore, engine: sa.Engine) -> None:
    decided(store, "a", Patch(model=NEW, page_ttl_s=60.0))
    act(store, "a", Ship("v1", "go"))
    newest = "2" * 64
    tiny_model.register(engine, newest)
    set_alias(engine, CHAMPION, newest, "trained anew", NOW_MS)
    with pytest.raises(Conflict, match=r"2222.* has become champion since"):
        act(store, "a", Undo("oops"))
    assert (aliased_version(engine, CHAMPION), read_defaults(engine)) == (newest, Patch(page_ttl_s=60.0))
    assert store.read("a").status == "promoted"


def test_defaults_that_were_changed_by_hand_are_not_undone(store: ExperimentStore, engine: sa.Engine) -> None:
    decided(store, "a", SHORT)
    act(store, "a", Ship("v1", "go"))
    with engine.begin() as connection:
        connection.execute(sa.update(defaults_table).values(value='{"page_ttl_s": 1.0}'))
    with pytest.raises(Conflict, match="changed otherwise"):
        act(store, "a", Undo("oops"))


def test_a_model_whose_files_are_damaged_is_not_shipped(store: ExperimentStore, engine: sa.Engine) -> None:
    def refuse(version: str) -> None:
        assert version == NEW
        raise Corrupt("model.onnx is damaged")

    decided(store, "a", Patch(model="candidate"))
    with pytest.raises(Corrupt):
        act(ExperimentStore(engine, refuse), "a", Ship("v1", "go"))
    assert (aliased_version(engine, CHAMPION), store.read("a").status) == (OLD, "decided")


def test_a_model_that_is_gone_is_not_shipped_and_nothing_changes(store: ExperimentStore, engine: sa.Engine) -> None:
    decided(store, "a", Patch(model="candidate", page_ttl_s=60.0))
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM model_aliases WHERE alias = 'candidate'")
        connection.execute(sa.delete(model_versions).where(model_versions.c.version == NEW))
    with pytest.raises(Conflict, match="candidate is not registered"):
        act(store, "a", Ship("v1", "go"))
    assert read_defaults(engine) == Patch()
    assert store.read("a").status == "decided"


def test_a_draft_whose_model_is_gone_is_not_started(store: ExperimentStore, engine: sa.Engine) -> None:
    store.create(definition("a", patch=Patch(model="candidate")), APPROVER, NOW_MS)
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM model_aliases WHERE alias = 'candidate'")
    with pytest.raises(Invalid, match="candidate"):
        act(store, "a", Start())
