"""Work beside the trading: in a thread, one piece at a time, whose result is taken once it is there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

Given = TypeVar("Given")
Found = TypeVar("Found")


class Background(Generic[Given, Found]):
    """Does `work` again and again in a thread: what hangs in it holds nobody up."""

    def __init__(self, work: Callable[[Given], Found]) -> None:
        self._work = work
        self._pending: Future[Found] | None = None

    def turn(self, given: Given) -> Found | None:
        """What the work found that has just ended, once; None while it goes on. Starts the next with what is given.

        What went wrong in the thread is raised here.
        """
        found = None
        if self._pending is not None and self._pending.done():
            pending, self._pending = self._pending, None
            found = pending.result()
        if self._pending is None:
            self._pending = Future()
            # a daemon, since the process has to end while a registry hangs
            threading.Thread(target=self._fulfil, args=(self._pending, given), daemon=True).start()
        return found

    def _fulfil(self, pending: Future[Found], given: Given) -> None:
        try:
            pending.set_result(self._work(given))
        except BaseException as error:  # noqa: BLE001 -- raised again where the result is asked for
            pending.set_exception(error)
