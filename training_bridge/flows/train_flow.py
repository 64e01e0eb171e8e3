"""The training flow: `python training_bridge/flows/train_flow.py run`, or `marquee train`.

    start       read the warehouse, split by time, store the dataset's manifest
      train     train on the events before the split
      evaluate  predict those after it, beside the champion and popularity
      export    (beside these two) train on all events; graph, neighbours and manifest into the blobs
    register    add it to the registry; make it champion unless it is worse
    end

Steps are processes of their own and hand on addresses and plain values, never data. Heavy modules are imported where
they are used.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from streams.settings import load_settings
from training_bridge.flows.environment import configure_metaflow

configure_metaflow(load_settings())

from metaflow import FlowSpec, Parameter, current  # noqa: E402 - it reads its settings when it is imported

if TYPE_CHECKING:
    from typing import TypeVar

    from training_bridge.dataset import Dataset
    from training_bridge.ranker.config import RankerConfig
    from training_bridge.workspace import Workspace

    F = TypeVar("F")

    def step(function: F) -> F:
        """What Metaflow's decorator is to the type checker."""
        return function
else:
    from metaflow import step

UNSET = -1
"""Metaflow's parameters have no None of type int."""


class TrainFlow(FlowSpec):  # type: ignore[misc]  # Metaflow is untyped
    """Train a ranking model on the warehouse, evaluate it on a split by time, register it, promote it if it is fit."""

    train_share = Parameter("train-share", type=float, default=0.8, help="Share of the events before the split.")
    split_ms = Parameter("split-ms", type=int, default=UNSET, help="Split at this time instead (Unix, ms).")
    until_ms = Parameter("until-ms", type=int, default=UNSET, help="Leave out events from this time on (Unix, ms).")
    max_events = Parameter("max-events", type=int, default=5_000_000, help="Newest events to take in, at most.")
    predictions = Parameter("predictions", type=int, default=1_000, help="Held-out events to predict, at most.")
    config = Parameter("config", type=str, default="{}", help="Parameters of the ranker that differ, as JSON.")
    seed = Parameter("seed", type=int, default=1, help="Seed of everything drawn at random.")
    tolerance = Parameter("tolerance", type=float, default=0.02, help="Share of NDCG@10 a champion-to-be may be worse.")
    promote = Parameter("promote", type=str, default="", help="Reason to promote it whatever was measured.")

    @step
    def start(self) -> None:
        """Read the warehouse, split by time, store the dataset's manifest."""
        from training_bridge.dataset_manifest import DatasetParameters
        from training_bridge.steps.parameters import check_run_parameters
        from training_bridge.steps.prepare import prepare

        check_run_parameters(self.config, self.predictions, self.tolerance)
        self.started_at_ms = time.time_ns() // 1_000_000
        self.pathspec = f"{current.flow_name}/{current.run_id}"
        split_ms, until_ms = (None if ms == UNSET else ms for ms in (self.split_ms, self.until_ms))
        parameters = DatasetParameters(self.train_share, split_ms, until_ms, self.max_events)
        with _workspace() as workspace:
            dataset, self.champion = prepare(workspace, parameters)
        self.dataset = dataset.address
        found = dataset.manifest
        _say(f"{found.rows:,} events of {found.members:,} members and {found.titles:,} titles")
        self.next(self.train, self.export)

    @step
    def train(self) -> None:
        """Train on the events before the split."""
        from training_bridge.steps.fit import fit_challenger

        with self._inputs() as (workspace, dataset, config):
            self.challenger = fit_challenger(workspace, _scratch_name(self), dataset, config, self.seed)
        _say(f"{dataset.manifest.train_rows:,} events before the split")
        self.next(self.evaluate)

    @step
    def evaluate(self) -> None:
        """Predict the events after the split, beside the champion and popularity."""
        from training_bridge.steps.judge import manifest_metrics, measure, summary

        with self._inputs() as (workspace, dataset, _):
            found, evidence = measure(
                workspace,
                _scratch_name(self),
                dataset,
                self.challenger,
                self.champion,
                max_predictions=self.predictions,
            )
        self.metrics, self.evidence = manifest_metrics(found), msgspec.to_builtins(evidence)
        _say(summary(found))
        self.next(self.register)

    @step
    def export(self) -> None:
        """Train on all events; graph, neighbours and manifest into the blobs."""
        from training_bridge.steps.fit import export

        with self._inputs() as (workspace, dataset, config):
            self.draft = export(
                workspace, self.pathspec, dataset, config, seed=self.seed, created_at_ms=self.started_at_ms
            )
        _say(f"{dataset.manifest.rows:,} events in the model")
        self.next(self.register)

    @step
    def register(self, inputs: Any) -> None:
        """Add the model to the registry; make it champion unless it is worse than the one that is."""
        from training_bridge.promotion import Evidence, PromotionPolicy
        from training_bridge.steps.register import finish_model, register_and_decide

        self.merge_artifacts(inputs)
        policy = PromotionPolicy(tolerance=self.tolerance, forced=self.promote)
        evidence = msgspec.convert(self.evidence, Evidence)
        with _workspace() as workspace:
            self.version = finish_model(workspace.blobs, self.draft, self.metrics)
            decision = register_and_decide(workspace, self.version, evidence, policy, self.started_at_ms)
            workspace.drop_scratch(_scratch_name(self), self.started_at_ms)
        self.decision = msgspec.to_builtins(decision)
        verdict = "champion" if decision.promote else "registered, not promoted"
        _say(f"model {self.version[:12]} {verdict}: {decision.reason}")
        self.next(self.end)

    @step
    def end(self) -> None:
        """Everything is done by now: every flow of Metaflow's has this step."""

    @contextmanager
    def _inputs(self) -> Iterator[tuple[Workspace, Dataset, RankerConfig]]:
        from training_bridge.dataset_store import load_dataset
        from training_bridge.steps.parameters import parse_config

        with _workspace() as workspace:
            yield workspace, load_dataset(workspace, self.dataset), parse_config(self.config)


def _say(line: str) -> None:
    """Write a line to the step's log, which is what whoever watches the run sees."""
    print(line, flush=True)  # noqa: T201


def _scratch_name(flow: TrainFlow) -> str:
    """Return the id of the run that made the dataset: a resumed run goes on in its scratch folder."""
    return str(flow.pathspec).rpartition("/")[2]


@contextmanager
def _workspace() -> Iterator[Workspace]:
    from training_bridge.workspace import open_workspace

    with open_workspace(load_settings()) as workspace:
        yield workspace


if __name__ == "__main__":
    TrainFlow()
