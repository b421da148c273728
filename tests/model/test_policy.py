"""ActorCritic: the network, its start, and its construction around weights that are there already."""

import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from mlflow_ppo_flavor.errors import ObservationError, SpecError
from mlflow_ppo_flavor.model.policy import ActorCritic, Architecture, agreed_spec, check_same
from tests import tiers
from tests.model.policies import ACTIONS, SPEC, any_policies, observations, policy_of, small_policy

RELEASED = MODEL_SPECS["2.7.0"]


def test_its_default_layers_are_those_of_the_protocol() -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in ActorCritic(RELEASED).state_dict().items()}
    weights = [shape for name, shape in shapes.items() if name.endswith("weight")]
    assert weights == [(512, 5900), (256, 512), (128, 256), (7, 128), (1, 128)]


def naive_forward(policy: ActorCritic, row: np.ndarray) -> tuple[np.ndarray, float]:
    """The network in float64 NumPy, one unit at a time: an independent oracle."""
    state = {name: tensor.double().numpy() for name, tensor in policy.state_dict().items()}
    activate = {"tanh": np.tanh, "relu": lambda x: np.maximum(x, 0)}[policy.architecture["activation"]]
    hidden = row.astype(np.float64)
    for i in range(len(policy.architecture["hidden_dims"])):
        weight, bias = state[f"trunk.{2 * i}.weight"], state[f"trunk.{2 * i}.bias"]
        hidden = activate(np.array([unit @ hidden + b for unit, b in zip(weight, bias, strict=True)]))
    value = state["critic.weight"][0] @ hidden + state["critic.bias"][0]
    return state["actor.weight"] @ hidden + state["actor.bias"], float(value)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_it_computes_what_a_naive_network_computes(activation: str) -> None:
    policy = ActorCritic(SPEC, (9, 5), activation, generator=torch.Generator().manual_seed(3))
    seen = observations(SPEC, 6)
    logits, values = policy(seen)
    for i, row in enumerate(seen.numpy()):
        expected_logits, expected_value = naive_forward(policy, row)
        np.testing.assert_allclose(logits[i].detach(), expected_logits, atol=1e-6)
        assert values[i].item() == pytest.approx(expected_value, abs=1e-6)


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
        ((), "architecture.hidden_dims: found 0 layers, expected 1 to 16 layers"),
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


def test_stored_weights_are_used_as_they_are() -> None:
    weights = small_policy().state_dict()
    rebuilt = ActorCritic.from_architecture(SPEC, small_policy().architecture, weights)
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
        ({"hidden_dims": []}, "architecture.hidden_dims: found 0 layers, expected 1 to 16 layers"),
        ({"hidden_dims": [4, 0]}, "architecture.hidden_dims[1]: found 0, expected a whole number in [1, 65536]"),
        ({"hidden_dims": [4, True]}, "architecture.hidden_dims[1]: found True, expected a whole number in [1, 65536]"),
        ({"activation": "gelu"}, "architecture.activation: found 'gelu', expected one of tanh, relu"),
        (
            {"dropout": 0.1},
            "architecture.dropout: found an unknown key, expected one of class, hidden_dims, activation",
        ),
    ],
)
def test_an_architecture_that_cannot_be_read_is_refused_by_its_path(change: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}"):
        Architecture.from_dict(small_policy().architecture | change)


def test_architectures_survive_a_round_trip() -> None:
    architecture = Architecture((7, 3), "relu")
    assert Architecture.from_dict(architecture.to_dict()) == architecture


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
        SpecError, match=r"^spec: found actions\[0\] SELL_50% \(-1, 0.5\), expected the policy's own HOLD"
    ):
        agreed_spec(SPEC, turned)
