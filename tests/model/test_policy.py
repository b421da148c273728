"""ActorCritic: the network, its start, and its construction around weights that are there already."""

import json
import math
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize

from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from mlflow_ppo_flavor.errors import ObservationError, SpecError
from mlflow_ppo_flavor.model.architecture import ACTIVATIONS, Architecture
from mlflow_ppo_flavor.model.layers import Normalisation
from mlflow_ppo_flavor.model.policy import ActorCritic, agreed_spec, check_same
from tests import tiers
from tests.model.policies import ACTIONS, SPEC, any_policies, observations, policy_of, shaped_policy, small_policy

RELEASED = MODEL_SPECS["2.7.0"]
SHAPES: list[dict[str, Any]] = [
    {"hidden_dims": (9, 5)},
    {"hidden_dims": ()},
    {"hidden_dims": (7,), "actor_dims": (6, 5), "critic_dims": (4,)},
    {"hidden_dims": (), "critic_dims": (4, 3), "normalisation": {"clip": 1.25}},
]


def sparse_weight() -> torch.Tensor:
    return torch.zeros(16, 24).to_sparse()


def test_its_default_layers_are_those_of_the_protocol() -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in ActorCritic(RELEASED).state_dict().items()}
    weights = [shape for name, shape in shapes.items() if name.endswith("weight")]
    assert weights == [(512, 5900), (256, 512), (128, 256), (7, 128), (1, 128)]


def normal_cdf(x: np.ndarray) -> np.ndarray:
    return np.array([0.5 * (1 + math.erf(value / math.sqrt(2))) for value in x])


def softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: x * normal_cdf(x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": softplus,
    "mish": lambda x: x * np.tanh(softplus(x)),
    "selu": lambda x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(x)),
    "hardtanh": lambda x: np.clip(x, -1, 1),
}


def naive_forward(policy: ActorCritic, row: np.ndarray) -> tuple[np.ndarray, float]:
    """The network in float64 NumPy, one unit at a time: an independent oracle."""
    state = {name: tensor.double().numpy() for name, tensor in policy.state_dict().items()}
    built = policy.architecture
    activate = FORMULAS[built["activation"]]

    def linear(name: str, seen: np.ndarray) -> np.ndarray:
        units = zip(state[f"{name}.weight"], state[f"{name}.bias"], strict=True)
        return np.array([unit @ seen + bias for unit, bias in units])

    def head(name: str, dims: list[int], seen: np.ndarray) -> np.ndarray:
        for i in range(len(dims)):
            seen = activate(linear(f"{name}.{2 * i}", seen))
        return linear(f"{name}.{2 * len(dims)}" if dims else name, seen)

    hidden = row.astype(np.float64)
    if "normalisation" in built:
        clip = built["normalisation"]["clip"]
        scaled = (hidden - state["normalisation.mean"]) / state["normalisation.scale"]
        hidden = np.array([min(max(number, -clip), clip) for number in scaled])
    for i in range(len(built["hidden_dims"])):
        hidden = activate(linear(f"trunk.{2 * i}", hidden))
    logits, value = (head(name, built.get(f"{name}_dims", []), hidden) for name in ("actor", "critic"))
    return logits, float(value[0])


@pytest.mark.parametrize("options", SHAPES, ids=str)
@pytest.mark.parametrize("activation", FORMULAS)
def test_it_computes_what_a_naive_network_computes(activation: str, options: dict[str, Any]) -> None:
    policy = shaped_policy(activation=activation, **options)
    assert set(FORMULAS) == set(ACTIVATIONS)
    seen = observations(SPEC, 6)
    logits, values = policy(seen)
    for i, row in enumerate(seen.numpy()):
        expected_logits, expected_value = naive_forward(policy, row)
        np.testing.assert_allclose(logits[i].detach(), expected_logits, atol=1e-6)
        assert values[i].item() == pytest.approx(expected_value, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"hidden_dims": (9, 5)}, ["trunk.0", "trunk.2", "actor", "critic"]),
        ({"hidden_dims": (9,), "actor_dims": (4,)}, ["trunk.0", "actor.0", "actor.2", "critic"]),
        ({"hidden_dims": (), "actor_dims": (4,), "critic_dims": (3, 2)}, [f"actor.{i}" for i in (0, 2)]),
        ({"hidden_dims": ()}, ["actor", "critic"]),
        ({"hidden_dims": (), "normalisation": {"clip": 5}}, ["actor", "critic"]),
    ],
)
def test_the_names_of_its_weights_are_the_format(options: dict[str, Any], names: list[str]) -> None:
    names += [f"critic.{i}" for i in (0, 2, 4)] if "critic_dims" in options else []
    weights = {f"{name}.{kind}" for name in names for kind in ("weight", "bias")}
    weights |= {"normalisation.mean", "normalisation.scale"} if "normalisation" in options else set()
    assert set(ActorCritic(SPEC, **options).state_dict()) == weights


