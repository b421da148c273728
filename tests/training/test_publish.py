"""What a training run tells MLflow, read back from a real tracking store."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient

from tests.training import markets
from training.config import EpisodeConfig, PPOConfig
from training.environment import TradingEnvironment
from training.evaluator import evaluate, greedy
from training.ppo import PPOTrainer, UpdateMetrics, initial_policy
from training.publish import TrackedRun, describe, flatten

CONFIG = PPOConfig(total_timesteps=256, num_envs=4, num_steps=32, hidden_dims=(8,), seed=1)
EPISODE = EpisodeConfig(length=16)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> MlflowClient:
    """A client of a fresh SQLite store."""
    folder: Path = tmp_path_factory.mktemp("tracking")
    return MlflowClient(f"sqlite:///{folder}/mlflow.db")


@pytest.fixture
def tracked(client: MlflowClient) -> TrackedRun:
    """A new run whose clock stands at 1.7e18 ns."""
    return TrackedRun(client, client.create_run("0").info.run_id, clock=lambda: 1_700_000_000_000_000_000)


def update(**values: float) -> UpdateMetrics:
    """Metrics of one update."""
    zeros = dict.fromkeys(UpdateMetrics.__dataclass_fields__, 0.0)
    return UpdateMetrics(**(zeros | values))  # type: ignore[arg-type]


def test_parameters_and_bars_of_a_run(tracked: TrackedRun) -> None:
    engine = markets.engine()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracked.log_setup(engine, CONFIG, EPISODE, source="bars/meanrev.csv")
    run = tracked.client.get_run(tracked.run_id)
    assert run.data.params["learning_rate"] == "0.00025"
    assert run.data.params["hidden_dims"] == "[8]"
    assert run.data.params["episode.length"] == "16"
    assert run.data.params["costs.spread_bps"] == "5.0"
    assert run.data.params["instrument.symbol"] == "MEANREV"
    assert run.data.params["spec.version"] == "2.7.0"
    assert run.data.params["spec.fingerprint"] == engine.spec.fingerprint
    assert set(CONFIG.to_dict()) <= set(run.data.params)
    (told,) = run.inputs.dataset_inputs
    assert (told.dataset.name, told.dataset.digest) == ("MEANREV-1Day", engine.bars.digest[:36])
    assert '"uri": "bars/meanrev.csv"' in told.dataset.source
    assert '"num_rows": 400' in told.dataset.profile
    assert '{"type": "datetime", "name": "time", "required": true}' in told.dataset.schema
    assert [(tag.key, tag.value) for tag in told.tags] == [("mlflow.data.context", "training")]


def test_metrics_of_each_update_at_their_global_step(tracked: TrackedRun) -> None:
    environment = TradingEnvironment(markets.engine(), CONFIG.num_envs, EPISODE)
    trainer = PPOTrainer(initial_policy(markets.small_spec(), CONFIG), environment, CONFIG)
    metrics = list(tracked.follow(trainer.updates()))
    assert [m.global_step for m in metrics] == [128, 256]
    for name in set(UpdateMetrics.__dataclass_fields__) - {"global_step"}:
        history = tracked.client.get_metric_history(tracked.run_id, name)
        assert [m.step for m in history] == [128, 256], name
        assert [m.value for m in history] == [getattr(m, name) for m in metrics], name
        assert {m.timestamp for m in history} == {1_700_000_000_000}


def test_what_has_no_meaning_is_not_logged(tracked: TrackedRun) -> None:
    updates = [update(global_step=1, mean_episode_return=math.nan, entropy=0.5), update(global_step=2, entropy=0.25)]
    list(tracked.follow(updates))
    history = tracked.client.get_metric_history(tracked.run_id, "mean_episode_return")
    assert [m.step for m in history] == [2]
    assert [m.value for m in tracked.client.get_metric_history(tracked.run_id, "entropy")] == [0.5, 0.25]


def test_updates_are_handed_on_as_they_come(tracked: TrackedRun) -> None:
    first, second = update(global_step=1, entropy=0.5), update(global_step=2)
    following = tracked.follow(iter([first, second]))
    assert next(following) is first
    assert [m.value for m in tracked.client.get_metric_history(tracked.run_id, "entropy")] == [0.5]
    assert list(following) == [second]


def test_scores_are_metrics_under_their_label(tracked: TrackedRun) -> None:
    policy = initial_policy(markets.small_spec(), CONFIG)
    scores = evaluate(markets.engine(), greedy(policy), equity=1e5, seeds=(0,)).scores
    tracked.log_scores(scores, step=256)
    logged = tracked.client.get_run(tracked.run_id).data.metrics
    assert logged["hold_100/total_return"] == scores["hold 100%"].total_return
    assert logged["policy/exposure"] == scores["policy"].exposure
    assert "do_nothing/sharpe" not in logged


def test_description_is_what_the_run_was_made_from() -> None:
    told = describe(markets.engine(), CONFIG, EPISODE)
    own = {key: told.pop(key) for key in ("episode", "costs", "instrument", "bars")}
    assert PPOConfig.from_dict(told) == CONFIG
    assert EpisodeConfig.from_dict(own["episode"]) == EPISODE
    assert own["costs"] == {"spread_bps": 5.0, "commission_bps": 2.0}
    assert own["bars"] == {"symbol": "MEANREV", "count": 400, "digest": markets.bars().digest}
    assert describe(markets.engine(), replace(CONFIG, seed=2), EPISODE) != describe(markets.engine(), CONFIG, EPISODE)


keys = st.text("abc_", min_size=1, max_size=5)
trees = st.recursive(
    st.integers() | st.lists(st.integers()), lambda below: st.dictionaries(keys, below, min_size=1), max_leaves=8
)


@given(st.dictionaries(keys, trees))
def test_flattening_names_every_leaf_by_its_path(tree: dict[str, object]) -> None:
    def lookup(path: str) -> object:
        value: object = tree
        for key in path.split("."):
            value = value[key]  # type: ignore[index]
        return value

    def leaves(value: object) -> int:
        return sum(map(leaves, value.values())) if isinstance(value, dict) else 1

    flat = flatten(tree)
    assert len(flat) == leaves(tree)
    assert all(text == str(lookup(path)) for path, text in flat.items())
