"""`mlflow-ppo demo`: from real bars to a trading policy, in one command."""

from __future__ import annotations

import logging
import math
import os
import shlex
import shutil
import time
import warnings
from pathlib import Path

import click
import mlflow
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from mlflow_ppo_flavor.cli.demo import promotion
from mlflow_ppo_flavor.cli.demo.learning import MODEL, OUT_OF_SAMPLE, Learned, learn
from mlflow_ppo_flavor.cli.demo.tracking import Store, TrackingServer
from mlflow_ppo_flavor.cli.demo.trading import BARS_TRADED, Traded, trade
from mlflow_ppo_flavor.errors import RegistryError
from training.config import PPOConfig
from training.console import progress, score_table
from training.evaluator import Score
from training.plots import action_figure, equity_figure
from training.series import DEMO_SYMBOLS, demo_bars

SPECS = {1: "2.6.0", 2: "2.7.0"}
SYMBOL = "AAPL"
MARKER = ".mlflow-ppo-demo"


@click.command()
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default="demo-output",
    show_default=True,
    help="Where everything is kept; an earlier demo's folder is replaced.",
)
@click.option("--timesteps", type=click.IntRange(2_048), default=61_440, show_default=True, help="Of each training.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of everything random.")
def command(folder: Path, timesteps: int, seed: int) -> None:
    """Train, register, refuse, promote and trade, on real bars."""
    console, began = Console(highlight=False), time.monotonic()
    _quieten()
    store = Store(_fresh(folder.resolve()))
    with TrackingServer(store) as server:
        _introduce(console)
        console.print("[bold]1. An MLflow server on loopback[/], its registry behind the gate …")
        server.wait()
        console.print(f"   {server.url}, everything it keeps is in {store.folder}")
        mlflow.set_tracking_uri(server.url)
        mlflow.set_experiment("demo")
        learned = [_learn(console, store, version, timesteps, seed) for version in SPECS.values()]
        refusals = _promote(console, server.url, learned)
        console.print(f"\n[bold]4. The live trader[/] on models:/{MODEL}/Production, the last {BARS_TRADED} bars")
        traded = _trade(console, store, learned[-1])
        _summarise(console, learned, traded, refusals)
    _say_where_to_look(console, store, time.monotonic() - began)


def _introduce(console: Console) -> None:
    console.print(f"\nReal daily bars of {', '.join(DEMO_SYMBOLS)}, 2000 to early 2013 (package bokeh-sampledata):")
    table = Table("symbol", "bars", "first", "last", "adjusted close")
    for symbol in DEMO_SYMBOLS:
        bars = demo_bars(symbol)
        days = bars.time.astype("datetime64[ns]").astype("datetime64[D]")
        table.add_row(
            symbol, str(len(bars)), str(days[0]), str(days[-1]), f"{bars.close[0]:.2f} → {bars.close[-1]:.2f}"
        )
    console.print(table)


def _learn(console: Console, store: Store, spec_version: str, timesteps: int, seed: int) -> Learned:
    bars, config = demo_bars(SYMBOL), PPOConfig(total_timesteps=timesteps, seed=seed)
    console.print(f"\n[bold]2. Train a policy of spec {spec_version}[/] on {SYMBOL} up to 2010, {timesteps} steps")
    with progress(console, config) as show:
        learned = learn(bars, spec_version, config, store.folder, show)
    title = f"{SYMBOL} from {OUT_OF_SAMPLE} on, unseen, costs included: spec {spec_version}"
    console.print(score_table(learned.evaluation.scores, title))
    console.print(f"   registered as version {learned.version} of {MODEL}")
    return learned


