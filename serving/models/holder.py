"""The models in service, by name: followed in the background, swapped whole, never worse than the last good one.

A name is an alias of the registry or a version. The champion is always followed, others while somebody wants them: the
experiments that run, and the defaults that shipped ones have left.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import sqlalchemy as sa

from serving import metrics
from serving.models.loader import load_model
from serving.models.places import MAX_MODELS
from serving.models.registry import CHAMPION, aliased_version
from serving.ranking.model import RankingModel
from streams.errors import Corrupt, MarqueeError
from streams.stores.blobs import BlobStore

FOLLOWED: Final = (CHAMPION,)
"""The aliases that serve whoever wants them."""

VERSION: Final = re.compile(r"[0-9a-f]{64}")

REFRESHES_UNTIL_RETRY: Final = 15
"""A model that failed its checks is tried again after this many refreshes: its files may have been restored."""

Prepare = Callable[[RankingModel], None]
_log = logging.getLogger(__name__)


class ModelHolder:
    """Follows names of models. `current`, `models` and `versions` are swapped whole, so that a page keeps one view.

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
        wanted: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        """prepare: called with a new model before it serves (to bind the current snapshot, say). wanted: further names
        that are to be followed now; what is in service stays, and of more new ones than MAX_MODELS has places for, the
        last in order are refused."""
        self._engine = engine
        self._blobs = blobs
        self._refresh_s = refresh_s
        self._aliases = tuple(aliases)
        self._prepare = prepare
        self._wanted = wanted
        self._models: Mapping[str, RankingModel] = MappingProxyType({})
        self.versions: Mapping[str | None, str] = {}
        """The versions in service by name, and by None the champion's. A plain attribute: each cache hit looks."""
        self._refused: dict[str, tuple[str, int]] = {}
        """By name: the version that failed its checks, and how many refreshes to wait before the next try."""
        self._refusals: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def models(self) -> Mapping[str, RankingModel]:
        """The models in service by name, immutable."""
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
        """Why, by name, a model that is wanted does not serve, or not the version that its alias names."""
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
        wanted = set(self._wanted()).difference(self._aliases)
        names = (*self._aliases, *sorted(wanted, key=lambda name: (name not in self._models, name)))
        self._forget_all_but(names)
        swapped = [self._refresh_name(name) for name in names]
        return any(swapped)

    def _follow(self) -> None:
        while not self._stop.wait(self._refresh_s):
            self._refresh_or_log()

    def _refresh_or_log(self) -> None:
        try:
            self.refresh()
        except Exception:  # noqa: BLE001 - a surprise must end neither the start nor the thread: no model would be swapped
            _log.exception("the models could not be refreshed")

    def _forget_all_but(self, names: Sequence[str]) -> None:
        """Let go of what nobody wants any more."""
        for name in (self._refusals.keys() | self._refused.keys()).difference(names):
            self._refusals.pop(name, None)
            self._refused.pop(name, None)
        if not self._models.keys() <= set(names):
            self._swap({name: model for name, model in self._models.items() if name in names})

    def _refresh_name(self, alias: str) -> bool:
        try:
            version = alias if VERSION.fullmatch(alias) else aliased_version(self._engine, alias)
        except MarqueeError as error:
            self._refusals[alias] = f"the registry cannot be read: {error}"
            return False
        serving = self._models.get(alias)
        if version is None or (serving is not None and serving.version == version):
            self._refused.pop(alias, None)
            self._refusals.pop(alias, None)
            if version is None and alias != CHAMPION:
                self._refusals[alias] = "no model has this alias"
            return self._drop(alias) if version is None else False
        if not self._has_place(alias, version):
            self._refusals[alias] = f"{MAX_MODELS} models are in service already"
            return False
        return False if self._waits(alias, version) else self._take(alias, version)

    def _has_place(self, alias: str, version: str) -> bool:
        """Return whether one more model may be in memory for this alias. Those always followed have places of their
        own; a model that serves already takes no second one."""
        if alias in self._aliases or self._loaded(version) is not None:
            return True
        others = {model.version for name, model in self._models.items() if name != alias}
        yet_to_come = len(set(self._aliases).difference(self._models))
        return len(others) + yet_to_come < MAX_MODELS

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
        versions: dict[str | None, str] = {name: model.version for name, model in models.items()}
        if CHAMPION in versions:
            versions[None] = versions[CHAMPION]
        self.versions = versions
        metrics.MODEL_INFO.clear()
        for alias, model in models.items():
            metrics.MODEL_INFO.labels(alias, model.version).set(1)
