"""Models of stable-baselines3: rebuilt from weights and readable text, equal to the real ones, or refused by name."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn

from mlflow_ppo_flavor.errors import CheckpointError, IncompatibleModel
from mlflow_ppo_flavor.model.foreign.candidate import Candidate, Options, read_candidate
from mlflow_ppo_flavor.model.inference import infer
from tests.model.foreign.baselines import SPEC, Market, answers, model, normalised, observations, rewritten, saved

PLAIN = Options(spec=SPEC, unnormalised=True)
TOLERANCE = 1e-5


class Swish(nn.SiLU):
    """An activation of somebody's own code."""


class SharedExtractor(nn.Module):
    """MlpExtractor as it was in stable-baselines3 1.x, with shared layers before those of each head."""

    def __init__(self, entering: int, shared: list[int], pi: list[int], vf: list[int]) -> None:
        super().__init__()
        self.shared_net, width = _net(entering, shared)
        self.policy_net, self.latent_dim_pi = _net(width, pi)
        self.value_net, self.latent_dim_vf = _net(width, vf)

    def forward(self, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.forward_actor(seen), self.forward_critic(seen)

    def forward_actor(self, seen: torch.Tensor) -> torch.Tensor:
        return self.policy_net(self.shared_net(seen))

    def forward_critic(self, seen: torch.Tensor) -> torch.Tensor:
        return self.value_net(self.shared_net(seen))


class SharedPolicy(ActorCriticPolicy):
    """A policy of 1.x: net_arch [16, {pi: [8], vf: [12, 4]}]."""

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = SharedExtractor(self.features_dim, [16], [8], [12, 4])


class Other(FlattenExtractor):
    """An extractor of somebody's own, that happens to have no weights."""


def _net(width: int, dims: list[int]) -> tuple[nn.Sequential, int]:
    layers: list[nn.Module] = []
    for dim in dims:
        layers += [nn.Linear(width, dim), nn.Tanh()]
        width = dim
    return nn.Sequential(*layers), width


def check_equal(candidate: Candidate, original: PPO, prepare: Callable[[np.ndarray], np.ndarray] = np.asarray) -> None:
    """Raw logits, probabilities and values of a rebuilt policy are those of the original."""
    seen = observations()
    logits, values = infer(candidate.network, seen)
    raw, log_probabilities, valued = answers(original, prepare(seen))
    own = logits.astype(np.float64)
    own -= np.log(np.exp(own - own.max(1, keepdims=True)).sum(1, keepdims=True)) + own.max(1, keepdims=True)
    for found, expected in ((logits, raw), (values, valued)):
        assert (np.abs(found - expected) <= TOLERANCE * np.maximum(1, np.abs(expected))).all()
    # the original subtracts in float32: what is lost is a share of the logits, however near to 0 the difference is
    largest = np.abs(raw).max(axis=1, keepdims=True)
    assert (np.abs(own - log_probabilities) <= TOLERANCE * np.maximum(1, largest)).all()
    assert logits.argmax(1).tolist() == raw.argmax(1).tolist()


@pytest.mark.parametrize(
    ("options", "architecture"),
    [
        ({}, {"hidden_dims": [], "activation": "tanh", "actor_dims": [64, 64], "critic_dims": [64, 64]}),
        (
            {"activation_fn": nn.ReLU, "net_arch": {"pi": [8, 8], "vf": [5]}},
            {"hidden_dims": [], "activation": "relu", "actor_dims": [8, 8], "critic_dims": [5]},
        ),
        (
            {"activation_fn": nn.ELU, "net_arch": [12], "share_features_extractor": False},
            {"hidden_dims": [], "activation": "elu", "actor_dims": [12], "critic_dims": [12]},
        ),
        (
            {"activation_fn": nn.LeakyReLU, "net_arch": {"vf": [4]}, "features_extractor_class": FlattenExtractor},
            {"hidden_dims": [], "activation": "leaky_relu", "critic_dims": [4]},
        ),
        ({"activation_fn": nn.GELU, "net_arch": []}, {"hidden_dims": [], "activation": "gelu"}),
        # as many actions as a hidden layer is wide
        (
            {"activation_fn": nn.SiLU, "net_arch": [7, 7]},
            {"hidden_dims": [], "activation": "silu", "actor_dims": [7, 7], "critic_dims": [7, 7]},
        ),
    ],
)
def test_it_is_the_original(options: dict[str, Any], architecture: dict[str, Any], tmp_path: Path) -> None:
    original = model(**options)
    found = read_candidate(saved(original, tmp_path / "model.zip"), PLAIN)
    assert found.network.architecture == {"class": "ActorCritic", **architecture}
    assert (found.kind.partition(" ")[0], found.golden, found.spec) == ("stable-baselines3", None, SPEC)
    assert found.reading.endswith(f"; {architecture['activation']}; observations not normalised")
    check_equal(found, original)


def test_a_window_of_features_is_flattened_as_it_was(tmp_path: Path) -> None:
    original = model(Market((SPEC.window, SPEC.n_features)))
    found = read_candidate(saved(original, tmp_path / "model.zip"), PLAIN)
    seen = observations()
    windows = seen.reshape(-1, SPEC.window, SPEC.n_features)
    np.testing.assert_allclose(infer(found.network, windows)[0], answers(original, windows)[0], rtol=1e-5, atol=1e-5)


def test_shared_layers_of_1_x(tmp_path: Path) -> None:
    original = model(policy=SharedPolicy)

    def of_1_8(data: dict[str, Any]) -> None:
        """Its own class, the spaces of gym and their older names."""
        data["policy_class"] = {
            "__module__": "stable_baselines3.common.policies",
            "__init__": "<function ActorCriticPolicy.__init__ at 0x7f4ddce0d3a0>",
        }
        data["observation_space"] = {":type:": "<class 'gym.spaces.box.Box'>", "dtype": "float32", "shape": [50]}
        data["action_space"] = {":type:": "<class 'gym.spaces.discrete.Discrete'>", "n": 7, "shape": []}

    path = rewritten(saved(original, tmp_path / "model.zip"), of_1_8)
    found = read_candidate(path, PLAIN)
    assert found.network.architecture == {
        "class": "ActorCritic",
        "hidden_dims": [16],
        "activation": "tanh",
        "actor_dims": [8],
        "critic_dims": [12, 4],
    }
    check_equal(found, original)


@pytest.mark.parametrize("options", [{}, {"clip_obs": 0.5, "epsilon": 1e-3}])
def test_normalisation_is_folded_in(options: dict[str, Any], tmp_path: Path) -> None:
    env = normalised(**options)
    # a number that never varied: its variance is next to nothing
    env.obs_rms.var[0] = 1e-12
    original = model(env)
    env.save(str(tmp_path / "vecnormalize.pkl"))
    path = saved(original, tmp_path / "model.zip")
    told = Options(spec=SPEC, vecnormalize=str(tmp_path / "vecnormalize.pkl"))
    found = read_candidate(path, told)
    clip = options.get("clip_obs", 10.0)
    assert found.network.architecture["normalisation"] == {"clip": clip}
    assert found.reading.endswith(f"; tanh; observations normalised, clipped at {clip:g}")
    seen = observations()
    folded = env.normalize_obs(seen)
    assert (np.abs(folded) == clip).mean() > 0.05
    assert (found.network.normalisation(torch.from_numpy(seen)).numpy() == folded).all()
    check_equal(found, original, env.normalize_obs)


def test_statistics_that_were_not_used_are_not_folded_in(tmp_path: Path) -> None:
    env = normalised(norm_obs=False)
    original = model(env)
    env.save(str(tmp_path / "vecnormalize.pkl"))
    told = Options(spec=SPEC, vecnormalize=str(tmp_path / "vecnormalize.pkl"))
    found = read_candidate(saved(original, tmp_path / "model.zip"), told)
    assert "normalisation" not in found.network.architecture
    check_equal(found, original)


def refusal(path: str, options: Options = PLAIN) -> list[str]:
    """The messages of a refusal."""
    with pytest.raises(IncompatibleModel) as caught:
        read_candidate(path, options)
    assert {finding.code for finding in caught.value.verdict.blocking} == {"import"}
    return [finding.message for finding in caught.value.verdict.blocking]


def test_nothing_says_whether_it_was_normalised(tmp_path: Path) -> None:
    path = saved(model(), tmp_path / "model.zip")
    assert refusal(path, Options(spec=SPEC)) == [
        f"{path}: found nothing that says whether observations were normalised, expected to be told: weights don't "
        "show it: give --vecnormalize FILE (what VecNormalize.save wrote), or --no-normalisation if there was none"
    ]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            lambda: model(Market(actions=gymnasium.spaces.Box(-1, 1, (2,), np.float32))),
            "data.action_space: found type \"<class 'gymnasium.spaces.box.Box'>\", dtype 'float32', _shape [2]",
        ),
        (
            lambda: model(Market(actions=gymnasium.spaces.MultiDiscrete([3, 2]))),
            "data.action_space: found type \"<class 'gymnasium.spaces.multi_discrete.MultiDiscrete'>\"",
        ),
        (
            lambda: A2C("MlpPolicy", Market(), device="cpu"),
            "data: found no clip_range, n_epochs among policy_class, verbose, policy_kwargs",
        ),
        (
            lambda: model(features_extractor_class=Other),
            f"data.policy_kwargs.features_extractor_class: found <class '{__name__}.Other'>, expected <class 'stable_",
        ),
        (
            lambda: model(policy=SharedPolicy),
            f"data.policy_class: found {__name__}.(a class without __init__), expected stable_baselines3.common.",
        ),
        (
            lambda: PPO("MlpPolicy", Market(actions=gymnasium.spaces.Box(-1, 1, (2,))), use_sde=True, device="cpu"),
            "data.use_sde: found True, expected false: gSDE is for continuous actions: log the torch module itself",
        ),
        (
            lambda: model(Market((SPEC.n_features, SPEC.window))),
            "data.observation_space: found shape [10, 5], expected [50] or [5, 10] of spec 2.7.0: ",
        ),
        (
            lambda: model(Market(actions=gymnasium.spaces.Discrete(7, start=1))),
            "data.action_space: found type \"<class 'gymnasium.spaces.discrete.Discrete'>\", dtype 'int64', n '7', ",
        ),
    ],
)
def test_refused_by_name(make: Callable[[], PPO], told: str, tmp_path: Path) -> None:
    messages = refusal(saved(make(), tmp_path / "model.zip"))
    assert any(message.startswith(told) for message in messages), messages


