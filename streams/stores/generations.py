"""Generations: states of a group of kinds built anew beside those that serve, and which of them count.

The kinds of generation 1 have their plain names, those of generation n end in `@n`. One record in the durable store
says which generation of each group serves, which is being built, and which are left over; a change of it is one write,
made only if nobody else changed it meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Generic, TypeVar

import msgspec

from streams.errors import Corrupt, TryAgain
from streams.stores.protocol import POSITION_BYTES, DurableStore, HistoryRow, Profile, StateEntry, StateStore, tombstone

KIND: Final = "generation"
RECORD_KEY: Final = b"record"

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {"features": ("member", "title"), "shown": ("title_shown",)}
"""The kinds that one agent folds together, by its consumer group: a generation is of all of them."""

OWN_KINDS: Final = ("folded", "refilled")
"""What an agent keeps for itself, of each generation: its marks, and the marker of the hot store."""

FIRST: Final = 1

ATTEMPTS: Final = 20
"""To change the record before others that change it: agents note the versions of their features as they start."""


class Generations(msgspec.Struct, frozen=True):
    """The record. revision: rises with each change. active: the generation that serves, by group, FIRST if left out;
    building, former: likewise what is being built, and what is to be deleted. versions, building_versions: by kind, the
    version of the features in the states that serve, and in those being built."""

    revision: int = 0
    active: dict[str, int] = {}
    building: dict[str, int] = {}
    former: dict[str, list[int]] = {}
    versions: dict[str, str] = {}
    building_versions: dict[str, str] = {}

    def serving(self, group: str) -> int:
        """Return the generation of a group that serves."""
        return self.active.get(group, FIRST)

    def next_number(self, group: str) -> int:
        """Return a number that no generation of the group has had."""
        return max(self.serving(group), self.building.get(group, 0), *self.former.get(group, []), FIRST) + 1

    def of_another_version(self, versions: Mapping[str, str]) -> dict[str, str]:
        """Return the versions that serve of those kinds that the caller has in another one."""
        return {kind: self.versions[kind] for kind, own in versions.items() if self.versions.get(kind, own) != own}


_decoder: Final = msgspec.json.Decoder(Generations)
"""Made here, once: msgspec crashes the process where two threads meet a type for the first time at once."""


def kind_in(kind: str, number: int) -> str:
    """Return what a kind is called in a generation.

    >>> kind_in("member", 1), kind_in("member", 2)
    ('member', 'member@2')
    """
    return kind if number == FIRST else f"{kind}@{number}"


def names_of(numbers: Mapping[str, int]) -> dict[str, str]:
    """Return the names of all kinds of the groups, given each group's generation."""
    return {kind: kind_in(kind, number) for group, number in numbers.items() for kind in GROUPS[group]}


def names_for_agent(group: str, number: int) -> dict[str, str]:
    """Return the names of the kinds that an agent writes, its own included.

    >>> names_for_agent("shown", 2)
    {'title_shown': 'title_shown@2', 'folded': 'folded-shown@2', 'refilled': 'refilled-shown@2'}
    """
    return names_of({group: number}) | {kind: own_kind_in(kind, group, number) for kind in OWN_KINDS}


def own_kind_in(kind: str, group: str, number: int) -> str:
    """Return what a kind that every agent has for itself is called in a generation."""
    return kind if number == FIRST else kind_in(f"{kind}-{group}", number)


def read_generations(durable: StateStore) -> Generations:
    """Return the record, or that of a platform where nothing was ever rebuilt. Raises TryAgain, Corrupt."""
    value = durable.get(KIND, [RECORD_KEY])[0]
    if value is None:
        return Generations()
    try:
        return _decoder.decode(value[POSITION_BYTES:])
    except msgspec.DecodeError as error:
        raise Corrupt(f"the record of generations cannot be read: {error}") from None


def revision_of(durable: StateStore) -> int:
    """Return the record's revision: all that there is to see of most looks at it."""
    return durable.positions(KIND, [RECORD_KEY])[0]


def change_generations(durable: StateStore, change: Callable[[Generations], Generations]) -> Generations:
    """Write what `change` makes of the record, of the newest one whoever else changes it meanwhile; return what is
    written then. Raises what `change` raises; TryAgain when the store is away or others do not cease."""
    for _ in range(ATTEMPTS):
        found = read_generations(durable)
        changed = change(found)
        if changed == found:
            return found
        new = msgspec.structs.replace(changed, revision=found.revision + 1)
        value = tombstone(new.revision) + msgspec.json.encode(new)
        if durable.put(KIND, [StateEntry(RECORD_KEY, value)])[0]:
            return new
    raise TryAgain("the record of generations was changed at the same time", 0.1)


class Names:
    """What kinds are called at the moment; swapped whole."""

    def __init__(self, of: Mapping[str, str] | None = None) -> None:
        self.of: Mapping[str, str] = of or {}


StoreT = TypeVar("StoreT", bound=StateStore)


