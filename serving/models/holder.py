"""The models in service, by alias: followed in the background, swapped whole, never worse than the last good one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import sqlalchemy as sa

from serving import metrics
from serving.models.loader import load_model
from serving.models.registry import CHAMPION, aliased_version
from serving.ranking.model import RankingModel
from streams.errors import Corrupt, MarqueeError
from streams.stores.blobs import BlobStore

FOLLOWED: Final = (CHAMPION,)
"""The aliases that serve side by side; experiments add "baseline" and "candidate"."""

REFRESHES_UNTIL_RETRY: Final = 15
"""A model that failed its checks is tried again after this many refreshes: its files may have been restored."""

Prepare = Callable[[RankingModel], None]
_log = logging.getLogger(__name__)


class ModelHolder:
    """Follows aliases of the registry. `current` and `models` are swapped whole, so that a page keeps one view.

    A model that fails its checks is refused, and tried again after REFRESHES_UNTIL_RETRY or when the alias moves; one
    whose blobs or database are away is tried at every refresh. Whatever happens, the model in service stays.
    """

    def __init__(
        self,
        engine: sa.Engine,
        blobs: BlobStore,
        refresh_s: float,
        aliases: Sequence[str] = FOLLOWED,
        prepare: Prepare | None = None,
    ) -> None:
        """prepare: called with a new model before it serves (to bind the current snapshot, say)."""
        self._engine = engine
        self._blobs = blobs
        self._refresh_s = refresh_s
        self._aliases = tuple(aliases)
        self._prepare = prepare
        self._models: Mapping[str, RankingModel] = MappingProxyType({})
        self._refused: dict[str, tuple[str, int]] = {}
        """By alias: the version that failed its checks, and how many refreshes to wait before the next try."""
        self._refusals: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def models(self) -> Mapping[str, RankingModel]:
        """The models in service by alias, immutable."""
        return self._models

    @property
    def current(self) -> RankingModel | None:
        """The champion, None until one was loaded."""
        return self._models.get(CHAMPION)

    @property
    def refusal(self) -> str | None:
        """Why the champion in service is not the one that the registry names, None if it is."""
        return self._refusals.get(CHAMPION)

    @property
    def refusals(self) -> Mapping[str, str]:
        """Why, by alias, a model that the registry names does not serve."""
        return MappingProxyType(dict(self._refusals))

    def start(self) -> None:
        """Refresh now, then every `refresh_s` on a thread of its own until `close`."""
        self._refresh_or_log()
        self._thread = threading.Thread(target=self._follow, name="model-holder", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop following. The models stay usable."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def refresh(self) -> bool:
        """Look where the aliases point and load what is new; return whether any model was swapped. Raises nothing."""
        swapped = [self._refresh_alias(alias) for alias in self._aliases]
        return any(swapped)

    def _follow(self) -> None:
        while not self._stop.wait(self._refresh_s):
            self._refresh_or_log()

    def _refresh_or_log(self) -> None:
        try:
            self.refresh()
        except Exception:  # noqa: BLE001 - a surprise must end neither the start nor the thread: no model would be swapped
            _log.exception("the models could not be refreshed")

    def _refresh_alias(self, alias: str) -> bool:
        try:
            version = aliased_version(self._engine, alias)
        except MarqueeError as error:
            self._refusals[alias] = f"the registry cannot be read: {error}"
            return False
        serving = self._models.get(alias)
        if version is None or (serving is not None and serving.version == version):
            self._refused.pop(alias, None)
            self._refusals.pop(alias, None)
            return self._drop(alias) if version is None else False
        return False if self._waits(alias, version) else self._take(alias, version)

    def _waits(self, alias: str, version: str) -> bool:
        """Return whether a refused version is not to be tried at this refresh, and count it."""
        refused, waits = self._refused.get(alias, ("", 0))
        if refused != version or waits == 0:
            return False
        self._refused[alias] = (refused, waits - 1)
        return True

    def _take(self, alias: str, version: str) -> bool:
        try:
            model = self._loaded(version) or load_model(self._blobs, version)
            if self._prepare is not None:
                self._prepare(model)
        except MarqueeError as error:
            self._refuse(alias, version, error)
            return False
        self._refused.pop(alias, None)
        self._refusals.pop(alias, None)
        self._swap({**self._models, alias: model})
        metrics.MODEL_SWAPS.labels(alias).inc()
        return True

    def _loaded(self, version: str) -> RankingModel | None:
        """Return a model that already serves under another alias."""
        return next((model for model in self._models.values() if model.version == version), None)

    def _refuse(self, alias: str, version: str, error: MarqueeError) -> None:
        if isinstance(error, Corrupt):
            self._refused[alias] = (version, REFRESHES_UNTIL_RETRY)
            metrics.MODEL_REFUSALS.labels(alias).inc()
        self._refusals[alias] = f"model {version[:12]} is refused: {error}"

    def _drop(self, alias: str) -> bool:
        """Take an alias that was removed out of service; the champion stays, because some model is better than none."""
        if alias == CHAMPION or alias not in self._models:
            return False
        self._swap({name: model for name, model in self._models.items() if name != alias})
        return True

    def _swap(self, models: dict[str, RankingModel]) -> None:
        self._models = MappingProxyType(models)
        metrics.MODEL_INFO.clear()
        for alias, model in models.items():
            metrics.MODEL_INFO.labels(alias, model.version).set(1)
