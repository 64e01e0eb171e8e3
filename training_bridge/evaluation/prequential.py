"""The prequential protocol: train before a split by time, then predict each later event from the state just before it.

A prediction is a first engagement, at or after the split, of a member with five or more earlier ones. Its candidates
are the titles with events before the split, less those the member engaged with. Events are ordered by (time, order of
arrival); an event enters the live state only after it was predicted, its members' histories and the titles' popularity
alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from training_bridge.evaluation.metrics import ranks
from training_bridge.ranker.interactions import Interactions
from training_bridge.ranker.live_state import StateBatch, live_states
from training_bridge.ranker.samples import candidates, limit_per_member, predictable_positions
from training_bridge.ranker.titles_meta import TitlesMeta

MIN_HISTORY = 5
BATCH_SIZE = 128


class Scorer(Protocol):
    """A trained method."""

    def __call__(self, states: StateBatch) -> NDArray[np.float32]:
        """Return float32 [B, V] scores of all titles in each state."""
        ...


@dataclass(frozen=True, slots=True)
class Task:
    """What one split asks. log: all events; those before `split` are for training. known: bool [V], titles before it.

    positions: int64 [N] ascending, the events to predict. half_lives_d: clocks of the popularity features in the
    states.
    """

    log: Interactions
    meta: TitlesMeta
    split: int
    known: NDArray[np.bool_]
    positions: NDArray[np.int64]
    history_length: int
    half_lives_d: tuple[int, ...]

    @property
    def training(self) -> Interactions:
        """The events before the split."""
        return self.log.before(self.split)

    @property
    def now_ms(self) -> int:
        """The time of the last training event."""
        return int(self.log.time_ms[self.split - 1])

    @property
    def members(self) -> NDArray[np.int32]:
        """Who is predicted, int32 [N]."""
        return self.log.member[self.positions]


def make_task(
    log: Interactions, meta: TitlesMeta, share: float, *, history_length: int, half_lives_d: tuple[int, ...]
) -> Task:
    """Return the task of a split after `share` of the events."""
    split = max(1, int(share * len(log)))
    known = np.zeros(len(log.titles), bool)
    known[log.title[:split]] = True
    positions = predictable_positions(log, split, known, MIN_HISTORY)
    return Task(log, meta, split, known, positions, history_length, half_lives_d)


def some_members(task: Task, members: int, rng: np.random.Generator) -> Task:
    """Return the task for at most `members` of its members, drawn at random."""
    present = np.unique(task.members)
    drawn = rng.permutation(present)[:members]
    return _with_positions(task, task.positions[np.isin(task.members, drawn)])


def some_predictions(task: Task, per_member: int, rng: np.random.Generator) -> Task:
    """Return the task with at most `per_member` predictions of each member, drawn at random."""
    return _with_positions(task, limit_per_member(task.log, task.positions, per_member, rng))


def _with_positions(task: Task, positions: NDArray[np.int64]) -> Task:
    return Task(task.log, task.meta, task.split, task.known, positions, task.history_length, task.half_lives_d)


def predict(
    task: Task, scorers: Mapping[str, Scorer], *, frozen: bool = False, progress: Callable[[int], None] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Return each scorer's rank of the title taken up, float64 [N]. frozen: the state stays as it was at the split."""
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in scorers}
    for positions, states in _batches(task, frozen):
        allowed = candidates(task.log, positions, task.known)
        target = task.log.title[positions].astype(np.int64)
        for name, scorer in scorers.items():
            found[name].append(ranks(scorer(states), target, allowed))
        if progress is not None:
            progress(len(positions))
    return {name: np.concatenate(parts) if parts else np.zeros(0) for name, parts in found.items()}


def _batches(task: Task, frozen: bool) -> Iterator[tuple[NDArray[np.int64], StateBatch]]:
    """Yield the positions and states of the task, a batch at a time."""
    states = live_states(
        task.log,
        task.positions,
        history_length=task.history_length,
        half_lives_d=task.half_lives_d,
        batch_size=BATCH_SIZE,
        frozen_at=task.split if frozen else None,
    )
    for number, batch in enumerate(states):
        yield task.positions[number * BATCH_SIZE : (number + 1) * BATCH_SIZE], batch
