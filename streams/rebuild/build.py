"""`marquee rebuild`: states of the next generation, built beside those that serve, and the change over to them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from streams.agents.backoff import Backoff
from streams.agents.catalogue_source import CatalogueSource
from streams.agents.dead_letters import DeadLetters
from streams.agents.feature_agent import FeatureAgent
from streams.agents.folding_agent import FoldingAgent
from streams.agents.shown_agent import ShownAgent
from streams.errors import FixRequest, SlowDown, TryAgain
from streams.event_log.open import open_event_log
from streams.event_log.protocol import EventLog
from streams.features.replay import feature_versions
from streams.rebuild.feeding import Fed, Feeding, NewLetters, Source, patiently
from streams.rebuild.past import Past
from streams.rebuild.tombstones import HotUnderConstruction
from streams.settings import Settings
from streams.stores.generations import (
    FIRST,
    GROUPS,
    KIND,
    OWN_KINDS,
    RECORD_KEY,
    GenerationalDurableStore,
    Generations,
    Names,
    change_generations,
    kind_in,
    names_for_agent,
    own_kind_in,
    read_generations,
)
from streams.stores.open import open_durable, open_hot
from streams.stores.protocol import DurableStore, StateEntry, StateStore
from streams.stores.sql import open_sql
from streams.warehouse.root import root_of

CAUGHT_UP: Final = 500
"""Records behind the log's end at which the new generation takes over: the live agents fold so many in a blink."""

SETTLE_S: Final = 6.0
"""After the change over, until the former generation is deleted: agents look as they begin to write, two seconds after
their last write at the latest; serving looks every second."""

DROP_STATES: Final = 500
"""States deleted in one step: live writes take turns with it."""

PATIENCE_S: Final = 120.0
"""How long a store or the log may be away before the command gives up. Run again, it goes on."""

IDLE_S: Final = 0.05


class Progress(NamedTuple):
    """Where a rebuild is. done, total: records, or states deleted (total 0: not known)."""

    group: str
    phase: str
    done: int
    total: int


Report = Callable[[Progress], None]


@dataclass(frozen=True)
class Rebuilt:
    """What came of a rebuild. numbers: the generation by group; switched: whether it serves; kept: former generations
    that are still there, by group; left_out: records that were passed over, by partition."""

    numbers: Mapping[str, int]
    fed: Mapping[str, Fed]
    switched: bool
    kept: Mapping[str, Sequence[int]]
    left_out: Mapping[str, int]


class Engines(NamedTuple):
    """What a rebuild works on; the stores without any generation's names."""

    settings: Settings
    log: EventLog
    hot: StateStore
    durable: DurableStore
    catalogue: CatalogueSource


def open_engines(settings: Settings, stack: ExitStack) -> Engines:
    """Return the engines that the settings name; `stack` closes them."""
    log, sql = open_event_log(settings), open_sql(settings)
    hot, durable = open_hot(settings), open_durable(settings)
    for close in (log.close, sql.dispose, hot.close, durable.close):
        stack.callback(close)
    return Engines(settings, log, hot, durable, CatalogueSource(sql))


def groups_of(kinds: Iterable[str]) -> list[str]:
    """Return the groups that the kinds belong to, all groups for none. Raises FixRequest for an unknown kind."""
    wanted = set(kinds)
    known = {kind for own in GROUPS.values() for kind in own}
    if wanted - known:
        raise FixRequest("--kinds", f"{', '.join(sorted(wanted - known))}: there are {', '.join(sorted(known))}")
    return [group for group, own in GROUPS.items() if not wanted or wanted & set(own)]


def rebuild(
    engines: Engines,
    groups: Sequence[str],
    source: Source = "auto",
    *,
    switch: bool = True,
    keep_old: bool = False,
    report: Report = lambda _progress: None,
    settle_s: float = SETTLE_S,
) -> Rebuilt:
    """Build the groups' next generation until it has caught up with the log; have it serve; delete the former one.

    One that was begun and not finished goes on, if it is of the same features. The former one is kept if `keep_old`, or
    if its features are of other versions: processes of that code may still need it. Raises FixRequest for records that
    are nowhere, TryAgain when an engine has been away for PATIENCE_S.
    """
    found = _begin(engines, groups, report)
    numbers = {group: found.building[group] for group in groups}
    feedings = {group: _feeding(engines, group, numbers[group], source) for group in groups}
    for group, feeding in feedings.items():
        _patient(feeding, feeding.begin)
        fed = feeding.fed
        _patient(feeding, lambda feeding=feeding, group=group: feeding.feed_past(_past_reporter(report, group)))  # type: ignore[misc]
        while True:
            _patient(feeding, feeding.follow)
            report(Progress(group, "log", fed.from_log, fed.from_log + fed.left))
            if fed.left <= CAUGHT_UP:
                break
    _catch_up(feedings, report)
    other = bool(found.of_another_version(_versions(groups)))
    if switch:
        found = _switch(engines, numbers, groups)
        if not (keep_old or other):
            time.sleep(settle_s)
            found = drop_former(engines, groups, report)
    return Rebuilt(
        numbers,
        {group: feeding.fed for group, feeding in feedings.items()},
        switch,
        {group: found.former[group] for group in groups if found.former.get(group)},
        {place: count for feeding in feedings.values() for place, count in feeding.fed.left_out.items()},
    )


