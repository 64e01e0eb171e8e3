"""An executor without threads: work is done some looks later, or when its result is asked for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

LOOKS = 2


class Later(Executor):
    """Does what is submitted at the third look whether it is done."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return LateFuture(lambda: fn(*args, **kwargs))


class LateFuture(Future[Any]):
    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__()
        self._work: Callable[[], Any] | None = work
        self._looks = 0

    def done(self) -> bool:
        self._looks += 1
        if self._looks > LOOKS:
            self._do()
        return super().done()

    def result(self, timeout: float | None = None) -> Any:
        self._do()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._do()
        return super().exception(timeout)

    def _do(self) -> None:
        work, self._work = self._work, None
        if work is None:
            return
        try:
            self.set_result(work())
        except Exception as error:  # noqa: BLE001 - it is raised to whoever asks for the result
            self.set_exception(error)
