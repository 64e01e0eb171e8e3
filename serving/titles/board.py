"""The board: reads title states as agents write them, and keeps a snapshot of their features, seconds old at most."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import numpy as np

from serving import metrics
from serving.titles.columns import FEATURES, PANE_MS, Matrix, StatesOf, feature_matrix, moved_on
from serving.titles.snapshot import TitleOrder, TitleSnapshot, empty_snapshot
from streams.catalogue import Catalogue
from streams.errors import Corrupt, MarqueeError
from streams.features.entity_state import EntityState
from streams.features.title import TITLE, TITLE_SHOWN, split_title_key
from streams.features.view import View
from streams.stores.protocol import POSITION_BYTES, StateStore

RENEW_AFTER_MS: Final = 60_000
"""Decays and ages of all titles are renewed this often: the shortest half-life, a day, loses 0.05 % in a minute."""
STATES_A_CHUNK: Final = 250
"""States looked at between pauses: well below a millisecond, so that pages do not wait for the board."""
DURABLE_EVERY: Final = 30
"""While the hot store is away, every so many refreshes read the durable one, which is slower."""

_VIEWS: Final = (TITLE, TITLE_SHOWN)
_log = logging.getLogger(__name__)


def breathe() -> None:
    """Let other threads run: give up the interpreter's lock for a moment."""
    time.sleep(0.0001)