def drop_former(engines: Engines, groups: Sequence[str], report: Report = lambda _progress: None) -> Generations:
    """Delete the generations that are left over, a few states at a time; return the record then."""
    for group in groups:
        for number in read_generations(engines.durable).former.get(group, []):
            _drop(engines, group, number, report)
            change_generations(engines.durable, partial(_without, group=group, number=number))
    return read_generations(engines.durable)


def _without(found: Generations, group: str, number: int) -> Generations:
    left = [other for other in found.former.get(group, []) if other != number]
    return msgspec.structs.replace(found, former={**found.former, group: left})


def _drop(engines: Engines, group: str, number: int, report: Report) -> None:
    names = [kind_in(kind, number) for kind in GROUPS[group]]
    if number != FIRST:  # the first generation's marks lie among those of other groups
        names += [own_kind_in(kind, group, number) for kind in OWN_KINDS]
    count = 0
    for store in (engines.hot, engines.durable):
        for name in names:
            while dropped := store.drop(name, DROP_STATES):
                count += dropped
                report(Progress(group, f"deleting generation {number}", count, 0))


def _versions(groups: Iterable[str]) -> dict[str, str]:
    own = {kind for group in groups for kind in GROUPS[group]}
    return {kind: version for kind, version in feature_versions().items() if kind in own}


def _begin(engines: Engines, groups: Sequence[str], report: Report) -> Generations:
    """Return the record, with a generation of this code's features under construction for each group."""
    return change_generations(engines.durable, partial(_with_building, engines, groups, report))


def _with_building(engines: Engines, groups: Sequence[str], report: Report, found: Generations) -> Generations:
    versions = _versions(groups)
    building, former = dict(found.building), {group: list(left) for group, left in found.former.items()}
    for group in groups:
        number = building.get(group)
        of_ours = all(found.building_versions.get(kind) == versions[kind] for kind in GROUPS[group])
        if number is not None and not of_ours:
            _drop(engines, group, number, report)
            former.setdefault(group, []).append(number)  # a rebuild that still runs may write to it
            building.pop(group)
        if group not in building:
            next_number = msgspec.structs.replace(found, building=building, former=former).next_number(group)
            building[group] = next_number
    return msgspec.structs.replace(
        found, building=building, former=former, building_versions={**found.building_versions, **versions}
    )


def _feeding(engines: Engines, group: str, number: int, source: Source) -> Feeding:
    names = Names(names_for_agent(group, number))
    serving = names_for_agent(group, read_generations(engines.durable).serving(group))
    hot = HotUnderConstruction(engines.hot, engines.durable, names, serving)
    durable = GenerationalDurableStore(engines.durable, names)
    letters = NewLetters(engines.log, group, DeadLetters(engines.log))
    agent: FoldingAgent[Any, Any]
    if group == FeatureAgent.name:
        agent = FeatureAgent(engines.catalogue, hot, durable, letters, engines.log, members_held=10_000)
    else:
        agent = ShownAgent(hot, durable, letters, engines.log)
    return Feeding(agent, engines.log, durable, Past(root_of(engines.settings), agent.topics[0]), source)


def _catch_up(feedings: Mapping[str, Feeding], report: Report) -> None:
    """Follow the log with all groups until each is at its end, or nearly so, with everything written."""
    for group, feeding in feedings.items():
        while True:
            _patient(feeding, feeding.follow)
            report(Progress(group, "catching up", feeding.fed.from_log, feeding.fed.from_log + feeding.fed.left))
            if feeding.fed.left <= CAUGHT_UP:
                break
            time.sleep(IDLE_S)
    for feeding in feedings.values():
        _patient(feeding, feeding.write)


def _switch(engines: Engines, numbers: Mapping[str, int], groups: Sequence[str]) -> Generations:
    """Have the new generation serve: one write of the record."""
    written = change_generations(engines.durable, partial(_with_serving, numbers, groups))
    record = engines.durable.get(KIND, [RECORD_KEY])[0]
    if record is not None:
        engines.hot.put(KIND, [StateEntry(RECORD_KEY, record)])
    return written


def _with_serving(numbers: Mapping[str, int], groups: Sequence[str], found: Generations) -> Generations:
    if any(found.building.get(group) != number for group, number in numbers.items()):
        raise FixRequest("rebuild", "another rebuild has gone ahead of this one; look with `marquee rebuild --status`")
    return msgspec.structs.replace(
        found,
        active={**found.active, **numbers},
        building={group: number for group, number in found.building.items() if group not in numbers},
        former={**found.former, **{group: [*found.former.get(group, []), found.serving(group)] for group in groups}},
        versions={**found.versions, **_versions(groups)},
    )


def _past_reporter(report: Report, group: str) -> Callable[[Fed], None]:
    return lambda fed: report(Progress(group, "warehouse", fed.from_warehouse, 0))


def _patient(feeding: Feeding, step: Callable[[], object]) -> None:
    """Do a step, again and again while an engine is away, for PATIENCE_S at most."""
    backoff, attempt, until_s = Backoff(), 0, time.monotonic() + PATIENCE_S
    while True:
        try:
            patiently(feeding, step)
        except (TryAgain, SlowDown) as error:
            attempt += 1
            if time.monotonic() > until_s:
                raise
            time.sleep(min(backoff.first_s * 2**attempt, error.retry_after_s, backoff.max_s))
        else:
            return
