"""Which generation of its states an agent folds into: the one that serves, from one take-over to the next."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

import msgspec

from streams.errors import Fenced, TryAgain
from streams.stores.generations import (
    GROUPS,
    KIND,
    RECORD_KEY,
    GenerationalDurableStore,
    GenerationalStore,
    Generations,
    Names,
    change_generations,
    names_for_agent,
    read_generations,
    revision_of,
)
from streams.stores.protocol import DurableStore, StateEntry, StateStore

logger = logging.getLogger(__name__)

OTHER_CODE_S: Final = 5.0
"""How soon an agent of other code looks again: an operator is at work."""


class Generation(Protocol):
    """What an agent asks about the generation of its states."""

    def begin(self) -> None:
        """Take up the generation that serves; nothing is held of another. Raises TryAgain if it is none of ours."""
        ...

    def check(self) -> None:
        """Raise Fenced if another generation serves by now: all that is held is to be dropped, and begun in that."""
        ...


class OnlyGeneration:
    """The one generation of stores that have no others."""

    def begin(self) -> None:
        """Do nothing."""

    def check(self) -> None:
        """Do nothing."""


class FollowedStores(NamedTuple):
    """The stores of one agent, in the generation that serves."""

    hot: StateStore
    durable: DurableStore
    generation: Generation


def follow_generation(
    group: str, hot: StateStore, durable: DurableStore, versions: Mapping[str, str]
) -> FollowedStores:
    """Return the stores as an agent of the group sees them. versions: of the features in its states, by kind."""
    names = Names()
    own = {kind: version for kind, version in versions.items() if kind in GROUPS[group]}
    generation = ServingGeneration(group, hot, durable, names, own)
    return FollowedStores(GenerationalStore(hot, names), GenerationalDurableStore(durable, names), generation)


class ServingGeneration:
    """The generation of a group that serves, by the record in the durable store. The hot store keeps a copy of the
    record, for the day on which the durable one is lost."""

    def __init__(
        self, group: str, hot: StateStore, durable: DurableStore, names: Names, versions: Mapping[str, str]
    ) -> None:
        self._group = group
        self._hot = hot
        self._durable = durable
        self._names = names
        self._versions = versions
        self._number = 0
        self._revision = 0

    def begin(self) -> None:
        """Take up the generation that serves, if its features are in our versions."""
        if not revision_of(self._durable):
            self._restore()
        found = change_generations(self._durable, self._with_versions)
        self._number, self._revision = found.serving(self._group), found.revision
        self._names.of = names_for_agent(self._group, self._number)
        self._copy()

    def check(self) -> None:
        """Raise Fenced if another generation serves by now, or the record was lost."""
        revision = revision_of(self._durable)
        if revision == self._revision:
            return
        found = read_generations(self._durable)
        if found.serving(self._group) != self._number or revision < self._revision:
            raise Fenced(f"generation {found.serving(self._group)} of {self._group} serves now, not {self._number}")
        self._revision = revision
        self._copy()

    def _with_versions(self, found: Generations) -> Generations:
        """Return the record with our versions noted in it. Raises TryAgain for states of other ones."""
        foreign = found.of_another_version(self._versions)
        if foreign:
            kinds = ", ".join(f"{kind} {version}" for kind, version in sorted(foreign.items()))
            raise TryAgain(
                f"the states that serve are of other features ({kinds}) than this code's: "
                "`marquee rebuild` builds states of this code's beside them; or start the code that they are of",
                OTHER_CODE_S,
            )
        return msgspec.structs.replace(found, versions={**found.versions, **self._versions})

    def _restore(self) -> None:
        """Put the hot store's copy of the record into a durable store that has lost it."""
        copy = self._hot.get(KIND, [RECORD_KEY])[0]
        if copy is not None:
            self._durable.put(KIND, [StateEntry(RECORD_KEY, copy)])
            logger.warning("the durable store had lost the record of generations; the hot one had it")

    def _copy(self) -> None:
        record = self._durable.get(KIND, [RECORD_KEY])[0]
        if record is not None:
            self._hot.put(KIND, [StateEntry(RECORD_KEY, record)])
