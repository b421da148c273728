"""What is on disk stays readable, and stays what it is: a checkpoint and a model's folder of an earlier version.

Recorded by `python -m tests.flavor.test_formats`; run it for a new format alone, and keep what it replaces readable.
"""

import json
import shutil
from pathlib import Path

import mlflow
import pytest
import torch
import yaml
from safetensors.torch import load, save

import mlflow_ppo_flavor as ppo
from mlflow_ppo_flavor.model.golden import record_cases
from mlflow_ppo_flavor.model.replay import replay
from mlflow_ppo_flavor.model.storage import read_model, write_model
from tests.model.policies import SPEC, observations, policy_of, small_bars, small_golden

GOLDEN = Path(__file__).parents[1] / "golden"
CHECKPOINT, MODEL, PREDICTIONS = GOLDEN / "checkpoint.pt", GOLDEN / "model", GOLDEN / "predictions.json"


def test_the_checkpoint_reads_as_it_was_written() -> None:
    checkpoint = ppo.load_checkpoint(CHECKPOINT)
    assert (checkpoint.spec, checkpoint["global_step"], checkpoint["config"]) == (SPEC, 7, {"lr": 0.001, "dims": [4]})
    assert checkpoint["optimizer_state_dict"]["param_groups"][0]["lr"] == 0.01
    stored = read_model(MODEL)
    for name, tensor in stored.policy.state_dict().items():
        assert torch.equal(checkpoint["policy_state_dict"][name], tensor)
    assert checkpoint.golden is not None
    assert save(checkpoint.golden.to_tensors()) == (MODEL / "golden.safetensors").read_bytes()


def test_the_model_decides_as_it_did() -> None:
    model = mlflow.pyfunc.load_model(str(MODEL), suppress_warnings=True)
    table = model.predict(observations(SPEC, 3).numpy())
    for found, recorded in zip(table.to_dict("records"), json.loads(PREDICTIONS.read_text()), strict=True):
        for name, value in recorded.items():
            assert found[name] == (pytest.approx(value, rel=1e-6) if isinstance(value, float) else value)


def test_the_models_golden_decisions_are_reproduced() -> None:
    stored = read_model(MODEL)
    assert stored.golden is not None
    assert replay(stored.golden, stored.policy, stored.spec) == ()


def test_the_model_is_written_to_the_same_bytes_again(tmp_path: Path) -> None:
    stored = read_model(MODEL)
    entry = write_model(tmp_path, stored.policy, stored.spec, stored.golden)
    for name in ("spec.json", "policy.safetensors", "golden.safetensors"):
        assert (tmp_path / name).read_bytes() == (MODEL / name).read_bytes()
    assert yaml.safe_load((MODEL / "MLmodel").read_text())["flavors"]["ppo"] == entry


def test_the_names_of_the_tensors_are_the_format() -> None:
    assert sorted(load((MODEL / "policy.safetensors").read_bytes())) == [
        *("actor.bias", "actor.weight", "critic.bias", "critic.weight", "trunk.0.bias", "trunk.0.weight")
    ]
    assert sorted(load((MODEL / "golden.safetensors").read_bytes())) == [
        *("account_features", "actions", "logits", "margins", "meta", "samples"),
        *(f"segments.{i}.{name}" for i in (0, 1) for name in ("columns", "features", "rows", "time")),
        "values",
    ]


def record() -> None:
    """Write the files anew."""
    policy = policy_of(SPEC, seed=11, hidden_dims=(4,))
    bars = small_bars()
    of_time = {int(time): row for row, time in enumerate(bars.time)}
    cases = [
        (of_time[int(small_golden().segments[case.segment].bars.time[case.row])], case.account)
        for case in small_golden().cases[4:8]
    ]
    golden = record_cases(policy, bars, cases)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.01)
    ppo.save_checkpoint(CHECKPOINT, policy, optimizer, 7, {"lr": 0.001, "dims": [4]}, golden=golden)
    shutil.rmtree(MODEL, ignore_errors=True)
    ppo.save_model(CHECKPOINT, MODEL)
    table = mlflow.pyfunc.load_model(str(MODEL)).predict(observations(SPEC, 3).numpy())
    PREDICTIONS.write_text(json.dumps(table.to_dict("records"), indent=1) + "\n")


if __name__ == "__main__":
    record()
