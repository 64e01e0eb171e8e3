"""What may be believed of states without asking: their versions as last read, until Redis says that they changed.

No I/O and no clock; whoever holds the connections says what happened on them, in the order in which it did.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final

from streams.stores.redis.keys import Keys

MAX_VERSIONS: Final = 100_000
"""Versions remembered (some 200 bytes each); beyond that the one that was not asked for the longest goes."""

MAX_CHANGED: Final = 100_000
"""Changed keys of a kind that wait for their caller; beyond that it is told to scan everything."""


class Known:
    """Versions by kind and key, and the keys of each kind that changed since they were last asked for."""

    def __init__(
        self, kinds: Mapping[str, Keys], max_versions: int = MAX_VERSIONS, max_changed: int = MAX_CHANGED
    ) -> None:
        self.kinds = kinds
        self._max_versions = max_versions
        self._max_changed = max_changed
        self._versions: OrderedDict[tuple[str, bytes], int] = OrderedDict()
        self._changed: dict[str, set[bytes] | None] = dict.fromkeys(kinds)

    def version(self, kind: str, key: bytes) -> int | None:
        """Return a version that may be believed, None if there is none."""
        found = self._versions.get((kind, key))
        if found is not None:
            self._versions.move_to_end((kind, key))
        return found

    def remember(self, kind: str, key: bytes, version: int) -> None:
        """Note a version that was just read; of a kind whose changes are not told, it is not kept."""
        if kind in self.kinds:
            self._versions[kind, key] = version
            self._versions.move_to_end((kind, key))
            if len(self._versions) > self._max_versions:
                self._versions.popitem(last=False)

    def forget(self, names: Iterable[bytes]) -> None:
        """Note that states changed, by the names of their Redis keys."""
        for name in names:
            for kind, keys in self.kinds.items():
                key = keys.key(name)
                if key is not None:
                    self._versions.pop((kind, key), None)
                    self._note(kind, key)

    def forget_all(self) -> None:
        """Note that any state may have changed."""
        self._versions.clear()
        self._changed = dict.fromkeys(self.kinds)

    def take_changed(self, kind: str) -> set[bytes] | None:
        """Return the keys that changed since the last call, None if any may have (or the kind's changes are not told);
        the next call tells of what happens from now on."""
        changed = self._changed.get(kind)
        if kind in self.kinds:
            self._changed[kind] = set()
        return changed

    def _note(self, kind: str, key: bytes) -> None:
        changed = self._changed[kind]
        if changed is not None:
            changed.add(key)
            if len(changed) > self._max_changed:
                self._changed[kind] = None
