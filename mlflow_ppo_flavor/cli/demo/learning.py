"""The demo's training: a policy of one released spec on AAPL up to 2010, scored on what came after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient

from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from mlflow_ppo_flavor.decision.action import Instrument
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.decision.market import Costs
from mlflow_ppo_flavor.errors import RegistryError
from mlflow_ppo_flavor.flavor import log_model
from training.backtest import Engine
from training.config import EpisodeConfig, PPOConfig
from training.evaluator import Evaluation, evaluate, greedy
from training.job import train
from training.plots import action_figure, equity_figure
from training.ppo import UpdateMetrics
from training.publish import TrackedRun
from training.series import DEMO_SOURCE

OUT_OF_SAMPLE = "2011-01-01"
MODEL = "ppo-aapl"


@dataclass(frozen=True)
class Learned:
    """One trained policy: its spec's version, its MLflow run, its registered version, and how it did out of sample."""

    spec_version: str
    run_id: str
    version: int
    evaluation: Evaluation


def learn(
    bars: Bars, spec_version: str, config: PPOConfig, folder: Path, on_update: Callable[[UpdateMetrics], None]
) -> Learned:
    """Train in a run of its own, score, log and register; the run stays with metrics, parameters, dataset, pictures."""
    spec = MODEL_SPECS[spec_version].for_bars(**bars.spec.to_dict(), symbols=[bars.symbol])
    known = first_unseen(bars)
    engine = Engine.prepare(bars[:known], spec, Instrument.equity(bars.symbol), Costs())
    episode, checkpoint = EpisodeConfig(), folder / f"{MODEL}-{spec_version}.pt"
    with mlflow.start_run(run_name=f"{MODEL} {spec_version}") as run:
        tracked = TrackedRun(MlflowClient(), run.info.run_id)
        tracked.log_setup(engine, config, episode, source=DEMO_SOURCE)
        policy = train(engine, config, episode, checkpoint, tracked=tracked, on_update=on_update)
        whole = Engine.prepare(bars, spec, engine.instrument, engine.costs)
        evaluation = evaluate(whole, greedy(policy), equity=episode.initial_equity, start=known)
        tracked.log_scores(evaluation.scores, step=config.total_timesteps)
        _log_pictures(evaluation, f"{bars.symbol} from {OUT_OF_SAMPLE}, spec {spec_version}")
        info = log_model(str(checkpoint), name="policy", registered_model_name=MODEL)
    if info.registered_model_version is None:
        raise RegistryError(f"{MODEL}: found it logged without a version, expected it registered: look at server.log")
    return Learned(spec_version, run.info.run_id, int(info.registered_model_version), evaluation)


def first_unseen(bars: Bars) -> int:
    """The first bar from 2011 on."""
    return int(np.searchsorted(bars.time, pd.Timestamp(OUT_OF_SAMPLE, tz=bars.spec.time_zone).value))


def _log_pictures(evaluation: Evaluation, title: str) -> None:
    backtest = evaluation.policy
    mlflow.log_figure(equity_figure(backtest.times, evaluation.curves, title), "out_of_sample/equity.png")
    counts = {"policy": backtest.action_counts, "random (one seed)": evaluation.random[0].action_counts}
    mlflow.log_figure(action_figure(counts, title), "out_of_sample/actions.png")
