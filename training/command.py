"""`python -m training`: train a policy on bars, score it on those that it didn't see, write its checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

import click
import mlflow
import numpy as np
import pandas as pd
import torch
from mlflow.exceptions import MlflowException
from rich.console import Console

from mlflow_ppo_flavor.contract.releases import CURRENT_MODEL_VERSION, spec_named
from mlflow_ppo_flavor.contract.spec import ADJUSTMENTS, TIMEFRAMES, BarSpec, ModelSpec
from mlflow_ppo_flavor.decision.action import Instrument
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.decision.market import Costs
from mlflow_ppo_flavor.errors import PPOFlavorError, SpecError
from mlflow_ppo_flavor.flavor import log_model
from training.backtest import Engine
from training.config import EpisodeConfig, PPOConfig
from training.console import progress, score_table
from training.evaluator import evaluate, greedy
from training.job import train
from training.publish import TrackedRun
from training.series import DEMO_SOURCE, DEMO_SYMBOLS, demo_bars

FILE = click.Path(dir_okay=False, path_type=Path)


def present(_: click.Context, __: click.Parameter, device: str) -> str:
    """The device, if torch can use it here; BadParameter otherwise."""
    try:
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise click.BadParameter(f"torch can't use {device} here: {str(error).splitlines()[0]}") from error
    return device


def known_contract(_: click.Context, __: click.Parameter, name: str) -> ModelSpec:
    """The released spec of that version, or the own one, `acme:1.0.0`; BadParameter for a name of neither."""
    try:
        return spec_named(name)
    except SpecError as error:
        raise click.BadParameter(str(error)) from error


@click.command(context_settings={"show_default": True})
@click.option("--symbol", required=True, help="What the bars are of.")
@click.option("--bars", "csv", type=FILE, help="CSV with time, open, high, low, close, volume.")
@click.option("--timeframe", type=click.Choice(TIMEFRAMES), default="1Day", help="Of the CSV's bars.")
@click.option("--adjustment", type=click.Choice(ADJUSTMENTS), help="Of the CSV's prices; --bars needs it.")
@click.option("--demo-bars", "demo", is_flag=True, help=f"Real daily bars of {', '.join(DEMO_SYMBOLS)}.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="Learn from bars before this day, score the rest.")
@click.option(
    "--spec-version",
    "contract",
    metavar="VERSION",
    default=CURRENT_MODEL_VERSION,
    callback=known_contract,
    help="Contract: a released version, or FAMILY:VERSION of an installed package.",
)
@click.option("--timesteps", type=int, default=61_440, help="Steps to learn from.")
@click.option("--seed", type=int, default=0, help="Of everything random.")
@click.option("--device", default="cpu", callback=present, help="Torch's name of one.")
@click.option("--checkpoint", type=FILE, required=True, help="Where the policy is written.")
@click.option("--tracking-uri", help="MLflow server or store that the run is logged to.")
@click.option("--experiment", default="ppo", help="MLflow experiment of the run.")
def main(
    symbol: str,
    csv: Path | None,
    timeframe: str,
    adjustment: str | None,
    demo: bool,
    until: datetime | None,
    contract: ModelSpec,
    timesteps: int,
    seed: int,
    device: str,
    checkpoint: Path,
    tracking_uri: str | None,
    experiment: str,
) -> None:
    """Train a PPO trading policy and write its checkpoint, with its spec and golden decisions."""
    console, episode = Console(), EpisodeConfig()
    with refusals_as_messages(), ExitStack() as stack:
        bars = read_bars(symbol, csv, timeframe, adjustment, demo=demo)
        known = len(bars) if until is None else first_bar_of(bars, until)
        config = PPOConfig(total_timesteps=timesteps, seed=seed, device=device)
        spec = contract.for_bars(**bars.spec.to_dict(), symbols=[bars.symbol])
        engine, whole = prepare(bars[:known], spec), prepare(bars, spec)
        tracked = None if tracking_uri is None else stack.enter_context(tracked_run(tracking_uri, experiment))
        if tracked is not None:
            tracked.log_setup(engine, config, episode, source=DEMO_SOURCE if csv is None else str(csv))
        with progress(console, config) as show:
            policy = train(engine, config, episode, checkpoint, tracked=tracked, on_update=show)
        start = None if until is None else known
        scores = evaluate(whole, greedy(policy), equity=episode.initial_equity, start=start).scores
        if tracked is not None:
            tracked.log_scores(scores, step=timesteps)
            console.print(f"model: {log_model(str(checkpoint), name='policy').model_uri}")
        unseen = "bars that it learned from" if until is None else f"bars from {until:%Y-%m-%d} on, which it didn't see"
        console.print(score_table(scores, f"{symbol}, {spec.label}: {unseen}"))
        console.print(f"checkpoint: {checkpoint}")


def read_bars(symbol: str, csv: Path | None, timeframe: str, adjustment: str | None, *, demo: bool) -> Bars:
    """The bars that the options name; UsageError unless they name one source, BarsError with every fault of a CSV."""
    if demo == (csv is not None):
        raise click.UsageError("give either --bars FILE or --demo-bars")
    if csv is None:
        return demo_bars(symbol)
    if adjustment is None:
        raise click.UsageError(
            f"--bars {csv}: say with --adjustment how its prices are adjusted: {', '.join(ADJUSTMENTS)}"
        )
    try:
        frame = pd.read_csv(csv)
    except (OSError, ValueError) as error:
        raise click.UsageError(f"--bars {csv}: {error}") from error
    return Bars.from_frame(frame, symbol=symbol, spec=BarSpec(timeframe, adjustment))


def first_bar_of(bars: Bars, day: datetime) -> int:
    """The first bar that starts on `day` or later, in the exchange's zone; UsageError if none or all do."""
    midnight = pd.Timestamp(day, tz=bars.spec.time_zone).value
    first = int(np.searchsorted(bars.time, midnight))
    if not 0 < first < len(bars) - 1:
        held = f"{first} of {len(bars)} bars before it"
        raise click.UsageError(f"--until {day:%Y-%m-%d}: found {held}, expected bars to learn from and two to score")
    return first


def prepare(bars: Bars, spec: ModelSpec) -> Engine:
    """An engine of a spec for these bars, at the default costs."""
    return Engine.prepare(bars, spec, Instrument.equity(bars.symbol), Costs())


@contextmanager
def tracked_run(uri: str, experiment: str) -> Iterator[TrackedRun]:
    """A new run in that store's experiment, ended as finished or failed."""
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(experiment)
    with mlflow.start_run() as run:
        yield TrackedRun(mlflow.MlflowClient(uri), run.info.run_id)


class Refusal(click.ClickException):
    """Ends the command with a message on stderr and exit code 2, as wrong usage does."""

    exit_code = 2


@contextmanager
def refusals_as_messages() -> Iterator[None]:
    """Refusal with the same message for what the package or MLflow refuses."""
    try:
        yield
    except (PPOFlavorError, MlflowException) as error:
        raise Refusal(str(error)) from error
