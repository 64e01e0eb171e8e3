"""Calls from a thread into the event loop, for objects that belong to the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Final, TypeVar

A = TypeVar("A")
R = TypeVar("R")

TIMEOUT_S: Final = 1.0
"""A loop that takes so long for a call is closing, or has worse to do."""


def on_loop(loop: asyncio.AbstractEventLoop, function: Callable[[A], R]) -> Callable[[A], R | None]:
    """Return the function as other threads may call it; None is returned where the loop does not come to it."""

    def call(argument: A) -> R | None:
        answer: Future[R] = Future()

        def run() -> None:
            if answer.set_running_or_notify_cancel():
                try:
                    answer.set_result(function(argument))
                except Exception as error:  # noqa: BLE001 - the caller is to have it
                    answer.set_exception(error)

        try:
            loop.call_soon_threadsafe(run)
            return answer.result(TIMEOUT_S)
        except (RuntimeError, FutureTimeoutError):
            answer.cancel()
            return None

    return call
