"""One write of what an agent holds: a snapshot of it, so that folding can go on while the stores take it in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, Protocol, TypeVar

from streams.event_log.protocol import TopicPartition

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
HeldT = TypeVar("HeldT")


class Snapshot(Protocol):
    """What has changed in an agent's states up to some moment."""

    def write(self) -> None:
        """Write it to both stores, in the order that any crash leaves right; again changes nothing. For any thread."""
        ...

    def written(self) -> None:
        """Take note in the agent that it is written. For the agent's thread."""
        ...


@dataclass
class Writing(Generic[HeldT]):
    """A write that is under way, or failed and is to be tried again.

    taken: position of the last record in it, by partition. holders: who held the partitions then. records: how many.
    snapshot: None where nothing was taken in: then the stores are only looked at.
    """

    taken: Mapping[TopicPartition, int]
    holders: Mapping[TopicPartition, HeldT]
    records: int
    snapshot: Snapshot | None
    future: Future[None] | None = None


class AtOnce(Executor):
    """Does what is submitted before it returns."""

    def submit(
        self, fn: Callable[Parameters, Result], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Future[Result]:
        """Return the future of work that is done."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - it is raised to whoever asks for the result
            future.set_exception(error)
        return future
