"""The HTTP application: the two APIs behind one check of keys, and the simulation's own routes under /sim."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError

from live.exchange import refusal, wire
from live.exchange.clock import LockstepClock
from live.exchange.data_api import data_routes
from live.exchange.reply import reply
from live.exchange.trading_api import trading_routes
from live.exchange.venue import Exchange

MAX_ADVANCE = 100_000


def create_app(exchange: Exchange, *, key_id: str, secret_key: str) -> FastAPI:
    """The application over one exchange. All handlers run on one event loop: nothing else touches the exchange."""
    app = FastAPI(title="Simulated Alpaca", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(trading_routes(exchange))
    app.include_router(data_routes(exchange))
    _add_simulation(app, exchange)

    @app.middleware("http")
    async def check_keys(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        given = request.headers.get("APCA-API-KEY-ID", ""), request.headers.get("APCA-API-SECRET-KEY", "")
        known = all(map(hmac.compare_digest, map(str.encode, given), map(str.encode, (key_id, secret_key))))
        if known or request.url.path.startswith("/sim/"):
            return await call_next(request)
        return reply(refusal.unauthorised())

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return reply(refusal.malformed(f"{first['loc'][-1]}: {first['msg']}"))

    return app


def _add_simulation(app: FastAPI, exchange: Exchange) -> None:
    def state() -> dict[str, object]:
        moment = exchange.catch_up()
        last = len(exchange.tape.times)
        return {
            "now": wire.utc(moment.now),
            "position": moment.position,
            "events": last,
            "finished": moment.position == last,
        }

    @app.get("/sim/state")
    async def simulation() -> Response:
        return reply(state())

    @app.post("/sim/advance")
    async def advance(
        bars: Annotated[int, Query(ge=0, le=MAX_ADVANCE)] = 0, events: Annotated[int, Query(ge=0, le=MAX_ADVANCE)] = 0
    ) -> Response:
        clock = exchange.clock
        if not isinstance(clock, LockstepClock):
            return reply({"message": "the clock runs by itself: start the exchange in lockstep to move it"}, 409)
        exchange.catch_up()
        clock.advance_bars(bars) if bars else clock.advance_events(events)
        return reply(state())
