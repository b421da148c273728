"""`python -m live.exchange`: the simulated Alpaca as a process of its own, for any client that speaks Alpaca's
protocol.
"""

from __future__ import annotations

import os
import signal
import socket
from decimal import Decimal, InvalidOperation
from pathlib import Path

import click
import pandas as pd
import uvicorn
from fastapi import FastAPI

from live.exchange.app import create_app
from live.exchange.bar_file import read_bars
from live.exchange.server import (
    HOST,
    SIMULATED_KEY_ID,
    SIMULATED_SECRET_KEY,
    Settings,
    build_exchange,
    listen,
    server_config,
)
from mlflow_ppo_flavor.contract.spec import ADJUSTMENTS, TIMEFRAMES, BarSpec
from mlflow_ppo_flavor.decision.market import Costs
from mlflow_ppo_flavor.errors import PPOFlavorError


class _Instant(click.ParamType[int]):
    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """UTC nanoseconds of a date (its midnight in New York) or of a time with its zone."""
        try:
            stamp = pd.Timestamp(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time, expected 2012-10-26 or 2012-10-26T16:00:00-04:00", param, ctx)
        return int((stamp.tz_localize("America/New_York") if stamp.tz is None else stamp).as_unit("ns").value)


class _Money(click.ParamType[Decimal]):
    name = "money"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        """An amount above 0."""
        try:
            amount = Decimal(str(value))
        except InvalidOperation:
            amount = Decimal("nan")
        if not amount.is_finite() or amount <= 0:
            self.fail(f"{value!r} is no amount of money, expected a number above 0 such as 100000", param, ctx)
        return amount


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--bars",
    "files",
    multiple=True,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV of bars, also .csv.gz; repeat for several.",
)
@click.option(
    "--symbol", "symbols", multiple=True, help="Replay this symbol only; repeat for several. Default: all in the files."
)
@click.option(
    "--timeframe", type=click.Choice(TIMEFRAMES), default="1Day", show_default=True, help="The files' timeframe."
)
@click.option(
    "--adjustment",
    type=click.Choice(ADJUSTMENTS),
    default="raw",
    show_default=True,
    help="Replay bars adjusted so; a column Adj Close is used where there is one.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="Port on 127.0.0.1; 0 takes a free one."
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    help="Simulated seconds a second. Default: lockstep, moved by POST /sim/advance?bars=1.",
)
@click.option(
    "--start", type=_Instant(), help="Where time begins: a date or a time. Default: the close of the first bar."
)
@click.option("--cash", type=_Money(), default="100000", show_default=True, help="What the account holds at the start.")
@click.option(
    "--spread-bps",
    type=click.FloatRange(0, 1000),
    default=Costs().spread_bps,
    show_default=True,
    help="How far a fill is worse than the open.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Where the ids of orders come from.")
def main(
    files: tuple[Path, ...],
    symbols: tuple[str, ...],
    timeframe: str,
    adjustment: str,
    port: int,
    speed: float | None,
    start: int | None,
    cash: Decimal,
    spread_bps: float,
    seed: int,
) -> None:
    """Replay bars as Alpaca would serve them, and take orders on them.

    Keys: APCA_API_KEY_ID and APCA_API_SECRET_KEY of the environment, else SIMULATED-KEY and simulated-secret.
    """
    try:
        bars = read_bars(files, BarSpec(timeframe, adjustment), symbols)
        exchange = build_exchange(bars, Settings(speed, start, cash, spread_bps, seed))
    except PPOFlavorError as error:
        raise click.ClickException(str(error)) from error
    key_id = os.environ.get("APCA_API_KEY_ID") or SIMULATED_KEY_ID
    secret_key = os.environ.get("APCA_API_SECRET_KEY") or SIMULATED_SECRET_KEY
    _serve(create_app(exchange, key_id=key_id, secret_key=secret_key), port)


class _Announcing(uvicorn.Server):
    """A server that says on stdout when it listens, for whoever started it."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then print the ready line."""
        await super().startup(sockets)
        if sockets and self.started:
            click.echo(f"ready http://{HOST}:{sockets[0].getsockname()[1]}")


def _serve(app: FastAPI, port: int) -> None:
    """Serve until SIGTERM or SIGINT, which end the process with exit code 0."""
    try:
        bound = listen(port)
    except OSError as error:
        raise click.ClickException(f"port {port} on {HOST}: {error.strerror}: choose another or 0") from error
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn stops on them and then raises them once more, for whoever was there before: for us that is the end
        # already
        signal.signal(number, lambda *_: None)
    _Announcing(server_config(app)).run([bound])
