"""What is away now: each engine is asked the cheapest question there is, all at once and within a bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock
from typing import Final

from serving.catalogue_holder import CatalogueHolder
from serving.experiments.exposing import ExposureLog
from serving.experiments.live import LiveExperiments
from serving.homepage.impression_log import ImpressionLog
from serving.models.holder import ModelHolder
from streams.event_log.protocol import EventLog
from streams.features.member import MEMBER
from streams.stores.live_reads import LiveReads
from streams.stores.protocol import StateStore
from streams.topics import MEMBER_EVENTS

ANSWER_S: Final = 1.0
"""An engine that takes longer is away for pages, which wait for a tenth of it; and whoever asks has a timeout, too."""

_NOBODY = [b"\x00"]
"""A key that no member has: ids have no control characters."""

Question = Callable[[], object]


class EngineProbe:
    """Asks engines whether they are there, each in a thread of its own: one that hangs keeps no other from answering,
    and is not asked again before it has answered. Thread-safe."""

    def __init__(self, questions: Mapping[str, Question], answer_s: float = ANSWER_S) -> None:
        """questions: by the engine's name; one that raises says why the engine is away."""
        self._questions = questions
        self._answer_s = answer_s
        self._pool = ThreadPoolExecutor(max(1, len(questions)), thread_name_prefix="engine-probe")
        self._asked: dict[str, Future[str | None]] = {}
        self._lock = Lock()

    def ask(self) -> dict[str, str | None]:
        """Return by engine why it is away, None if it is not. Blocks for as long as `answer_s`."""
        with self._lock:
            for name, question in self._questions.items():
                if name not in self._asked or self._asked[name].done():
                    self._asked[name] = self._pool.submit(_ask, question)
            asked = dict(self._asked)
        wait(asked.values(), self._answer_s)
        late = f"no answer within {self._answer_s:g} s"
        return {name: future.result() if future.done() else late for name, future in asked.items()}

    def close(self) -> None:
        """Ask no more; a question that hangs is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def engine_probe(log: EventLog, hot: StateStore, durable: StateStore) -> EngineProbe:
    """Return a probe of the engines that serving uses."""
    return EngineProbe(
        {
            "log": lambda: log.end_offset(MEMBER_EVENTS, 0),
            "hot": lambda: hot.positions(MEMBER.name, _NOBODY),
            "durable": lambda: durable.positions(MEMBER.name, _NOBODY),
        }
    )


def find_problems(
    engines: EngineProbe,
    live: LiveReads,
    catalogue: CatalogueHolder,
    models: ModelHolder,
    impressions: ImpressionLog,
    exposures: ExposureLog,
    experiments: LiveExperiments,
) -> dict[str, str]:
    """Return what is away, by part, with the reason; empty when all is well. Blocks for as long as ANSWER_S."""
    found = engines.ask()
    found |= {
        "hot": found["hot"] or live.problem,
        "catalogue": catalogue.problem or (None if catalogue.current else "no titles are published"),
        "model": (models.refusal or "none is registered") if models.current is None else None,
        "impressions": impressions.problem,
        "exposures": exposures.problem,
        "experiments": experiments.problem,
    }
    return {part: problem for part, problem in found.items() if problem is not None}


def _ask(question: Question) -> str | None:
    try:
        question()
    except Exception as error:  # noqa: BLE001 - whatever ails an engine, this is where one asks
        return str(error) or error.__class__.__name__
    return None
