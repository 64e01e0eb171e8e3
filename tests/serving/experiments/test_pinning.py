"""An alias of a running experiment means one model from its start to its end, and what cannot be kept so is told."""

from __future__ import annotations

import random

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from serving.experiments.allocation import Allocation
from serving.experiments.audit import read_audit
from serving.experiments.lifecycle import Edit, Start, Stop
from serving.experiments.pinning import moved_while_running
from serving.experiments.refusals import Conflict
from serving.experiments.roles import Actor
from serving.experiments.standing import Standings
from serving.experiments.store import ExperimentStore
from serving.homepage.treatment import models_wanted
from serving.models.aliases import set_alias
from serving.models.places import MAX_MODELS
from serving.models.registry import CHAMPION
from streams.experiments.definition import Definition, Experiment, Patch, Variant
from tests.serving import tiny_model
from tests.serving.experiments.definitions import definition

EDITOR = Actor("ann", "editor")
NOW_MS = 1_700_000_000_000
OLD, NEW, NEWEST = "0" * 64, "1" * 64, "2" * 64


@pytest.fixture
def engine(sql_engine: sa.Engine) -> sa.Engine:
    for version in (OLD, NEW, NEWEST):
        tiny_model.register(sql_engine, version)
    set_alias(sql_engine, CHAMPION, OLD, "first", NOW_MS - 1)
    set_alias(sql_engine, "candidate", NEW, "trained", NOW_MS - 1)
    return sql_engine


@pytest.fixture
def store(engine: sa.Engine) -> ExperimentStore:
    return ExperimentStore(engine, lambda version: version)


def started(store: ExperimentStore, drafted: Definition) -> Experiment:
    store.create(drafted, EDITOR, NOW_MS)
    return store.act(drafted.id, Start(), EDITOR, NOW_MS, random.Random(1))


def arms(*models: str | None) -> tuple[Variant, ...]:
    return tuple(Variant(f"v{n}", 1 / len(models), Patch(model=model)) for n, model in enumerate(models))


def test_members_get_the_version_that_the_alias_named_at_the_start_wherever_it_moves(
    store: ExperimentStore, engine: sa.Engine
) -> None:
    started(store, definition("a", patch=Patch(model="candidate")))
    set_alias(engine, "candidate", NEWEST, "trained anew", NOW_MS + 1)
    experiment = store.read("a")
    assert experiment.models == {"candidate": NEW}
    assert experiment.definition.variants[1].patch.model == "candidate", "what was written down stays as it was"
    allocation = Allocation([experiment], Patch())
    assert models_wanted(allocation) == {NEW}
    assert {allocation.assign(f"m{n}", {}).patch.model for n in range(40)} == {None, NEW}
    assert [entry.detail.get("models") for entry in read_audit(engine, "a")] == [None, {"candidate": NEW}]
    assert moved_while_running(engine, experiment, NOW_MS + 10) == ()


def test_words_of_a_running_experiment_are_edited_from_the_file_that_names_the_alias(store: ExperimentStore) -> None:
    drafted = definition("a", patch=Patch(model="candidate"))
    started(store, drafted)
    edited = store.act(
        "a", Edit(replace(drafted, hypothesis="It ranks better")), EDITOR, NOW_MS + 1, random.Random(1), expected=2
    )
    assert (edited.definition.hypothesis, edited.models) == ("It ranks better", {"candidate": NEW})


def test_a_version_needs_no_keeping_and_a_draft_keeps_none(store: ExperimentStore) -> None:
    assert started(store, definition("a", patch=Patch(model=NEW))).models == {}
    assert store.create(definition("b", patch=Patch(model="candidate")), EDITOR, NOW_MS).models == {}


def test_an_experiment_whose_models_have_no_place_beside_those_that_run_is_not_started(
    store: ExperimentStore, engine: sa.Engine
) -> None:
    """Seven beside the champion: serving would have to let go of one of them, or leave an arm without its own."""
    for n in range(3, MAX_MODELS + 2):
        tiny_model.register(engine, str(n) * 64)
    seven = arms(*(str(n) * 64 for n in range(3, MAX_MODELS + 2)))
    started(store, definition("a", variants=seven, layer="models", traffic=0.5))
    with pytest.raises(Conflict, match=r"variants: .*7 models .* stop an experiment"):
        started(store, definition("b", patch=Patch(model="candidate"), layer="models", traffic=0.1))
    assert store.read("b").status == "draft"
    same = definition("c", patch=Patch(model="3" * 64), layer="models", traffic=0.1)
    assert started(store, same).status == "running"
    store.act("a", Stop("enough"), EDITOR, NOW_MS, random.Random(1))
    assert store.act("b", Start(), EDITOR, NOW_MS, random.Random(1)).status == "running"


def test_a_champion_that_moves_is_told_where_some_arms_follow_it_and_others_have_a_model(
    store: ExperimentStore, engine: sa.Engine
) -> None:
    half = definition("a", patch=Patch(model="candidate"), layer="models", traffic=0.5)
    mixed = started(store, half)
    both = started(store, replace(half, id="b", variants=arms("candidate", CHAMPION)))
    none = started(store, definition("c", patch=Patch(page_ttl_s=60.0)))
    running = (mixed, both, none)
    assert [moved_while_running(engine, each, NOW_MS + 10) for each in running] == [(), (), ()]
    set_alias(engine, CHAMPION, NEWEST, "trained anew", NOW_MS + 5)
    assert [moved_while_running(engine, each, NOW_MS + 10) for each in running] == [(CHAMPION,), (), ()]
    warnings = Standings(engine).stand(mixed, NOW_MS + 10).report.warnings
    assert "champion came to name another model while the experiment ran" in warnings[0]
    assert "comparisons of variants that name no model with those that do are not those of either model" in warnings[0]
    assert Standings(engine).stand(both, NOW_MS + 10).report.warnings == ()


def test_a_champion_that_moves_is_no_matter_where_only_testers_have_a_model(
    store: ExperimentStore, engine: sa.Engine
) -> None:
    """The arms that get members were all served alike."""
    testers = Variant("testers", 0.0, Patch(model="candidate"))
    experiment = started(store, definition("a", variants=(*arms(None, None), testers), forced={"tess": "testers"}))
    unkept = replace(experiment, models={})
    set_alias(engine, CHAMPION, NEWEST, "trained anew", NOW_MS + 1)
    set_alias(engine, "candidate", NEWEST, "trained anew", NOW_MS + 1)
    assert [moved_while_running(engine, each, NOW_MS + 10) for each in (experiment, unkept)] == [(), ()]


def test_what_moves_after_the_stop_is_not_told(store: ExperimentStore, engine: sa.Engine) -> None:
    started(store, definition("a", patch=Patch(model="candidate")))
    stopped = store.act("a", Stop("enough"), EDITOR, NOW_MS + 1, random.Random(1))
    set_alias(engine, CHAMPION, NEWEST, "trained anew", NOW_MS + 2)
    assert moved_while_running(engine, stopped, NOW_MS + 10) == ()


def test_an_alias_of_an_experiment_that_kept_no_versions_is_told_when_it_moves(
    store: ExperimentStore, engine: sa.Engine
) -> None:
    """One that was started before versions were kept."""
    experiment = replace(started(store, definition("a", patch=Patch(model="candidate"))), models={})
    set_alias(engine, "candidate", NEWEST, "trained anew", NOW_MS + 1)
    assert moved_while_running(engine, experiment, NOW_MS + 10) == ("candidate",)
    assert "variants whose model is candidate" in Standings(engine).stand(experiment, NOW_MS + 10).report.warnings[0]
