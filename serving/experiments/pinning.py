"""Which model an alias in a patch means while an experiment runs: the version that it named at the start.

An alias that moves would put two models into one arm, and the difference of the arms would be that of neither. Arms
whose patch names no model are as pages are by default: they follow the champion, and a report says when it has moved.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace
from sqlalchemy import Connection, Engine, and_, select

from serving.experiments.refusals import Conflict
from serving.models.places import MAX_MODELS
from serving.models.registry import CHAMPION, alias_changes, model_aliases, model_versions
from streams.experiments.definition import Experiment
from streams.stores.sql import reading


def resolve_models(connection: Connection, names: list[str]) -> dict[str, str]:
    """Return the registered version of each name that is an alias or a version; others are left out."""
    if not names:
        return {}
    aliases = select(model_aliases.c.alias, model_aliases.c.version).where(model_aliases.c.alias.in_(names))
    versions = select(model_versions.c.version).where(model_versions.c.version.in_(names))
    found = {version: version for version in connection.scalars(versions)}
    return found | {row.alias: row.version for row in connection.execute(aliases)}


def aliased_at(connection: Connection, alias: str, at_ms: int) -> str | None:
    """Return the version that an alias named at a time, None before it was first set."""
    change = alias_changes.c
    before = and_(change.alias == alias, change.set_at_ms <= at_ms)
    return connection.scalar(select(change.version).where(before).order_by(change.id.desc()).limit(1))


def with_models(connection: Connection, experiment: Experiment) -> Experiment:
    """Return an experiment that keeps the versions that its variants' aliases name now."""
    found = resolve_models(connection, sorted(_named(experiment)))
    return replace(experiment, models={name: version for name, version in found.items() if name != version})


def check_places(experiment: Experiment, running: Sequence[Experiment]) -> None:
    """Raise Conflict where serving could not hold an experiment's models beside those of the running ones: it would
    leave an arm without its own. The champion has a place apart, wherever it moves."""
    taken = {version for each in running for version in _versions(each)}
    added, places = _versions(experiment) - taken, MAX_MODELS - 1
    if added and len(taken) + len(added) > places:
        raise Conflict(
            "variants",
            f"serving holds {places} models beside the champion, and running experiments have {len(taken)} of them; "
            f"stop an experiment that names a model first, or name fewer than these {len(added)} more",
        )


def moved_while_running(engine: Engine, experiment: Experiment, now_ms: int) -> tuple[str, ...]:
    """Return the aliases that moved while members were shown what they name: of variants that keep no version, and the
    champion where some arms follow it and others have a model of their own. Testers' variants, of weight 0, are not
    compared and do not count. Raises TryAgain when the database is away.
    """
    compared = {arm.patch.model for arm in experiment.definition.variants if arm.weight > 0}
    named = {model for model in compared if model is not None}
    followed = named - experiment.models.keys()
    if named and None in compared:
        followed |= {CHAMPION}
    if experiment.started_at_ms is None or not followed:
        return ()
    change, until_ms = alias_changes.c, experiment.stopped_at_ms or now_ms
    meanwhile = and_(change.set_at_ms > experiment.started_at_ms, change.set_at_ms <= until_ms)
    moves = select(change.alias).where(change.alias.in_(sorted(followed)), meanwhile).distinct()
    with reading(engine) as connection:
        return tuple(sorted(connection.scalars(moves)))


def _versions(experiment: Experiment) -> set[str]:
    return {experiment.models.get(name, name) for name in _named(experiment)}


def _named(experiment: Experiment) -> set[str]:
    return {variant.patch.model for variant in experiment.definition.variants if variant.patch.model}
