"""Stopping: SIGTERM and SIGINT, noticed between two steps; and the end of patience behind them."""

from __future__ import annotations

import os
import select
import signal

STOP_SECONDS = 5.0
_NUMBERS = (signal.SIGTERM, signal.SIGINT)


class OutOfTime(BaseException):
    """The process was asked to stop a while ago, and still waits for somebody: it ends now."""


class Stopping:
    """Whether this process was asked to stop. Build it in the main thread: it takes over the signals.

    STOP_SECONDS after the first signal OutOfTime is raised, wherever the main thread stands then. A pipe carries the
    news, since a threading.Event that is set by a signal can wait for itself.
    """

    def __init__(self, seconds: float = STOP_SECONDS) -> None:
        self.requested = False
        self._seconds = seconds
        self._reading, self._writing = os.pipe()
        for number in _NUMBERS:
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGALRM, self._on_alarm)

    def wait(self, seconds: float) -> None:
        """Wait so long, or until the process is asked to stop."""
        if seconds > 0:
            select.select([self._reading], [], [], seconds)

    def over(self) -> None:
        """Everything is done in time."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _on_stop(self, *_: object) -> None:
        if not self.requested:
            self.requested = True
            os.write(self._writing, b"x")
            signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def _on_alarm(self, *_: object) -> None:
        raise OutOfTime
