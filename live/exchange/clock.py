"""Simulated time: a clock that runs faster than the real one, and one that stands still until it is moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from live.exchange.tape import CLOSE, Tape
from mlflow_ppo_flavor.errors import SpecError


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant of simulated time (UTC nanoseconds) and the position on the tape that belongs to it."""

    now: int
    position: int


class Clock(Protocol):
    """What tells the exchange where on its tape it stands."""

    def moment(self) -> Moment:
        """The present moment; never before one that was told earlier."""


@dataclass(frozen=True)
class AcceleratedClock:
    """Simulated time that starts at `start` (UTC nanoseconds) and runs at `speed` times `monotonic` (seconds, any
    origin).

    A pure function of `monotonic()`: nothing runs in the background. It stops behind the last bar.
    """

    tape: Tape
    start: int
    speed: float
    monotonic: Callable[[], float]
    origin: float

    @classmethod
    def starting(cls, tape: Tape, start: int, *, speed: float, monotonic: Callable[[], float]) -> AcceleratedClock:
        """The clock that starts now; SpecError unless the speed is above 0."""
        if not 0 < speed < float("inf"):
            raise SpecError("speed", speed, "a finite number above 0")
        return cls(tape, start, speed, monotonic, monotonic())

    def moment(self) -> Moment:
        """The instant that `monotonic` gives, and all events up to it."""
        now = self.start + int((self.monotonic() - self.origin) * self.speed * 1e9)
        now = min(now, max(self.start, self.tape.time_at(len(self.tape.times))))
        return Moment(now, self.tape.position_at(now))


class LockstepClock:
    """Simulated time that moves only when told: the same requests between the same moves always give the same
    answers.
    """

    def __init__(self, tape: Tape, start: int) -> None:
        """Stand at `start`, or behind the last bar that closed by then: two bars may adjoin at one instant."""
        self.tape = tape
        self._position = tape.position_at(start)
        while self._position and tape.times[self._position - 1] == start and tape.kinds[self._position - 1] != CLOSE:
            self._position -= 1
        self._now = start

    def moment(self) -> Moment:
        """Where the clock stands."""
        return Moment(self._now, self._position)

    def advance_bars(self, count: int) -> Moment:
        """Move behind the next `count` events at which bars close."""
        return self._move(self.tape.after_closes(self._position, count))

    def advance_events(self, count: int) -> Moment:
        """Move behind the next `count` events of either kind: also into the middle of a bar."""
        return self._move(min(self._position + count, len(self.tape.times)))

    def _move(self, position: int) -> Moment:
        if position > self._position:
            self._position, self._now = position, self.tape.time_at(position)
        return self.moment()