def test_a_recurrent_policy_is_refused_by_name(tmp_path: Path) -> None:
    original = model()
    original.policy.lstm_actor = nn.LSTM(SPEC.obs_dim, 4)

    def recurrent(data: dict[str, Any]) -> None:
        init = "<function RecurrentActorCriticPolicy.__init__ at 0x7f>"
        data["policy_class"] = {"__module__": "sb3_contrib.common.recurrent.policies", "__init__": init}

    path = saved(original, tmp_path / "model.zip")
    assert refusal(path)[0].startswith(
        "policy_state_dict.lstm_actor.weight_ih_l0: found float32[16, 50], a recurrent layer's, expected linear layers "
    )
    message = refusal(rewritten(path, recurrent))[-1]
    assert message.startswith(
        "data.policy_class: found sb3_contrib.common.recurrent.policies.RecurrentActorCriticPolicy, expected stable_"
    )


def test_integer_observations_are_refused(tmp_path: Path) -> None:
    def integer(data: dict[str, Any]) -> None:
        data["observation_space"]["dtype"] = "uint8"

    (message,) = refusal(rewritten(saved(model(), tmp_path / "model.zip"), integer))
    assert message.startswith(
        "data.observation_space: found type \"<class 'gymnasium.spaces.box.Box'>\", dtype 'uint8'"
    )
    assert message.endswith(", expected a Box of float32 or float64: a spec's observations are float32")


