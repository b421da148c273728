"""Deadline: what a stranger's store answers within seconds, or nothing: many of them try for minutes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float, ask: Callable[[], T]) -> T:
    """What `ask` answers, or its exception; TimeoutError where neither came in time.

    It is asked in a thread with this one's context. One that is given up goes on by itself and keeps no process alive.
    """
    answer: Future[T] = Future()

    def work() -> None:
        try:
            answer.set_result(ask())
        except Exception as error:  # noqa: BLE001 it is raised where the answer is taken
            answer.set_exception(error)

    threading.Thread(target=copy_context().run, args=(work,), name="mlflow-ppo-deadline", daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError:
        if answer.done():
            raise
        raise TimeoutError(f"no answer within {seconds:g} s") from None
