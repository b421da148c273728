"""Telling MLflow what a training run was: its parameters, its bars as a dataset, its metrics as they come."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from mlflow import MlflowClient
from mlflow.data.pandas_dataset import from_pandas
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from mlflow_ppo_flavor.decision.bars import Bars
from training.backtest import Engine
from training.config import EpisodeConfig, PPOConfig
from training.evaluator import Score
from training.ppo import UpdateMetrics

_DIGEST_LENGTH = 36


def describe(engine: Engine, config: PPOConfig, episode: EpisodeConfig) -> dict[str, Any]:
    """What a run was made from, as JSON values: for a checkpoint's `config` and, flattened, for MLflow's parameters."""
    return {
        **config.to_dict(),
        "episode": episode.to_dict(),
        "costs": engine.costs.to_dict(),
        "instrument": engine.instrument.to_dict(),
        "bars": {"symbol": engine.bars.symbol, "count": len(engine.bars), "digest": engine.bars.digest},
    }


def flatten(values: Mapping[str, Any], path: str = "") -> dict[str, str]:
    """{dotted path: text} of nested mappings; lists stay one value."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        below = f"{path}.{key}" if path else key
        flat |= flatten(value, below) if isinstance(value, Mapping) else {below: str(value)}
    return flat


class TrackedRun:
    """One MLflow run that training tells about itself; `clock` is in nanoseconds since 1970."""

    def __init__(self, client: MlflowClient, run_id: str, clock: Callable[[], int] = time.time_ns) -> None:
        self.client, self.run_id, self.clock = client, run_id, clock

    def log_setup(self, engine: Engine, config: PPOConfig, episode: EpisodeConfig, *, source: str) -> None:
        """The run's parameters, the spec's among them, and the bars that it learns from; `source` is their origin."""
        spec = engine.spec
        told = {
            "version": spec.version,
            "fingerprint": spec.fingerprint,
            "obs_dim": spec.obs_dim,
            "window": spec.window,
        }
        flat = flatten({**describe(engine, config, episode), "spec": told})
        self.client.log_batch(self.run_id, params=[Param(key, value) for key, value in flat.items()])
        self.log_bars(engine.bars, context="training", source=source)

    def log_bars(self, bars: Bars, *, context: str, source: str) -> None:
        """Bars as an MLflow dataset named after their symbol, with the first digits of their own digest."""
        # MLflow's schema knows no time zones: the times are UTC
        frame = bars.to_frame().assign(time=bars.time.view("datetime64[ns]"))
        name, digest = f"{bars.symbol}-{bars.spec.timeframe}", bars.digest[:_DIGEST_LENGTH]
        with warnings.catch_warnings():
            # MLflow registers its source of local files twice and warns that it can't choose between the two
            warnings.filterwarnings(
                "ignore", message="The specified dataset source can be interpreted", category=UserWarning
            )
            told = from_pandas(frame, source=source, name=name, digest=digest).to_dict()
        tagged = DatasetInput(Dataset(**told), [InputTag(MLFLOW_DATASET_CONTEXT, context)])
        self.client.log_inputs(self.run_id, [tagged])

    def follow(self, updates: Iterable[UpdateMetrics]) -> Iterator[UpdateMetrics]:
        """Log each update's metrics at its global step, and hand it on."""
        for update in updates:
            told = update.to_dict()
            self._log(told, step=int(told.pop("global_step")))
            yield update

    def log_scores(self, scores: Mapping[str, Score], *, step: int) -> None:
        """Each score's numbers as metrics `<label>/<number>`, blanks in the label as underscores."""
        self._log(
            {f"{_key(label)}/{name}": number for label, s in scores.items() for name, number in s.to_dict().items()},
            step=step,
        )

    def _log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """One request for all metrics; one without a meaning (NaN) isn't told rather than told as a number."""
        now = self.clock() // 1_000_000
        told = [Metric(key, value, now, step) for key, value in metrics.items() if math.isfinite(value)]
        self.client.log_batch(self.run_id, metrics=told)


def _key(label: str) -> str:
    """A label as MLflow allows it in a metric's name."""
    return label.replace(" ", "_").replace("%", "")
