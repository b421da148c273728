"""`python -m live MODEL_URI`: the live trader as a process of its own."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import mlflow

from live.access import Credentials
from live.alpaca import Alpaca
from live.attestor import Attestor, BackgroundAttestor
from live.desk import Rooms
from live.journal import Journal
from live.model_source import ModelSource
from live.seal_check import SealCheck
from live.settings import Settings
from live.stopping import OutOfTime, Stopping
from live.trader import LiveTrader
from live.watch import BackgroundWatch, Watch
from mlflow_ppo_flavor.announcement import announce_trader
from mlflow_ppo_flavor.contract.spec import ADJUSTMENTS, TIMEFRAMES
from mlflow_ppo_flavor.errors import PPOFlavorError

# short enough that a request which hangs at SIGTERM still leaves time to cancel orders
TIMEOUT_SECONDS = (2.0, 2.0)
ATTEMPTS = 2
REGISTRY_VARIABLE = "MLFLOW_REGISTRY_URI"
# MLflow's own defaults try for minutes; and a log is no place for progress bars
_MLFLOW: Mapping[str, str] = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class _Ended(click.ClickException):
    """Ends the command with a message on stderr and exit code 1."""


def split_symbols(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """The symbols of `--symbols AAPL,IBM --symbols MSFT`, each once."""
    symbols = tuple(dict.fromkeys(s.strip().upper() for value in values for s in value.split(",") if s.strip()))
    if not symbols:
        raise click.BadParameter("found no symbol, expected at least one such as AAPL")
    return symbols


def is_one(_: click.Context, __: click.Parameter, value: str) -> bool:
    """Whether an option of 0 or 1 is 1."""
    return value == "1"


def is_one_if_given(_: click.Context, __: click.Parameter, value: str | None) -> bool | None:
    """The same of an option whose default hangs on another one."""
    return None if value is None else value == "1"


_SWITCH = click.Choice(["0", "1"])


@click.command(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.argument("model_uri")
@click.option("--symbols", multiple=True, required=True, callback=split_symbols, help="What to trade: AAPL,IBM.")
@click.option("--paper", type=_SWITCH, default="1", callback=is_one, help="1 trades on paper, 0 real money.")
@click.option("--i-understand-this-trades-real-money", "real_money", is_flag=True, help="What --paper 0 needs too.")
@click.option("--strict-version", type=_SWITCH, default="0", callback=is_one, help="1 refuses version findings too.")
@click.option(
    "--require-verdict",
    type=_SWITCH,
    callback=is_one_if_given,
    show_default="1 with --paper 0, else 0",
    help="1 refuses versions without a valid verdict, signed by the registry's gate.",
)
@click.option(
    "--verdict-key",
    multiple=True,
    type=click.Path(path_type=Path),
    envvar="MLFLOW_PPO_VERDICT_KEYS",
    show_envvar=True,
    metavar="FILE",
    help="Public key (PEM) of the registry's gate; several while it is replaced.",
)
@click.option("--trader-id", default="live-1", help="The name that this trader announces and orders under.")
@click.option("--state-dir", type=click.Path(file_okay=False, path_type=Path), required=True, help="Its journal.")
@click.option("--trading-url", help="Alpaca's trading API. Default: by --paper.")
@click.option("--data-url", help="Alpaca's data API.")
@click.option("--tracking-uri", envvar="MLFLOW_TRACKING_URI", show_envvar=True, help="The MLflow server.")
@click.option("--capital", type=click.FloatRange(1), help="Of each symbol at the first start. Default: equity's share.")
@click.option(
    "--max-daily-loss", type=click.FloatRange(0.0001, 1), help="Share of a day's first equity; then it halts."
)
@click.option("--on-refused", type=click.Choice(["continue", "reduce", "halt"]), default="continue", help="A bad swap.")
@click.option("--adopt-position", is_flag=True, help="Take the broker's positions where the journal differs.")
@click.option("--resume", is_flag=True, help="Trade again after a halt.")
@click.option("--as-trader", help="Act as an earlier trader version; on paper only.")
@click.option("--timeframe", type=click.Choice(TIMEFRAMES), help="Must be the spec's. Default: the spec's.")
@click.option("--adjustment", type=click.Choice(ADJUSTMENTS), help="Must be the spec's. Default: the spec's.")
@click.option("--poll-seconds", type=click.FloatRange(0.01, 3600), default=5.0, help="Between two looks.")
def main(**given: Any) -> None:
    """Trade the policy that MODEL_URI loads, such as models:/ppo-aapl/Production, until SIGTERM.

    On SIGTERM or SIGINT it cancels its own orders and keeps its positions. A file KILL in the state directory stops all
    orders until it is removed. Keys come from APCA_API_KEY_ID and APCA_API_SECRET_KEY. Exit codes: 0 stopped, 1 refused
    to trade or couldn't go on, 2 usage.
    """
    stopping, settings = Stopping(), Settings(**given)
    try:
        connect(settings.tracking_uri)
        run(settings, stopping)
        stopping.over()
    except PPOFlavorError as error:
        raise _Ended(str(error)) from error
    except OutOfTime:
        found = "stopped, but out of time: found a request that hangs, expected own orders to be cancelled"
        raise _Ended(f"{found}: look at the account, or start again to take them up") from None


def connect(tracking_uri: str | None) -> None:
    """Set MLflow up for a process that runs for months; UsageError without a registry: MLflow would make one here."""
    if not (tracking_uri or os.environ.get(REGISTRY_VARIABLE)):
        raise click.UsageError("--tracking-uri: found none, expected that of the MLflow server that holds the model")
    for name, value in _MLFLOW.items():
        os.environ.setdefault(name, value)
    # MLflow deprecates stages on every call
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"mlflow\..*|live\..*")
    if tracking_uri:
        mlflow.set_tracking_uri(tracking_uri)


def run(settings: Settings, stopping: Stopping) -> None:
    """Announce, load, reconcile, and trade until asked to stop; PPOFlavorError where that can't be done."""
    reference, me, endpoints = settings.reference, settings.trader, settings.endpoints
    keys, seal_terms = Credentials.from_environment(os.environ), settings.seal_terms
    venue = Alpaca(endpoints, keys, timeout=TIMEOUT_SECONDS, attempts=ATTEMPTS, sleep=stopping.wait)
    with Journal.open(settings.state_dir, settings.trader_id) as journal:
        announce_trader(
            reference.model,
            trader_id=me.trader_id,
            trader_version=me.version,
            reference=reference.label,
            paper=me.paper,
        )
        say(f"announced {me.trader_id}, trader {me.version}, for {reference}")
        if settings.resume:
            journal.set_conduct("ACTIVE", "resumed by the operator")
        source = ModelSource(reference, me, settings.terms, SealCheck(seal_terms, journal.verdicts()))
        rooms = Rooms.builder(me.trader_id, venue, journal, sleep=stopping.wait)
        watch, attesting = BackgroundWatch(Watch(source)), BackgroundAttestor(Attestor(source))
        trader = LiveTrader(rooms, source, settings.mandate, say, watch, attesting)
        trade(trader, stopping, settings.poll_seconds)


def trade(trader: LiveTrader, stopping: Stopping, poll_seconds: float) -> None:
    """Start, then look again and again until asked to stop; then cancel what is still open."""
    trader.start()
    while not stopping.requested:
        trader.cycle()
        stopping.wait(poll_seconds)
    failures = trader.stop()
    if failures:
        raise _Ended("\n".join(("stopped, but own orders may stand:", *failures)))
    say("stopped: own orders are cancelled, positions stay as they are")


def say(line: str) -> None:
    """One line of the trader's log, with this machine's time."""
    click.echo(f"{datetime.now(UTC).isoformat(timespec='seconds')} {line}")
    sys.stdout.flush()