class TitleBoard:
    """Keeps `current`, swapped whole. One thread refreshes; any thread reads.

    States already seen are known by their bytes, so a refresh unpacks only what changed. A state never goes back to a
    lower position, so a store that was lost and is being refilled does no harm.
    """

    def __init__(
        self,
        catalogue: Callable[[], Catalogue],
        hot: StateStore,
        durable: StateStore,
        now_ms: int = 0,
        pause: Callable[[], None] = breathe,
        prepare: Callable[[TitleSnapshot], None] | None = None,
        changed: Callable[[str], set[bytes] | None] = lambda _: None,
    ) -> None:
        """catalogue: returns the newest one. pause: called every STATES_A_CHUNK states. prepare: called with a snapshot
        before it becomes `current`, to compute ahead what pages would wait for. changed: returns the keys of a kind
        whose states in the hot store may have changed since it was last asked, None if any may."""
        self._catalogue = catalogue
        self._hot = hot
        self._durable = durable
        self._pause = pause
        self._prepare = prepare
        self._changed = changed
        self._unread: dict[str, set[bytes] | None] = {view.name: None for view in _VIEWS}
        """By view: the keys that are to be read from the hot store, None for all."""
        self._seen_catalogue = catalogue()
        self.current = empty_snapshot(tuple(self._seen_catalogue), FEATURES, now_ms)
        """The newest snapshot; of no features before the first refresh."""
        self.problem: str | None = None
        """Why the last refresh could not read the hot store, None when it did."""
        self._values: dict[str, dict[bytes, bytes]] = {view.name: {} for view in _VIEWS}
        self._keys: dict[str, dict[str, list[bytes]]] = {view.name: {} for view in _VIEWS}
        """By view: the keys of each title's states, by item id."""
        self._matrix: Matrix = np.zeros(self.current.features.shape)
        self._full_at_ms: int | None = None
        """When every row was last computed from its states."""
        self._away = 0
        self._starts_over = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, interval_s: float, clock_ms: Callable[[], int]) -> None:
        """Refresh now, then every `interval_s` on a thread of its own until `close`."""
        self._refresh_or_log(clock_ms)
        self._thread = threading.Thread(
            target=self._follow, args=(interval_s, clock_ms), name="title-board", daemon=True
        )
        self._thread.start()

    def start_over(self) -> None:
        """Have the next refresh read all states anew, whatever their positions: the stores hold others by now."""
        self._starts_over = True

    def close(self) -> None:
        """Stop refreshing; `current` stays."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def refresh(self, now_ms: int) -> bool:
        """Take in what changed since the last refresh; return whether `current` was swapped.

        Raises nothing: stores that are away leave the snapshot as it is, with the reason in `problem`.
        """
        started = time.perf_counter()
        if self._starts_over:
            self._forget_all()
        changed = self._read_changes()
        catalogue = self._catalogue()
        if catalogue is not self._seen_catalogue or self._full_at_ms is None or self._pane_ended(now_ms):
            self._renew_all(catalogue, now_ms)
            swapped = True
        else:
            swapped = self._renew_changed(changed, now_ms)
        metrics.SNAPSHOT_REFRESH_SECONDS.observe(time.perf_counter() - started)
        metrics.SNAPSHOT_AS_OF_SECONDS.set(self.current.as_of_ms / 1000)
        return swapped

    def _forget_all(self) -> None:
        self._starts_over = False
        self._full_at_ms = None
        for view in _VIEWS:
            self._unread[view.name] = None
            self._values[view.name] = {}
            self._keys[view.name] = {}

    def _follow(self, interval_s: float, clock_ms: Callable[[], int]) -> None:
        while not self._stop.wait(interval_s):
            self._refresh_or_log(clock_ms)

    def _refresh_or_log(self, clock_ms: Callable[[], int]) -> None:
        try:
            self.refresh(clock_ms())
        except Exception:  # noqa: BLE001 - a surprise must end neither the start nor the thread: titles would stand still
            _log.exception("the title board could not be refreshed")

    def _read_changes(self) -> set[str]:
        """Read states that are new or changed; return the item ids of their titles."""
        changed: set[str] = set()
        try:
            self._read_hot(changed)
            self.problem = None
            self._away = 0
            if self._full_at_ms is None:
                self._complete_from_durable(changed)
        except MarqueeError as error:
            self.problem = f"the hot store's title states cannot be read: {error}"
            self._read_durable_instead(changed)
        return changed

    def _complete_from_durable(self, changed: set[str]) -> None:
        """Take in, once, what the hot store may have lost and the durable one kept."""
        try:
            self._scan(self._durable, changed)
        except MarqueeError as error:
            _log.warning("title states of the durable store cannot be read: %s", error)

    def _read_durable_instead(self, changed: set[str]) -> None:
        self._away += 1
        if self._away % DURABLE_EVERY == 1:
            try:
                self._scan(self._durable, changed)
            except MarqueeError as error:
                self.problem = f"title states cannot be read, hot or durable: {error}"

    def _read_hot(self, changed: set[str]) -> None:
        """Take in what may have changed in the hot store; what cannot be read now is read the next time."""
        for view in _VIEWS:
            told, unread = self._changed(view.name), self._unread[view.name]
            self._unread[view.name] = keys = None if told is None or unread is None else unread | told
            if keys is None:
                self._take_in(view, self._hot.scan(view.name), changed)
            else:
                self._take_in(view, self._get(view, sorted(keys)), changed)
            self._unread[view.name] = set()

    def _get(self, view: View, keys: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
        for start in range(0, len(keys), STATES_A_CHUNK):
            some = keys[start : start + STATES_A_CHUNK]
            found = zip(some, self._hot.get(view.name, some), strict=True)
            yield from ((key, value) for key, value in found if value is not None)

    def _scan(self, store: StateStore, changed: set[str]) -> None:
        for view in _VIEWS:
            self._take_in(view, store.scan(view.name), changed)

    def _take_in(self, view: View, entries: Iterable[tuple[bytes, bytes]], changed: set[str]) -> None:
        values, keys = self._values[view.name], self._keys[view.name]
        for key, value in self._paced(entries):
            known = values.get(key)
            if known == value or (known is not None and known[:POSITION_BYTES] >= value[:POSITION_BYTES]):
                continue
            item_id = split_title_key(key)[0]
            if known is None:
                keys.setdefault(item_id, []).append(key)
            values[key] = value
            changed.add(item_id)

    def _paced(self, entries: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        left = STATES_A_CHUNK
        for entry in entries:
            yield entry
            left -= 1
            if not left:
                left = STATES_A_CHUNK
                self._pause()

    def _pane_ended(self, now_ms: int) -> bool:
        return self._full_at_ms is not None and now_ms // PANE_MS != self._full_at_ms // PANE_MS

    def _renew_all(self, catalogue: Catalogue, now_ms: int) -> None:
        """Compute every row from its states."""
        order = self.current.order
        if catalogue is not self._seen_catalogue:
            order = TitleOrder(tuple(catalogue))
        self._matrix = self._computed(order.item_ids, now_ms)
        self._seen_catalogue = catalogue
        self._full_at_ms = now_ms
        self._swap_full(order, now_ms)

    def _renew_changed(self, changed: set[str], now_ms: int) -> bool:
        """Compute the changed rows, and move all on in time if they are too old; return whether anything was done.

        A row that changed since the last renewal is moved on by up to a minute too much, until it changes again or its
        pane ends.
        """
        rows_of = self.current.order.rows
        changed_ids = sorted((item_id for item_id in changed if item_id in rows_of), key=rows_of.__getitem__)
        elapsed_ms = now_ms - self.current.as_of_ms
        renew = abs(elapsed_ms) >= RENEW_AFTER_MS
        if not changed_ids and not renew:
            return False
        matrix = moved_on(self._matrix, elapsed_ms) if renew else self._matrix.copy()
        if changed_ids:
            matrix[[rows_of[item_id] for item_id in changed_ids]] = self._computed(changed_ids, now_ms)
        self._matrix = matrix
        if renew:
            self._swap_full(self.current.order, now_ms)
        else:
            base = self.current.base or self.current
            self._swap(TitleSnapshot(base.order, base.names, matrix.astype(np.float32), base.as_of_ms, base))
        return True

    def _swap_full(self, order: TitleOrder, now_ms: int) -> None:
        self._swap(TitleSnapshot(order, FEATURES, self._matrix.astype(np.float32), now_ms))

    def _swap(self, snapshot: TitleSnapshot) -> None:
        _ = snapshot.address  # computed here, so that no page has to
        if self._prepare is not None:
            self._prepare(snapshot)
        self.current = snapshot

    def _computed(self, item_ids: Iterable[str], now_ms: int) -> Matrix:
        item_ids = list(item_ids)
        metrics.SNAPSHOT_ROWS_CHANGED.inc(len(item_ids))
        chunks = [
            feature_matrix(len(chunk), self._states(TITLE, chunk), self._states(TITLE_SHOWN, chunk), now_ms)
            for chunk in self._paced_chunks(item_ids)
        ]
        return np.concatenate(chunks) if chunks else np.zeros((0, len(FEATURES)))

    def _paced_chunks(self, item_ids: list[str]) -> Iterator[list[str]]:
        for start in range(0, len(item_ids), STATES_A_CHUNK):
            yield item_ids[start : start + STATES_A_CHUNK]
            self._pause()

    def _states(self, view: View, item_ids: list[str]) -> StatesOf:
        keys_of, values = self._keys[view.name], self._values[view.name]
        rows: list[int] = []
        states: list[EntityState] = []
        for row, item_id in enumerate(item_ids):
            for key in keys_of.get(item_id, ()):
                try:
                    states.append(view.unpack(values[key]))
                except Corrupt:
                    metrics.SNAPSHOT_STATES_CORRUPT.inc()
                    continue
                rows.append(row)
        return StatesOf(np.array(rows, np.intp), states)
