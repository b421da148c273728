"""A whole job: bars in, checkpoint with golden decisions out, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mlflow_ppo_flavor.errors import CheckpointError
from mlflow_ppo_flavor.model.checkpoint import load_checkpoint
from tests.training import markets
from training.config import EpisodeConfig, PPOConfig
from training.job import train
from training.ppo import UpdateMetrics
from training.publish import describe

CONFIG = PPOConfig(total_timesteps=256, num_envs=4, num_steps=32, hidden_dims=(8,), seed=1)
EPISODE = EpisodeConfig(length=16)


def test_checkpoint_holds_what_was_trained_and_its_proof(tmp_path: Path) -> None:
    told: list[UpdateMetrics] = []
    policy = train(markets.engine(), CONFIG, EPISODE, tmp_path / "out.pt", on_update=told.append)
    checkpoint = load_checkpoint(tmp_path / "out.pt")
    assert [m.global_step for m in told] == [128, 256]
    assert checkpoint["global_step"] == 256
    assert checkpoint["config"] == describe(markets.engine(), CONFIG, EPISODE)
    assert checkpoint.spec == markets.small_spec()
    assert not policy.training
    stored = checkpoint.policy().state_dict()
    assert all(torch.equal(stored[name], weight) for name, weight in policy.state_dict().items())
    assert checkpoint["optimizer_state_dict"]["param_groups"][0]["eps"] == 1e-5
    golden = checkpoint.golden
    observations = torch.tensor(golden.samples)
    assert torch.allclose(policy(observations)[0], torch.tensor(golden.logits[: len(observations)]), atol=1e-5)


def test_a_missing_folder_is_told_before_the_work(tmp_path: Path) -> None:
    told: list[UpdateMetrics] = []
    path = tmp_path / "missing" / "out.pt"
    with pytest.raises(CheckpointError) as refused:
        train(markets.engine(), CONFIG, EPISODE, path, on_update=told.append)
    assert str(refused.value) == f"{path}: found no folder {path.parent}, expected one to write it into"
    assert told == []


def test_the_same_seed_writes_the_same_policy_and_proof(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("one.pt", "two.pt")]
    for path in paths:
        train(markets.engine(), CONFIG, EPISODE, path)
    one, two = map(load_checkpoint, paths)
    weights = [checkpoint["policy_state_dict"] for checkpoint in (one, two)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert one.golden.digests == two.golden.digests
    assert one.golden.logits.tobytes() == two.golden.logits.tobytes()
