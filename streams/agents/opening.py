"""Agents by name, with the engines of the settings."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Final

from streams.agents.catalogue_source import CatalogueSource
from streams.agents.dead_letters import DeadLetters
from streams.agents.experiment_agent import ExperimentAgent
from streams.agents.feature_agent import FeatureAgent
from streams.agents.generation import follow_generation
from streams.agents.protocol import Agent
from streams.agents.shown_agent import ShownAgent
from streams.agents.warehouse_sink import open_sink
from streams.errors import FixRequest
from streams.event_log.protocol import EventLog
from streams.features.replay import feature_versions
from streams.settings import Settings
from streams.stores.metered import open_metered_durable, open_metered_hot
from streams.stores.sql import open_sql

FEATURES: Final = "features"
SINK: Final = "sink"
EXPERIMENTS: Final = "experiments"
NAMES: Final = (FEATURES, SINK, EXPERIMENTS)


def check_names(names: Sequence[str]) -> None:
    """Raise FixRequest unless there is a name, and only known ones."""
    unknown = set(names) - set(NAMES)
    if unknown or not names:
        raise FixRequest("agents", f"{', '.join(sorted(unknown)) or 'none'} named; there are {', '.join(NAMES)}")


def open_agents(names: Sequence[str], settings: Settings, log: EventLog, stack: contextlib.ExitStack) -> list[Agent]:
    """Return the named agents; `stack` closes what they use."""
    chosen: list[Agent] = []
    if FEATURES in names:
        chosen += _feature_agents(settings, log, stack)
    if SINK in names:
        chosen.append(open_sink(settings, log))
    if EXPERIMENTS in names:
        chosen.append(_experiment_agent(settings, log, stack))
    return chosen


def _feature_agents(settings: Settings, log: EventLog, stack: contextlib.ExitStack) -> list[Agent]:
    engine = open_sql(settings)
    stack.callback(engine.dispose)
    hot, durable = open_metered_hot(settings), open_metered_durable(settings)
    stack.callback(hot.close)
    stack.callback(durable.close)
    dead_letters = DeadLetters(log)
    features, shown = (follow_generation(group, hot, durable, feature_versions()) for group in ("features", "shown"))
    return [
        FeatureAgent(
            CatalogueSource(engine),
            features.hot,
            features.durable,
            dead_letters,
            log,
            generation=features.generation,
            executor=_executor("features", settings, stack),
        ),
        ShownAgent(
            shown.hot,
            shown.durable,
            dead_letters,
            log,
            generation=shown.generation,
            executor=_executor("shown", settings, stack),
        ),
    ]


def _experiment_agent(settings: Settings, log: EventLog, stack: contextlib.ExitStack) -> ExperimentAgent:
    engine, durable = open_sql(settings), open_metered_durable(settings)
    stack.callback(engine.dispose)
    stack.callback(durable.close)
    return ExperimentAgent(engine, durable, log, DeadLetters(log))


def _executor(agent: str, settings: Settings, stack: contextlib.ExitStack) -> Executor | None:
    """Return what writes beside an agent's fold, where the durable store is a server's; a file is written faster."""
    if settings.scheme_of(settings.durable_url) == "sqlite":
        return None
    return stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix=f"{agent}-writer"))
