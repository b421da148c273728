"""ExchangeServer: the simulated exchange on a loopback port, in a thread of this process."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import Any
from urllib.request import Request, urlopen

import uvicorn
from fastapi import FastAPI

from live.exchange.app import create_app
from live.exchange.clock import AcceleratedClock, Clock, LockstepClock
from live.exchange.tape import Tape
from live.exchange.venue import Exchange
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.decision.market import Costs
from mlflow_ppo_flavor.errors import BrokerError

HOST = "127.0.0.1"
SIMULATED_KEY_ID, SIMULATED_SECRET_KEY = "SIMULATED-KEY", "simulated-secret"
_STOP_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Settings:
    """How an exchange is set up. `speed` None is lockstep: time moves only when told. `start` (UTC nanoseconds) is
    where time begins, None the close of the first bar; `cash` what the account holds then.
    """

    speed: float | None = None
    start: int | None = None
    cash: Decimal = Decimal(100_000)
    spread_bps: float = Costs().spread_bps
    seed: int = 0


def build_exchange(
    bars: Mapping[str, Bars], settings: Settings, *, monotonic: Callable[[], float] = time.monotonic
) -> Exchange:
    """The exchange that replays these bars, its clock started; SpecError for settings that can't be."""
    tape = Tape(bars)
    start = tape.time_at(tape.after_closes(0, 1)) if settings.start is None else settings.start
    clock: Clock = LockstepClock(tape, start)
    if settings.speed is not None:
        clock = AcceleratedClock.starting(tape, start, speed=settings.speed, monotonic=monotonic)
    return Exchange(tape, clock, cash=settings.cash, spread_bps=settings.spread_bps, seed=settings.seed)


def listen(port: int) -> socket.socket:
    """A socket bound on loopback, on this port or (0) on a free one; OSError if it is taken."""
    # with the protocol named: only then does asyncio turn Nagle's algorithm off, which costs 40 ms an answer
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
    except OSError:
        bound.close()
        raise
    return bound


def server_config(app: FastAPI) -> uvicorn.Config:
    """A server that says nothing by itself and waits a few seconds at most for connections when it is stopped."""
    return uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=_STOP_SECONDS)


class ExchangeServer:
    """A context: the exchange listens from enter to exit. `url` is the base for both of alpaca-py's clients."""

    def __init__(self, bars: Mapping[str, Bars], settings: Settings | None = None, *, port: int = 0) -> None:
        self.exchange = build_exchange(bars, settings or Settings())
        self._socket = listen(port)
        self.url = f"http://{HOST}:{self._socket.getsockname()[1]}"
        app = create_app(self.exchange, key_id=SIMULATED_KEY_ID, secret_key=SIMULATED_SECRET_KEY)
        self._server = uvicorn.Server(server_config(app))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    def __enter__(self) -> ExchangeServer:
        """Start, and return once it listens; BrokerError where the server can't start."""
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise BrokerError(f"simulated exchange: found no server on {self.url}, expected one: see its log")
            time.sleep(0.005)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop and wait for the end."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def advance(self, *, bars: int = 0, events: int = 0) -> dict[str, Any]:
        """Move a lockstep clock by bars or events; the simulation's state behind it."""
        return self._ask("POST", f"/sim/advance?bars={bars}&events={events}")

    def state(self) -> dict[str, Any]:
        """The simulation's state: now, position, events, finished."""
        return self._ask("GET", "/sim/state")

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        with urlopen(Request(self.url + path, method=method)) as answer:  # noqa: S310 -- our own loopback address
            state: dict[str, Any] = json.load(answer)
        return state
