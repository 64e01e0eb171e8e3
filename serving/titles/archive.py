"""The archive: snapshots that served pages used, kept for replays as content-addressed files up to a bound of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Final

from serving import metrics
from serving.titles.snapshot import TitleSnapshot
from streams.errors import Corrupt, TryAgain
from streams.stores.blobs import BlobStore

MAX_ARCHIVE_BYTES: Final = 512 << 20
"""About a day of pages at a changed snapshot a second over 10,000 titles; the oldest go first."""
LOADED_SNAPSHOTS: Final = 4
"""Replays of neighbouring pages need the same few; one of 10,000 titles takes about a megabyte."""


class SnapshotArchive:
    """Stores and finds snapshots in a folder of their own. Thread-safe."""

    def __init__(self, root: Path, max_bytes: int = MAX_ARCHIVE_BYTES) -> None:
        self._root = root
        self._blobs = BlobStore(root)
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._sizes: OrderedDict[str, int] | None = None
        """Bytes by address, the oldest first; read from the folder at the first write."""
        self._bytes = 0
        """The sum of `_sizes`: there may be a hundred thousand, and this is asked for each page."""
        self._loaded: OrderedDict[str, TitleSnapshot] = OrderedDict()

    def persist(self, snapshot: TitleSnapshot) -> str:
        """Store a snapshot, and the one it is a difference to; return its address. Blocks on the disk: keep it off the
        request path. A snapshot already there costs a look into memory. Raises TryAgain if it cannot be written."""
        with self._lock:
            sizes = self._known_sizes()
            for part in (snapshot.base, snapshot):
                if part is not None and part.address not in sizes:
                    self._blobs.put(part.to_bytes())
                    sizes[part.address] = len(part.to_bytes())
                    self._bytes += sizes[part.address]
            self._drop_oldest(sizes, keep={snapshot.address, snapshot.base.address if snapshot.base else ""})
            metrics.SNAPSHOTS_STORED_BYTES.set(self._bytes)
        return snapshot.address

    def load(self, address: str) -> TitleSnapshot:
        """Return a stored snapshot. Raises TryAgain if it was never stored, or dropped since; Corrupt if damaged."""
        with self._lock:
            if address in self._loaded:
                self._loaded.move_to_end(address)
                return self._loaded[address]
        snapshot = TitleSnapshot.from_bytes(self._blobs.get(address), self._load_base)
        with self._lock:
            self._loaded[address] = snapshot
            while len(self._loaded) > LOADED_SNAPSHOTS:
                self._loaded.popitem(last=False)
        return snapshot

    def _load_base(self, address: str) -> TitleSnapshot:
        snapshot = TitleSnapshot.from_bytes(self._blobs.get(address))
        if snapshot.base is not None:
            raise Corrupt("a title snapshot's base is itself a difference")
        return snapshot

    def _known_sizes(self) -> OrderedDict[str, int]:
        if self._sizes is None:
            found = []
            try:
                for path in self._root.glob("??/??/*"):
                    if not path.name.startswith("."):
                        status = path.stat()
                        found.append((status.st_mtime_ns, path.name, status.st_size))
            except OSError as error:
                raise TryAgain(f"the snapshot archive cannot be read: {error}") from error
            self._sizes = OrderedDict((name, size) for _, name, size in sorted(found))
            self._bytes = sum(self._sizes.values())
        return self._sizes

    def _drop_oldest(self, sizes: OrderedDict[str, int], keep: set[str]) -> None:
        while self._bytes > self._max_bytes:
            address = next((address for address in sizes if address not in keep), None)
            if address is None:
                return
            try:
                self._blobs.path(address).unlink(missing_ok=True)
            except OSError as error:
                raise TryAgain(f"an old title snapshot cannot be removed: {error}") from error
            self._bytes -= sizes.pop(address)