def test_it_normalises_as_stable_baselines3_does_to_the_bit() -> None:
    random = np.random.default_rng(4)
    statistics = RunningMeanStd(shape=(SPEC.obs_dim,))
    statistics.update(random.standard_normal((50, SPEC.obs_dim)) * np.geomspace(1e-9, 1e6, SPEC.obs_dim))
    normalise = VecNormalize.__new__(VecNormalize)
    normalise.obs_rms, normalise.epsilon, normalise.clip_obs, normalise.norm_obs = statistics, 1e-8, 1.5, True
    normalise.norm_obs_keys = None
    layer = Normalisation(SPEC.obs_dim, 1.5)
    layer.mean.copy_(torch.from_numpy(statistics.mean))
    layer.scale.copy_(torch.from_numpy(np.sqrt(statistics.var + 1e-8)))
    seen = (random.standard_normal((200, SPEC.obs_dim)) * np.geomspace(1e-9, 1e6, SPEC.obs_dim)).astype(np.float32)
    found, expected = layer(torch.from_numpy(seen)).numpy(), normalise.normalize_obs(seen)
    assert found.dtype == expected.dtype == np.float32
    assert (found == expected).all()
    assert {-1.5, 1.5} < set(found.ravel().tolist())


def test_means_and_scales_are_no_weights_to_train() -> None:
    policy = shaped_policy(normalisation={"clip": 10})
    policy(observations(SPEC, 3))[0].sum().backward()
    assert not any("normalisation" in name for name, _ in policy.named_parameters())
    assert policy.trunk[0].weight.grad is not None


def test_windows_and_flat_observations_give_the_same() -> None:
    flat = observations(SPEC, 5)
    windows = flat.reshape(5, SPEC.window, SPEC.n_features)
    for one, other in zip(small_policy()(flat), small_policy()(windows), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("shape", "dtype", "found"),
    [
        ((3, 23), torch.float32, "float32[3, 23]"),
        ((24,), torch.float32, "float32[24]"),
        ((3, 6, 4), torch.float32, "float32[3, 6, 4]"),
        ((3, 24), torch.float64, "float64[3, 24]"),
    ],
)
def test_other_shapes_and_kinds_are_refused(shape: tuple[int, ...], dtype: torch.dtype, found: str) -> None:
    expected = f"observations: found {found}, expected float32 of shape [n, 24] or [n, 4, 6] (spec 1.0.0)"
    with pytest.raises(ObservationError, match=re.escape(expected)):
        small_policy()(torch.zeros(shape, dtype=dtype))


def test_an_array_is_told_how_to_become_a_tensor() -> None:
    message = "observations: found numpy.ndarray, expected a torch.Tensor: give torch.from_numpy(array)"
    with pytest.raises(ObservationError, match=f"^{re.escape(message)}$"):
        small_policy()(observations(SPEC, 2).numpy())
    with pytest.raises(ObservationError, match=r"^observations: found NoneType, expected a torch.Tensor"):
        small_policy()(None)


