"""`python -m training`, as a user calls it."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from mlflow import MlflowClient
from rich.console import Console

from mlflow_ppo_flavor.model.checkpoint import load_checkpoint
from tests.training import markets
from training.command import first_bar_of, main
from training.console import score_table
from training.evaluator import Score
from training.series import demo_bars


def call(*options: object) -> Result:
    """The command with these options, in this process."""
    return CliRunner().invoke(main, [str(option) for option in options])


@pytest.fixture
def meanrev(tmp_path: Path) -> Path:
    """The generated series as a CSV."""
    path = tmp_path / "meanrev.csv"
    markets.bars().to_frame().to_csv(path, index=False)
    return path


def test_trains_scores_logs_and_writes_a_checkpoint(
    meanrev: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where a store without a server keeps its artifacts
    store = f"sqlite:///{tmp_path}/mlflow.db"
    result = call(
        *("--symbol", "MEANREV", "--bars", meanrev, "--adjustment", "all", "--until", "2001-06-01"),
        *("--spec-version", "2.6.0", "--timesteps", 2048, "--seed", 5, "--checkpoint", tmp_path / "out.pt"),
        *("--tracking-uri", store, "--experiment", "tried"),
    )
    assert result.exit_code == 0, result.output
    assert "MEANREV, 2.6.0: bars from 2001-06-01 on, which it didn't see" in result.output
    assert "hold 20%" in result.output
    checkpoint = load_checkpoint(tmp_path / "out.pt")
    assert (checkpoint["model_version"], checkpoint["global_step"], checkpoint["config"]["seed"]) == ("2.6.0", 2048, 5)
    assert checkpoint.spec.symbols == ("MEANREV",)
    learned = int(np.searchsorted(markets.bars().time, np.datetime64("2001-06-01T04:00", "ns").astype(np.int64)))
    assert checkpoint["config"]["bars"]["count"] == learned
    assert checkpoint.golden is not None
    client = MlflowClient(store)
    (run,) = client.search_runs([client.get_experiment_by_name("tried").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["seed"] == "5"
    assert len(run.outputs.model_outputs) == 1
    assert f"model: models:/{run.outputs.model_outputs[0].model_id}" in result.output
    assert {"policy/total_return", "random/sharpe", "steps_per_second"} <= set(run.data.metrics)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "give either --bars FILE or --demo-bars"),
        (("--demo-bars", "--bars", "x.csv"), "give either --bars FILE or --demo-bars"),
        (("--bars", "x.csv"), "--bars x.csv: say with --adjustment how its prices are adjusted: raw, split, all"),
        (("--bars", "x.csv", "--adjustment", "all"), "--bars x.csv: [Errno 2] No such file or directory"),
        (("--demo-bars", "--until", "1990-01-01"), "--until 1990-01-01: found 0 of 3270 bars before it"),
        (("--demo-bars", "--device", "meta"), "Invalid value for '--device': torch can't use meta here"),
        (("--demo-bars", "--device", "gpu"), "Invalid value for '--device': torch can't use gpu here"),
        (("--demo-bars", "--spec-version", "3.0.0"), "Invalid value for '--spec-version'"),
    ],
)
def test_wrong_usage_is_told(options: Sequence[str], message: str, tmp_path: Path) -> None:
    result = call("--symbol", "AAPL", "--checkpoint", tmp_path / "out.pt", *options)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--symbol", "XYZ"), "Error: demo bars: found no ticker 'XYZ', expected one of AAPL"),
        (
            ("--symbol", "AAPL", "--timesteps", "5"),
            "Error: total_timesteps: found 5, expected at least one batch, 2048",
        ),
        (("--symbol", "AAPL", "--until", "2000-05-01"), "Error: AAPL: found 42 bars, expected at least "),
    ],
)
def test_refusals_are_messages(options: Sequence[str], message: str, tmp_path: Path) -> None:
    result = call("--demo-bars", "--checkpoint", tmp_path / "out.pt", *options)
    assert result.exit_code == 2
    assert result.output.startswith(message)
    assert not list(tmp_path.iterdir())


def test_help_names_every_option() -> None:
    told = call("--help").output
    own = {"--bars", "--demo-bars", "--symbol", "--until", "--timeframe", "--adjustment", "--spec-version"}
    own |= {"--timesteps", "--seed", "--device", "--checkpoint", "--tracking-uri", "--experiment"}
    assert {option for parameter in main.params for option in parameter.opts} == own
    assert all(option in told for option in own)


def test_table_shows_shares_in_percent_and_dashes_for_nothing() -> None:
    one = Score(0.101, 0.05, 1.254, -0.2, 3, 2 / 3, 7, 0.5, 0.25)
    two = Score(0.0, 0.0, math.nan, 0.0, 0, math.nan, 0, 0.0, 0.0)
    console = Console(width=60, file=io.StringIO(), record=True)
    console.print(score_table({"policy": one, "do nothing": two}, "title"))
    rows = [line.split("│")[1:-1] for line in console.export_text().splitlines() if "│" in line]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["total return", "10.1%", "0.0%"],
        ["annual return", "5.0%", "0.0%"],
        ["sharpe", "1.25", "-"],
        ["max drawdown", "-20.0%", "0.0%"],
        ["trades", "3", "0"],
        ["win rate", "66.7%", "-"],
        ["orders", "7", "0"],
        ["turnover", "0.50", "0"],
        ["exposure", "25.0%", "0.0%"],
    ]


def test_days_begin_at_the_exchanges_midnight() -> None:
    bars = demo_bars("AAPL")
    first = first_bar_of(bars, datetime(2011, 1, 1))  # noqa: DTZ001 (a day, whose zone is the bars')
    assert (bars.local.year[first - 1], bars.local.year[first]) == (2010, 2011)
