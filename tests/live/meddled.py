"""The simulated exchange with a hand on its answers: what the venue says can be changed on the way out."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from fastapi import Request, Response

from live.exchange.server import ExchangeServer, Settings
from mlflow_ppo_flavor.decision.bars import Bars

T = TypeVar("T")
Change = Callable[[int, Any], tuple[int, Any]]
"""(status, JSON body) → what is answered instead."""


class MeddledExchange(ExchangeServer):
    """The exchange; `changes` maps the beginning of `GET /v2/clock` and the like to what is done to the answer,
    `refusals` to what is answered instead. `asked` are all requests so far.
    """

    def __init__(self, bars: Mapping[str, Bars], settings: Settings | None = None) -> None:
        super().__init__(bars, settings)
        self.changes: dict[str, Change] = {}
        self.refusals: dict[str, tuple[int, Any]] = {}
        self.asked: list[str] = []

        @self._server.config.app.middleware("http")
        async def meddle(request: Request, call_next: Callable[[Request], Awaitable[Any]]) -> Response:
            asked = f"{request.method} {request.url.path}"
            self.asked.append(asked)
            refusal, change = found(self.refusals, asked), found(self.changes, asked)
            if refusal is not None:
                return written(*refusal)
            answer = await call_next(request)
            body = b"".join([part async for part in answer.body_iterator])
            if change is not None:
                return written(*change(answer.status_code, json.loads(body) if body else None))
            return Response(body, answer.status_code, media_type="application/json")

    def mislead(self, asked: str, **fields: Any) -> None:
        """Answer with other values in these fields."""
        self.changes[asked] = lambda status, body: (status, {**body, **fields})

    def refuse(self, asked: str, status: int, **body: Any) -> None:
        """Answer so without asking the venue."""
        self.refusals[asked] = status, body

    def fail(self, asked: str) -> None:
        """Answer with a 503 without asking the venue."""
        self.refuse(asked, 503, message="come back later")

    def heal(self) -> None:
        """Answer as it is again."""
        self.changes.clear()
        self.refusals.clear()


def found(by_prefix: Mapping[str, T], asked: str) -> T | None:
    """What belongs to the beginning of a request."""
    return next((value for prefix, value in by_prefix.items() if asked.startswith(prefix)), None)


def written(status: int, body: Any) -> Response:
    """An answer in JSON."""
    return Response(b"" if body is None else json.dumps(body).encode(), status, media_type="application/json")