def _promote(console: Console, url: str, learned: list[Learned]) -> int:
    """The promotions; how many were refused."""
    first, second = learned
    console.print(f"\n[bold]3. Promote[/]: trader {promotion.TRADER} (2.6.0) announces itself for {MODEL}/Production")
    promotion.announce("2.6.0")
    promotion.promote(first.version)
    console.print(f"   version {first.version} (spec {first.spec_version}) → Production: [green]allowed[/]")
    answer = promotion.promote_by_rest(url, second.version)
    console.print(f"\n   version {second.version} (spec {second.spec_version}) → Production, over REST:")
    console.print(f"[dim]$ {escape(answer.command)}[/]", soft_wrap=True)
    if answer.status != promotion.REFUSED:
        raise RegistryError(f"{MODEL} version {second.version}: found status {answer.status}, expected a refusal, 409")
    console.print(f"   HTTP {answer.status}", style="red")
    console.print(escape(promotion.told(answer)), style="red", soft_wrap=True)
    console.print("   and by MLflow's own client, which raises:")
    console.print(escape(promotion.refused_by_client(second.version)), style="red", soft_wrap=True)
    console.print(f"\n   trader {promotion.TRADER} is upgraded to 2.7.0 and announces itself again")
    promotion.announce("2.7.0")
    promotion.promote(second.version)
    console.print(f"   version {second.version} (spec {second.spec_version}) → Production: [green]allowed[/]")
    return 2


def _trade(console: Console, store: Store, learned: Learned) -> Traded:
    bars = demo_bars(SYMBOL)
    columns = (TextColumn("trading"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("trading", total=BARS_TRADED)
        log = (store.folder / "trader.log").open("w", encoding="utf-8")
        with log:
            traded = trade(
                bars,
                store.folder / "trader",
                lambda done: bar.update(task, completed=done),
                lambda line: print(line, file=log),
            )
    with mlflow.start_run(run_id=learned.run_id):
        title = f"{SYMBOL}: the live trader on the last {BARS_TRADED} bars"
        mlflow.log_figure(
            equity_figure(traded.course.times, {"live trader": traded.course.equity}, title), "live/equity.png"
        )
        mlflow.log_figure(action_figure({"live trader": traded.decisions}, title), "live/actions.png")
    return traded


def _summarise(console: Console, learned: list[Learned], traded: Traded, refusals: int) -> None:
    table = Table(
        "",
        "trades",
        "return",
        "drawdown",
        "Sharpe",
        "orders",
        "refused",
        title="\nSummary, costs included",
        show_lines=False,
    )
    for one in learned:
        for label, score in one.evaluation.scores.items():
            if label == "policy" or one is learned[-1]:
                table.add_row(_label(label, one), *_cells(score), "")
    table.add_section()
    table.add_row(f"live trader, last {BARS_TRADED} bars", *_cells(traded.score), str(traded.refused_orders))
    table.add_row("promotions by the registry", "", "", "", "", "", str(refusals))
    console.print(table)
    same = "equal to the bit" if traded.equals_backtest else "NOT equal"
    console.print(f"The engine that trains, over the live trader's {BARS_TRADED} bars: accounts at every close {same}.")


def _say_where_to_look(console: Console, store: Store, seconds: float) -> None:
    console.print(f"\nDone in {seconds:.0f} s. Look at it:")
    console.print(f"  mlflow-ppo server {shlex.join(store.options)}", soft_wrap=True)
    console.print(
        "and open http://127.0.0.1:5000\n"
        "  Experiments › demo: two runs; their metrics by update, their dataset, and under Artifacts the pictures\n"
        "    out_of_sample/equity.png, out_of_sample/actions.png and, in the run of 2.7.0, live/equity.png\n"
        f"  Models › {MODEL}: version 2 in Production; on each version's page its contract and the gate's last verdict",
        soft_wrap=True,
    )


def _label(label: str, learned: Learned) -> str:
    return f"{label} {learned.spec_version}" if label == "policy" else label


def _cells(score: Score) -> tuple[str, str, str, str, str]:
    told = score.to_dict()
    return (
        f"{told['trades']:g}",
        f"{told['total_return']:+.1%}",
        f"{told['max_drawdown']:.1%}",
        "-" if math.isnan(told["sharpe"]) else f"{told['sharpe']:.2f}",
        f"{told['orders']:g}",
    )


def _fresh(folder: Path) -> Path:
    """An empty folder; an earlier demo's is emptied, anything else refused."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).exists():
            raise click.UsageError(f"--folder {folder}: found other files in it, expected an empty or new folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()
    return folder


def _quieten() -> None:
    """Leave MLflow's own chatter out of the story; errors stay."""
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    warnings.filterwarnings("ignore", category=FutureWarning, message=".*stages.*")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