@pytest.mark.parametrize(
    ("hidden_dims", "message"),
    [
        (5, "architecture.hidden_dims: found 5, expected a list"),
        (None, "architecture.hidden_dims: found None, expected a list"),
        ((8,) * 17, "architecture.hidden_dims: found 17 layers, expected at most 16"),
        ((0,), "architecture.hidden_dims[0]: found 0, expected a whole number in [1, 65536]"),
        ("64", "architecture.hidden_dims[0]: found '6', expected a whole number in [1, 65536]"),
    ],
)
def test_dimensions_that_cannot_be_are_refused_by_their_path(hidden_dims: Any, message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        ActorCritic(SPEC, hidden_dims)


@pytest.mark.parametrize(("spec", "found"), [(None, "NoneType"), ("2.7.0", "str"), (SPEC.to_dict(), "dict")])
def test_what_is_no_spec_is_told(spec: Any, found: str) -> None:
    message = f"spec: found {found}, expected a ModelSpec, such as MODEL_SPECS['2.7.0'].for_bars(...)"
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        ActorCritic(spec)


def test_weights_start_orthogonal_with_the_gains_of_the_paper() -> None:
    policy = ActorCritic(SPEC, (16, 8))
    layers = [policy.trunk[0], policy.trunk[2], policy.actor, policy.critic]
    for layer, gain in zip(layers, (2**0.5, 2**0.5, 0.01, 1.0), strict=True):
        weight = layer.weight.detach()
        product = weight @ weight.T if weight.shape[0] <= weight.shape[1] else weight.T @ weight
        torch.testing.assert_close(product, gain**2 * torch.eye(len(product)), atol=1e-5, rtol=0)
        assert not layer.bias.any()


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, other, another = policy_of(SPEC, 1), policy_of(SPEC, 1), policy_of(SPEC, 2)
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.trunk[0].weight, another.trunk[0].weight)


@pytest.mark.parametrize("options", SHAPES, ids=str)
def test_stored_weights_are_used_as_they_are(options: dict[str, Any]) -> None:
    policy = shaped_policy(**options)
    weights = policy.state_dict()
    rebuilt = ActorCritic.from_architecture(SPEC, policy.architecture, weights)
    assert rebuilt.architecture == policy.architecture
    for name, tensor in rebuilt.state_dict().items():
        assert tensor.data_ptr() == weights[name].data_ptr()
    assert not rebuilt.training
    assert rebuilt.spec is SPEC


@settings(max_examples=tiers.SLOW_EXAMPLES)
@given(any_policies)
def test_architecture_and_weights_rebuild_any_policy(policy: ActorCritic) -> None:
    rebuilt = ActorCritic.from_architecture(policy.spec, policy.architecture, policy.state_dict())
    seen = observations(policy.spec, 3)
    for one, other in zip(rebuilt(seen), policy(seen), strict=True):
        assert torch.equal(one, other)
    assert rebuilt.architecture == policy.architecture
    widths = [policy.spec.obs_dim, *policy.architecture["hidden_dims"]]
    assert [tuple(layer.weight.shape) for layer in policy.trunk[::2]] == [(b, a) for a, b in pairwise(widths)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class": "Mlp"}, "architecture.class: found 'Mlp', expected one of ActorCritic"),
        ({"hidden_dims": [1] * 17}, "architecture.hidden_dims: found 17 layers, expected at most 16"),
        ({"actor_dims": [4, 0]}, "architecture.actor_dims[1]: found 0, expected a whole number in [1, 65536]"),
        ({"critic_dims": 4}, "architecture.critic_dims: found 4, expected a list"),
        ({"normalisation": 10}, "architecture.normalisation: found 10, expected a mapping"),
        ({"normalisation": {"clip": 0}}, "architecture.normalisation.clip: found 0, expected a number in [1e-06, 3e+"),
        (
            {"normalisation": {"epsilon": 1}},
            "architecture.normalisation.epsilon: found an unknown key, expected one of",
        ),
        ({"hidden_dims": [4, 0]}, "architecture.hidden_dims[1]: found 0, expected a whole number in [1, 65536]"),
        ({"hidden_dims": [4, True]}, "architecture.hidden_dims[1]: found True, expected a whole number in [1, 65536]"),
        (
            {"activation": "swish"},
            "architecture.activation: found 'swish', expected one of tanh, relu, elu, leaky_relu",
        ),
        (
            {"dropout": 0.1},
            "architecture.dropout: found an unknown key, expected one of class, hidden_dims, activation, actor_dims",
        ),
    ],
)
def test_an_architecture_that_cannot_be_read_is_refused_by_its_path(change: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}"):
        Architecture.from_dict(small_policy().architecture | change)