def test_the_activation_is_not_guessed(tmp_path: Path) -> None:
    original = model(activation_fn=Swish, net_arch=[8])
    path = saved(original, tmp_path / "model.zip")
    (message,) = refusal(path)
    assert message.startswith(f"{path}: data: activation: found data.policy_kwargs.activation_fn: ")
    assert "Swish" in message
    assert "expected a readable activation: say it: --activation tanh|relu|elu|" in message
    check_equal(read_candidate(path, Options(spec=SPEC, unnormalised=True, activation="silu")), original)


def test_an_activation_that_contradicts_the_text_is_refused(tmp_path: Path) -> None:
    path = saved(model(activation_fn=nn.ReLU), tmp_path / "model.zip")
    (message,) = refusal(path, Options(spec=SPEC, unnormalised=True, activation="tanh"))
    assert "<class 'torch.nn.modules.activation.ReLU'>" in message
    assert ", and --activation tanh, expected one activation: leave --activation out" in message
    (message,) = refusal(saved(model(activation_fn=nn.Softsign), tmp_path / "other.zip"))
    assert "Softsign" in message
    assert "expected one of tanh, relu, elu, leaky_relu, silu, gelu" in message


def test_weights_of_an_extractor_are_refused_by_name(tmp_path: Path) -> None:
    original = model()
    original.policy.features_extractor.norm = nn.LayerNorm(SPEC.obs_dim)
    messages = refusal(saved(original, tmp_path / "model.zip"))
    assert messages[0].startswith(
        "policy_state_dict.features_extractor.norm.weight: found float32[50], a normalisation layer's, expected linear "
        "layers alone: log the torch module itself"
    )
    original.policy.features_extractor.norm = nn.Linear(SPEC.obs_dim, SPEC.obs_dim)
    messages = refusal(saved(original, tmp_path / "model.zip"))
    assert messages[0].startswith(
        "policy_state_dict.features_extractor.norm: found features_extractor.norm (50 → 50), expected the layers of "
    )


