"""What a file would be as a model: told by content, completed by the user, refused where it contradicts itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mlflow_ppo_flavor as ppo
from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.errors import CheckpointError, IncompatibleModel
from mlflow_ppo_flavor.model.foreign.candidate import Candidate, Options, read_candidate
from mlflow_ppo_flavor.model.foreign.golden_file import read_golden_file
from mlflow_ppo_flavor.model.inference import infer
from tests.model.policies import SPEC, small_golden, small_policy

SMALL = replace(MODEL_SPECS["2.3.0"], window=1)


class Shared(nn.Module):
    """A trunk with two heads, as many write it."""

    def __init__(self, spec: ModelSpec, activation: type[nn.Module] = nn.Tanh) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(spec.obs_dim, 16), nn.Linear(16, 16, bias=False)
        self.policy_head, self.value_head = nn.Linear(16, spec.n_actions), nn.Linear(16, 1)
        self.activation = activation()

    def forward(self, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.activation(self.fc2(self.activation(self.fc1(seen))))
        return self.policy_head(hidden), self.value_head(hidden)[:, 0]


class Separate(nn.Module):
    """Two networks of different depth."""

    def __init__(self, spec: ModelSpec, activation: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.actor = nn.Sequential(
            nn.Linear(spec.obs_dim, 8), activation(), nn.Linear(8, 8), activation(), nn.Linear(8, spec.n_actions)
        )
        self.critic = nn.Sequential(nn.Linear(spec.obs_dim, 4), activation(), nn.Linear(4, 1))

    def forward(self, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.actor(seen), self.critic(seen)[:, 0]


def legacy(path: Path, weights: object, **more: Any) -> str:
    """A checkpoint as trainers of the protocol wrote it before there were specs."""
    torch.save({"policy_state_dict": weights, "global_step": 1, **more}, path)
    return str(path)


def messages(path: str, options: Options) -> list[str]:
    with pytest.raises(IncompatibleModel) as caught:
        read_candidate(path, options)
    return [finding.message for finding in caught.value.verdict.blocking]


def check_equal(found: Candidate, original: nn.Module) -> None:
    """Logits and values of a candidate are those of the module that it was."""
    seen = torch.randn(32, found.spec.obs_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = original(seen)
    for one, other in zip(infer(found.network, seen.numpy()), expected, strict=True):
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("build", [Shared, Separate])
@pytest.mark.parametrize(
    "activation", [nn.Tanh, nn.ReLU, nn.ELU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Softplus, nn.Sigmoid, nn.SELU]
)
def test_a_legacy_checkpoint_is_the_original(build: Any, activation: type[nn.Module], tmp_path: Path) -> None:
    original = build(SMALL, activation)
    path = legacy(tmp_path / "old.pt", original.state_dict(), config={"activation": activation})
    found = read_candidate(path, Options(spec=SMALL))
    assert (found.kind, found.golden, found.spec) == ("legacy checkpoint", None, SMALL)
    check_equal(found, original)


def test_wrapped_and_half_precision_weights(tmp_path: Path) -> None:
    original = Shared(SMALL).half()
    weights = {f"module._orig_mod.{name}": tensor for name, tensor in original.state_dict().items()}
    found = read_candidate(legacy(tmp_path / "old.pt", weights), Options(spec=SMALL, activation="tanh"))
    check_equal(found, original.float())


def test_two_networks_in_mappings_of_their_own(tmp_path: Path) -> None:
    original = Separate(SMALL)
    weights = {"actor": original.actor.state_dict(), "critic": original.critic.state_dict()}
    read = read_candidate(legacy(tmp_path / "m.pt", weights), Options(spec=SMALL, activation="relu"))
    check_equal(read, original)
    (message, *_) = messages(
        legacy(tmp_path / "m.pt", weights | {"actor.0.weight": torch.zeros(8, 53)}), Options(spec=SMALL)
    )
    assert message.startswith(
        "policy_state_dict.actor.0.weight: found a second weight actor.0.weight, expected each name"
    )
    deep: Any = {"weight": torch.zeros(1, 1)}
    for _ in range(9):
        deep = {"critic": deep}
    (message, *_) = messages(legacy(tmp_path / "m.pt", weights | deep), Options(spec=SMALL))
    assert ".critic.critic: found {'critic': {'weight': tensor([[0.]])}}, expected linear layers alone" in message


def test_weights_that_float32_has_not_are_refused(tmp_path: Path) -> None:
    weights = {name: weight.double() * 1e300 for name, weight in Separate(SMALL).state_dict().items()}
    for message in messages(legacy(tmp_path / "m.pt", weights), Options(spec=SMALL, activation="relu")):
        assert ": found NaN or infinity, expected finite weights of float32: its training has diverged" in message


def test_the_weights_tell_a_released_spec_and_the_user_chooses_among_equals(tmp_path: Path) -> None:
    path = legacy(tmp_path / "old.pt", Shared(MODEL_SPECS["2.6.0"]).state_dict(), config={"activation": "tanh"})
    assert read_candidate(path, Options()).spec == MODEL_SPECS["2.6.0"]
    found = read_candidate(path, Options(as_version="2.5.0", timeframe="1Hour", adjustment="split", symbols=("AAPL",)))
    assert found.spec == MODEL_SPECS["2.5.0"].for_bars(timeframe="1Hour", adjustment="split", symbols=("AAPL",))
    with pytest.raises(IncompatibleModel, match=r"policy_state_dict: found no spec \(.*--spec FILE\|VERSION"):
        read_candidate(path, Options(as_version="2.7.0"))


def test_metadata_that_lies_is_refused(tmp_path: Path) -> None:
    weights = Shared(MODEL_SPECS["2.3.0"]).state_dict()
    path = legacy(tmp_path / "old.pt", weights, config={"activation": "tanh"}, model_version="2.3.0", n_actions=7)
    (message,) = messages(path, Options())
    assert message.startswith("n_actions: found 7, spec 2.3.0 says 3")


def test_names_of_ones_own_are_mapped(tmp_path: Path) -> None:
    original = Shared(SMALL)
    names = {"fc1": "a", "fc2": "b", "policy_head": "c", "value_head": "d"}
    weights = {
        names[name.partition(".")[0]] + "." + name.partition(".")[2]: t for name, t in original.state_dict().items()
    }
    path = legacy(tmp_path / "old.pt", weights)
    told = Options(spec=SMALL, activation="tanh")
    # the shapes alone tell it
    check_equal(read_candidate(path, told), original)
    rules = (("a", "trunk.0"), ("b", "trunk.2"), ("c", "actor"), ("d", "critic"))
    found = read_candidate(path, replace(told, rules=rules))
    assert found.reading == (
        "trunk trunk.0 (53 → 16), trunk.2 (16 → 16); actor actor (16 → 3); critic critic (16 → 1); tanh"
    )
    check_equal(found, original)
    (message,) = messages(path, replace(told, rules=(("fc1", "trunk.0"),)))
    assert message.startswith("--map fc1=trunk.0: found no such weight, expected the name of a weight or layer")


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    weights = Shared(SMALL).state_dict() | {"norm.weight": torch.ones(16), "norm.bias": torch.ones(16)}
    found = messages(legacy(tmp_path / "old.pt", weights), Options(spec=SMALL, rules=(("x", "y"),)))
    assert [message.partition(": found")[0] for message in found] == [
        "--map x=y",
        "policy_state_dict.norm.weight",
        "policy_state_dict.norm.bias",
        f"{tmp_path / 'old.pt'}: activation",
    ]


def test_weights_of_no_spec_are_refused_with_all_that_was_seen(tmp_path: Path) -> None:
    path = legacy(tmp_path / "old.pt", Shared(SMALL).state_dict(), config={"activation": "tanh"})
    (message,) = messages(path, Options())
    assert "53 inputs and 3 actions" in message
    assert "fc1.weight [16, 53]" in message
    (message,) = messages(path, Options(spec=replace(SMALL, window=2)))[:1]
    assert "53 inputs and 3 actions" in message


def test_ours_needs_nothing_said(tmp_path: Path) -> None:
    ppo.save_checkpoint(tmp_path / "ours.zip", small_policy(), golden=small_golden())
    found = read_candidate(tmp_path / "ours.zip", Options(unnormalised=True))
    assert (found.kind, found.spec, found.golden is not None) == ("checkpoint", SPEC, True)
    seen = torch.randn(4, SPEC.obs_dim).numpy()
    assert (infer(found.network, seen)[0] == infer(small_policy(), seen)[0]).all()


def test_what_is_said_of_ours_may_not_contradict_it(tmp_path: Path) -> None:
    path = str(tmp_path / "ours.pt")
    ppo.save_checkpoint(path, small_policy())
    found = messages(path, Options(activation="relu", rules=(("a", "b"),)))
    assert found == [
        "architecture.activation: found tanh, expected --activation relu: leave the option out",
        "--map a=b: found a checkpoint that names its layers, expected foreign names: leave the option out",
    ]
    (message,) = messages(path, Options(spec=MODEL_SPECS["2.7.0"]))
    assert message == (
        "spec: found --spec 2.7.0 of 5900 inputs, expected its own, 1.0.0 with 24 inputs: leave --spec out"
    )
    (message,) = messages(path, Options(vecnormalize="v.pkl"))
    assert message == (
        f"{path}: found a checkpoint, expected a stable-baselines3 model for --vecnormalize: leave the option out: a "
        "checkpoint's policy sees what its trainer fed it"
    )


def test_bars_and_symbols_may_not_contradict(elsewhere: Path, tmp_path: Path) -> None:
    ppo.save_checkpoint(tmp_path / "ours.pt", small_policy())
    found = messages(str(tmp_path / "ours.pt"), Options(timeframe="1Hour", adjustment="raw", symbols=("IBM",)))
    assert found == [
        "spec.bars.timeframe: found 1Day by the spec, 1Hour by --timeframe, expected one: leave out what is wrong",
        "spec.bars.adjustment: found all by the spec, raw by --adjustment, expected one: leave out what is wrong",
        "spec.symbols: found --symbols IBM, expected its own MEANREV: leave --symbols out",
    ]
    bare = replace(read_golden_file(elsewhere / "golden.npz").spec, bars=None, symbols=())
    golden = str(elsewhere / "golden.npz")
    found = messages(
        str(elsewhere / "legacy.pt"), Options(spec=bare, golden=golden, timeframe="1Min", symbols=("IBM",))
    )
    assert found == [
        f"spec.bars.timeframe: found 1Day by the golden file {golden}, 1Min by --timeframe, expected one: leave out "
        "what is wrong",
        f"{golden}: symbol: found MEANREV, expected one of the trained IBM: record it on bars of a trained symbol",
    ]
    found = messages(str(elsewhere / "legacy.pt"), Options(spec=bare, timeframe="1Day"))
    assert found == [
        "spec.bars: found one of --timeframe and --adjustment, expected both or none: say both: what the policy was "
        "trained on can't be told from weights"
    ]


def test_a_golden_file_of_another_spec_is_refused(elsewhere: Path, tmp_path: Path) -> None:
    file = read_golden_file(elsewhere / "golden.npz")
    bare = replace(file.spec, bars=None, symbols=())
    other = replace(bare, sizing=replace(bare.sizing, base_allocation=0.5))
    found = messages(str(elsewhere / "legacy.pt"), Options(spec=other, golden=str(elsewhere / "golden.npz")))
    assert found[0].startswith("golden.spec.sizing.base_allocation: found 0.5, recorded 0.15")


def test_the_config_whose_class_is_gone_says_the_activation(elsewhere: Path) -> None:
    spec = read_golden_file(elsewhere / "golden.npz").spec
    found = read_candidate(elsewhere / "legacy.pt", Options(spec=spec))
    assert found.network.architecture == {"class": "ActorCritic", "hidden_dims": [32, 32], "activation": "relu"}
    assert found.golden is None


def test_what_is_no_checkpoint(elsewhere: Path, tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"found a file of arrays, expected a checkpoint: give golden files by --go"
    ):
        read_candidate(elsewhere / "golden.npz", Options())
    with pytest.raises(CheckpointError, match=r"gone\.pt: No such file or directory: expected a file to import"):
        read_candidate(tmp_path / "gone.pt", Options())
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(CheckpointError, match=r"text\.pt: found bytes that start with b'hello'"):
        read_candidate(tmp_path / "text.pt", Options())
    torch.save(Shared(SMALL).state_dict(), tmp_path / "bare.pt")
    with pytest.raises(CheckpointError, match=r"expected a dict with policy_state_dict"):
        read_candidate(tmp_path / "bare.pt", Options())