def test_architectures_survive_a_round_trip() -> None:
    plain = Architecture((7, 3), "relu")
    assert plain.to_dict() == {"class": "ActorCritic", "hidden_dims": [7, 3], "activation": "relu"}
    for architecture in (plain, Architecture((), "mish", (4,), (5, 6), 10.0)):
        assert Architecture.from_dict(json.loads(json.dumps(architecture.to_dict()))) == architecture


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"trunk.0.weight": torch.zeros(16, 20)},
            "trunk.0.weight: found shape [16, 20], expected [16, 24]: they aren't",
        ),
        (
            {"actor.weight": torch.zeros(3, 8)},
            "actor.weight: found shape [3, 8], expected [4, 8]: they aren't of spec 1.0.0",
        ),
        ({"critic.bias": torch.empty(1, device="meta")}, "critic.bias: found no tensor, expected a tensor [1]"),
        ({"critic.bias": None}, "critic.bias: found no tensor, expected a tensor [1]"),
        (
            {"actor.bias": torch.zeros(4).double()},
            "actor.bias: found torch.float64, torch.strided, expected dense torch.f",
        ),
        ({"trunk.0.weight": sparse_weight()}, "trunk.0.weight: found torch.float32, torch.sparse_coo, expected dense"),
        (
            {"extra.bias": torch.zeros(4)},
            "extra.bias: found an unknown weight, expected one of trunk.0.weight, trunk.0.b",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(change: dict[str, torch.Tensor], message: str) -> None:
    weights = small_policy().state_dict() | change
    with pytest.raises(SpecError, match=f"^{re.escape('policy_state_dict.' + message)}"):
        ActorCritic.from_architecture(SPEC, small_policy().architecture, weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": torch.zeros(24).double()}, "scale: found a number that isn't above 0, expected the scale of every"),
        ({"scale": torch.full((24,), torch.nan).double()}, "scale: found a number that isn't above 0"),
        (
            {"scale": torch.ones(24)},
            "scale: found torch.float32, torch.strided, expected dense torch.float64: normalis",
        ),
        ({"mean": torch.zeros(23).double()}, "mean: found shape [23], expected [24]"),
    ],
)
def test_a_normalisation_that_cannot_be_is_refused_by_name(change: dict[str, torch.Tensor], message: str) -> None:
    policy = shaped_policy(normalisation={"clip": 10})
    weights = policy.state_dict() | {f"normalisation.{name}": tensor for name, tensor in change.items()}
    with pytest.raises(SpecError, match=f"^{re.escape('policy_state_dict.normalisation.' + message)}"):
        ActorCritic.from_architecture(SPEC, policy.architecture, weights)


def test_a_given_spec_may_complete_the_policys_own_but_not_contradict_it() -> None:
    template = RELEASED
    whole = template.for_bars(timeframe="1Day", adjustment="all", symbols=["AAPL"])
    assert agreed_spec(template, None) is template
    assert agreed_spec(template, whole) is whole
    assert agreed_spec(whole, whole.for_bars(timeframe="1Day", adjustment="all")).symbols == ()
    with pytest.raises(
        SpecError, match=r"^spec: found bars.timeframe 1Hour, expected the policy's own 1Day: use the spec"
    ):
        agreed_spec(whole, template.for_bars(timeframe="1Hour", adjustment="all"))
    with pytest.raises(
        SpecError, match=r"^golden.spec: found features\[53\] nothing, expected the policy's own total_pnl@1"
    ):
        check_same(MODEL_SPECS["2.6.0"], MODEL_SPECS["2.3.0"], "golden.spec")


def test_an_action_table_in_another_order_is_another_contract() -> None:
    turned = type(SPEC).from_dict({**SPEC.to_dict(), "actions": [a.to_dict() for a in reversed(ACTIONS)]})
    with pytest.raises(
        SpecError, match=r"^spec: found actions SELL_50%, BUY_100%, BUY_50%, HOLD, expected the policy's own HOLD, BUY_"
    ):
        agreed_spec(SPEC, turned)
