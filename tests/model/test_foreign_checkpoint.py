"""Checkpoints that other code wrote: objects of classes that are gone, legacy networks, weights that are none."""

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mlflow_ppo_flavor as ppo
from mlflow_ppo_flavor.errors import CheckpointError, SpecError
from mlflow_ppo_flavor.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mlflow_ppo_flavor.model.detection import inspect_checkpoint
from mlflow_ppo_flavor.model.inert import Holder, plain_state
from tests.model.policies import SPEC, small_golden, small_policy


class Config:
    """A class that a checkpoint's config is of, and that is gone when it is read."""

    def __init__(self) -> None:
        self.activation, self.hidden = "relu", [8, 8]


@pytest.mark.parametrize("zipped", [True, False])
def test_a_config_of_a_class_that_is_gone_is_a_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    save_checkpoint(tmp_path / "good.pt", small_policy(), golden=small_golden())
    module = types.ModuleType("acme_gone")
    monkeypatch.setitem(sys.modules, "acme_gone", module)
    monkeypatch.setattr(Config, "__module__", "acme_gone")
    module.Config = Config  # type: ignore[attr-defined]
    content = dict(load_checkpoint(tmp_path / "good.pt")) | {"config": Config()}
    torch.save(content, tmp_path / "c.pt", _use_new_zipfile_serialization=zipped)
    monkeypatch.delitem(sys.modules, "acme_gone")

    checkpoint = load_checkpoint(tmp_path / "c.pt")
    holder = checkpoint["config"]
    assert isinstance(holder, Holder)
    assert (holder.path, plain_state(holder)) == ("acme_gone.Config", {"activation": "relu", "hidden": [8, 8]})
    assert checkpoint.spec == SPEC
    weights = checkpoint.policy().state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in small_policy().state_dict().items())
    assert checkpoint.golden is not None
    assert checkpoint.golden.digests == small_golden().digests
    with pytest.raises(
        CheckpointError, match=r"^config.old: found <object acme_gone.Config .*Holder\), expected NoneTyp"
    ):
        save_checkpoint(tmp_path / "again.pt", small_policy(), config={"old": holder})


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"x": Path("a")}, r".x: found an object of pathlib.PosixPath, expected a tensor: nothing of it was run: save"),
        ({"x": Path}, r".x: found the name pathlib.Path, expected a tensor"),
        ({"x": {"y": [torch.zeros(2)]}}, r".x.y: found a list, expected a tensor"),
        ({"x": np.zeros(2)}, r".x: found a numpy.ndarray, expected a tensor"),
        ({"x": torch.zeros(2).to_sparse()}, r".x: found an object of torch._utils._rebuild_sparse_tensor, expected a"),
        ({"x": torch.empty(2, device="meta")}, r".x: found an object of torch._utils._rebuild_meta_tensor_no_storage"),
        ({Path("a"): None}, r".an object of pathlib.PosixPath: found a NoneType, expected a tensor"),
        ([torch.zeros(2)], ": found a list, expected a mapping of names to tensors"),
        (Path("a"), ": found an object of pathlib.PosixPath, expected a mapping of names to tensors"),
    ],
)
def test_weights_that_are_no_tensors_are_refused_by_name(tmp_path: Path, weights: Any, message: str) -> None:
    torch.save({"policy_state_dict": weights}, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=rf"c.pt: policy_state_dict{message}"):
        load_checkpoint(tmp_path / "c.pt")


def test_weights_in_mappings_of_their_own_load(tmp_path: Path) -> None:
    nested_state = {"actor": torch.nn.Linear(2, 3).state_dict(), "critic": torch.nn.Linear(2, 1).state_dict()}
    torch.save({"policy_state_dict": nested_state}, tmp_path / "c.pt")
    assert torch.equal(
        load_checkpoint(tmp_path / "c.pt")["policy_state_dict"]["actor"]["weight"], nested_state["actor"]["weight"]
    )


@pytest.mark.parametrize(
    ("key", "read"),
    [("spec", lambda c: c.spec), ("architecture", lambda c: c.policy()), ("golden", lambda c: c.golden)],
)
def test_what_says_what_the_model_is_must_be_plain(tmp_path: Path, key: str, read: Callable[[Checkpoint], Any]) -> None:
    save_checkpoint(tmp_path / "good.pt", small_policy())
    torch.save(dict(load_checkpoint(tmp_path / "good.pt")) | {key: Path("x")}, tmp_path / "c.pt")
    checkpoint = load_checkpoint(tmp_path / "c.pt")
    with pytest.raises(
        SpecError, match=f"^{key}: found <object pathlib.PosixPath>, expected (a mapping|tensors by name)"
    ):
        read(checkpoint)


class Legacy(torch.nn.Module):
    """A network as training code of somebody else has it: one trunk, or two networks; perhaps wrapped."""

    def __init__(self, obs_dim: int, n_actions: int, shared: bool) -> None:
        super().__init__()
        linear, tanh = torch.nn.Linear, torch.nn.Tanh
        if shared:
            self.shared_net = torch.nn.Sequential(linear(obs_dim, 8), tanh(), linear(8, 8), tanh())
            self.policy_head, self.value_head = linear(8, n_actions), linear(8, 1)
        else:
            self.critic = torch.nn.Sequential(linear(obs_dim, 8), tanh(), linear(8, 1))
            self.actor = torch.nn.Sequential(linear(obs_dim, 8), tanh(), linear(8, n_actions))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("version", ["2.3.0", "2.5.0", "2.7.0"])
def test_checkpoints_of_the_old_protocol_load(
    tmp_path: Path, version: str, zipped: bool, shared: bool, wrapped: bool
) -> None:
    spec = ppo.MODEL_SPECS[version]
    net: torch.nn.Module = Legacy(spec.obs_dim, spec.n_actions, shared)
    net = torch.nn.DataParallel(net) if wrapped else net
    optimizer = torch.optim.Adam(net.parameters())
    sum(weight.sum() for weight in net.parameters()).backward()  # type: ignore[union-attr]
    optimizer.step()
    content = {
        "policy_state_dict": net.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "global_step": np.int64(2_048),
        "config": Config(),
        "model_version": version,
        "n_features": np.int64(spec.n_features),
        "n_actions": torch.tensor(spec.n_actions),
        "obs_dim": spec.obs_dim,
        "action_meanings": spec.action_meanings,
        "min_trader_version": spec.min_trader_version,
    }
    torch.save(content, tmp_path / "c.pt", _use_new_zipfile_serialization=zipped)
    checkpoint = load_checkpoint(tmp_path / "c.pt")
    assert inspect_checkpoint(checkpoint) == (version, spec, ())
    assert all(torch.equal(checkpoint["policy_state_dict"][name], net.state_dict()[name]) for name in net.state_dict())
    moments = checkpoint["optimizer_state_dict"]["state"]
    assert torch.equal(moments[0]["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"])
    assert (checkpoint["global_step"], plain_state(checkpoint["config"])["activation"]) == (2_048, "relu")