class GenerationalStore(Generic[StoreT]):
    """A StateStore that calls kinds by the names of a generation. Closing it closes the store below."""

    def __init__(self, store: StoreT, names: Names) -> None:
        self._store = store
        self._names = names

    def get(self, kind: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """See StateStore."""
        return self._store.get(self._names.of.get(kind, kind), keys)

    def positions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        """See StateStore."""
        return self._store.positions(self._names.of.get(kind, kind), keys)

    def versions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        """See StateStore."""
        return self._store.versions(self._names.of.get(kind, kind), keys)

    def put(self, kind: str, entries: Sequence[StateEntry]) -> list[bool]:
        """See StateStore."""
        return self._store.put(self._names.of.get(kind, kind), entries)

    def scan(self, kind: str) -> Iterator[tuple[bytes, bytes]]:
        """See StateStore."""
        return self._store.scan(self._names.of.get(kind, kind))

    def drop(self, kind: str, limit: int) -> int:
        """See StateStore."""
        return self._store.drop(self._names.of.get(kind, kind), limit)

    def close(self) -> None:
        """See StateStore."""
        self._store.close()

    def as_of_now(self) -> GenerationalStore[StoreT]:
        """Return the store with the names of now, for work that must not go over from one generation to another."""
        return GenerationalStore(self._store, Names(self._names.of))


class GenerationalDurableStore(GenerationalStore[DurableStore]):
    """A DurableStore likewise; histories and profiles are the same in all generations."""

    def as_of_now(self) -> GenerationalDurableStore:
        """See GenerationalStore."""
        return GenerationalDurableStore(self._store, Names(self._names.of))

    def write(self, kind: str, entries: Sequence[StateEntry]) -> None:
        """See DurableStore."""
        self._store.write(self._names.of.get(kind, kind), entries)

    def append_history(self, rows: Sequence[HistoryRow]) -> None:
        """See DurableStore."""
        self._store.append_history(rows)

    def history(self, member_id: str, limit: int) -> list[HistoryRow]:
        """See DurableStore."""
        return self._store.history(member_id, limit)

    def put_profiles(self, profiles: Sequence[Profile]) -> None:
        """See DurableStore."""
        self._store.put_profiles(profiles)

    def profile(self, member_id: str) -> Profile | None:
        """See DurableStore."""
        return self._store.profile(member_id)

    def member_ids(self, limit: int) -> list[str]:
        """See DurableStore."""
        return self._store.member_ids(limit)

    def forget(self, member_id: str) -> int:
        """See DurableStore."""
        return self._store.forget(member_id)


class ServingGenerations:
    """Which generation of each group serves, for those who only read: the names of all kinds, renewed by `refresh`.

    versions: of the features in this process, by kind. A generation of others is not taken up: its states could not be
    read, and those of the former one can, as long as they are kept.
    """

    def __init__(self, durable: StateStore, versions: Mapping[str, str], copy: StateStore | None = None) -> None:
        """copy: the hot store, which keeps a copy of the record."""
        self.names = Names()
        self.problem: str | None = None
        """Why the generation that serves is not the one in use, None if it is."""
        self._durable = durable
        self._copy = copy
        self._versions = versions
        self._revision = 0
        self._numbers: dict[str, int] = {}

    def refresh(self) -> bool:
        """Look at the record; return whether kinds have other names since. Raises TryAgain when the store is away."""
        found = self._newer()
        if found is None:
            return False
        self._revision = found.revision
        numbers = {group: found.serving(group) for group in GROUPS}
        foreign = found.of_another_version(self._versions)
        self.problem = None
        for group, kinds in GROUPS.items():
            if any(kind in foreign for kind in kinds) and self._numbers.get(group, numbers[group]) != numbers[group]:
                numbers[group] = self._numbers[group]
                self.problem = (
                    f"the states of {group} that serve are of other features: start with the code that has them"
                )
        self._numbers = numbers
        names = names_of(numbers)
        changed = any(self.names.of.get(kind, kind) != name for kind, name in names.items())
        self.names.of = names
        return changed

    def _newer(self) -> Generations | None:
        """Return the record if it is newer than the one in use, by the copy if the store itself is away or has none."""
        try:
            if revision_of(self._durable) > self._revision:
                return read_generations(self._durable)
        except TryAgain:
            if self._copy is None:
                raise
        if self._copy is not None and revision_of(self._copy) > self._revision:
            return read_generations(self._copy)
        return None


def known_names(found: Generations, kinds: Iterable[str]) -> list[str]:
    """Return what the kinds are called in every generation that there still is, those that serve first."""
    names: list[str] = []
    for kind in kinds:
        group = next((group for group, own in GROUPS.items() if kind in own), None)
        if group is None:
            names.append(kind)
            continue
        numbers = [found.serving(group), *([found.building[group]] if group in found.building else [])]
        names += [kind_in(kind, number) for number in dict.fromkeys([*numbers, *found.former.get(group, [])])]
    return names
