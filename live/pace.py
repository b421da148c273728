"""Pace: how long to wait before the next request, so that a venue's limit a minute is never met. Pure."""

from __future__ import annotations

from collections import deque

_MINUTE = 60.0


class Pace:
    """At most `per_minute` requests in any 60 seconds; None sets no limit. Times are seconds of any monotonic clock."""

    def __init__(self, per_minute: int | None) -> None:
        self._per_minute = per_minute
        self._sent: deque[float] = deque(maxlen=per_minute)

    def delay(self, now: float) -> float:
        """Seconds to wait before a request may go out: 0 while there is room."""
        if self._per_minute is None or len(self._sent) < self._per_minute:
            return 0.0
        return max(self._sent[0] + _MINUTE - now, 0.0)

    def note(self, now: float) -> None:
        """A request goes out."""
        if self._per_minute is not None:
            self._sent.append(now)