def test_a_released_spec_is_told_by_the_weights_and_others_are_refused(tmp_path: Path) -> None:
    path = saved(model(Market((5600,), gymnasium.spaces.Discrete(3)), net_arch=[4]), tmp_path / "model.zip")
    found = read_candidate(path, Options(unnormalised=True))
    assert (found.spec.version, found.spec.bars) == ("2.6.0", None)
    assert read_candidate(path, Options(unnormalised=True, as_version="2.4.0")).spec.version == "2.4.0"
    (message,) = refusal(saved(model(), tmp_path / "small.zip"), Options(unnormalised=True))
    assert message.startswith("policy_state_dict: found no spec (")
    assert message.endswith("expected the weights of one: give the spec that it was trained for: --spec FILE|VERSION")


def test_the_pickled_bytes_are_not_read(tmp_path: Path) -> None:
    original = model()

    def poisoned(data: dict[str, Any]) -> None:
        for value in data.values():
            if isinstance(value, dict) and ":serialized:" in value:
                value[":serialized:"] = "not even base64"

    check_equal(read_candidate(rewritten(saved(original, tmp_path / "model.zip"), poisoned), PLAIN), original)


@pytest.mark.parametrize(
    ("members", "told"),
    [
        (
            {"policy.pth": b"PK"},
            "found an archive without data, expected data and policy.pth in it: give the file that",
        ),
        ({"policy.pth": b"PK", "data": b"{"}, "data: found no JSON (Expecting property name"),
        ({"policy.pth": b"", "data": b"{}"}, "policy.pth: found an empty file, expected a checkpoint"),
        ({"policy.pth": b"\x80\x02]q\x00.", "data": b"{}"}, "policy.pth: found "),
        ({"policy.pth": b"PK", "data": b"[" * 100_000}, "data: found no JSON ("),
    ],
)
def test_a_broken_archive_is_an_error(members: dict[str, bytes], told: str, tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(CheckpointError) as caught:
        read_candidate(path, PLAIN)
    assert str(caught.value).removeprefix(f"{path}: ").startswith(told)
