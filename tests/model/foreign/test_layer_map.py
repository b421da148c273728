"""Reading foreign layers: the one way through them, and a refusal wherever there are several or none."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mlflow_ppo_flavor.model.foreign.layer_map import linear_layers, read_layers
from mlflow_ppo_flavor.model.foreign.layer_names import plain_name, renamed
from mlflow_ppo_flavor.model.foreign.layers import Layers

OBS, ACTIONS = 50, 7
Shapes = Mapping[str, tuple[int, int]]


def weights_of(shapes: Shapes) -> dict[str, torch.Tensor]:
    """{layer: (entering, leaving)} as a state dict."""
    made = {}
    for name, (entering, leaving) in shapes.items():
        made |= {f"{name}.weight": torch.zeros(leaving, entering), f"{name}.bias": torch.zeros(leaving)}
    return made


def reading(shapes: Shapes, rules: tuple[tuple[str, str], ...] = ()) -> str:
    """Trunk | actor | critic, by name."""
    weights, unmapped = renamed(weights_of(shapes).items(), rules)
    layers, strange = linear_layers(weights)
    found, findings = read_layers(layers, OBS, ACTIONS)
    assert unmapped + strange + findings == []
    assert found is not None
    return " | ".join(" ".join(layer.name for layer in part) for part in (found.trunk, found.actor, found.critic))


def refused(shapes: Shapes) -> str:
    """The message of the one finding."""
    layers, strange = linear_layers(weights_of(shapes))
    found, findings = read_layers(layers, OBS, ACTIONS)
    assert (found, strange) == (None, [])
    (finding,) = findings
    return finding.message


@pytest.mark.parametrize(
    ("shapes", "told"),
    [
        # a shared trunk and two heads
        (
            {"shared.0": (50, 9), "shared.2": (9, 9), "actor": (9, 7), "critic": (9, 1)},
            "shared.0 shared.2 | actor | critic",
        ),
        (
            {"fc1": (50, 9), "fc2": (9, 9), "policy_head": (9, 7), "value_head": (9, 1)},
            "fc1 fc2 | policy_head | value_head",
        ),
        ({"fc1": (50, 64), "fc2": (64, 32), "fc_pi": (32, 7), "fc_v": (32, 1)}, "fc1 fc2 | fc_pi | fc_v"),
        (
            {
                "backbone.layers.0.linear": (50, 64),
                "backbone.layers.1.linear": (64, 64),
                "pi.0": (64, 8),
                "pi.2": (8, 7),
                "v": (64, 1),
            },
            "backbone.layers.0.linear backbone.layers.1.linear | pi.0 pi.2 | v",
        ),
        # each head with a network of its own
        (
            {"actor.0": (50, 64), "actor.2": (64, 64), "actor.4": (64, 7), "critic.0": (50, 32), "critic.2": (32, 1)},
            " | actor.0 actor.2 actor.4 | critic.0 critic.2",
        ),
        (
            {"policyNet.0": (50, 8), "policyNet.2": (8, 7), "valueNet.0": (50, 1)},
            " | policyNet.0 policyNet.2 | valueNet.0",
        ),
        # what all names begin with tells nothing
        (
            {"policy.shared.0": (50, 9), "policy.pi": (9, 7), "policy.vf": (9, 1)},
            "policy.shared.0 | policy.pi | policy.vf",
        ),
        (
            {"actor_critic.body": (50, 9), "actor_critic.actor": (9, 7), "actor_critic.critic": (9, 1)},
            "actor_critic.body | actor_critic.actor | actor_critic.critic",
        ),
        # of stable-baselines3, of RLlib, of a2c-ppo-acktr
        (
            {
                "mlp_extractor.policy_net.0": (50, 8),
                "mlp_extractor.value_net.0": (50, 9),
                "action_net": (8, 7),
                "value_net": (9, 1),
            },
            " | mlp_extractor.policy_net.0 action_net | mlp_extractor.value_net.0 value_net",
        ),
        (
            {"_logits._model.0": (8, 7), "_hidden_layers.0._model.0": (50, 8), "_value_branch._model.0": (8, 1)},
            "_hidden_layers.0._model.0 | _logits._model.0 | _value_branch._model.0",
        ),
        (
            {
                "base.actor.0": (50, 8),
                "base.actor.2": (8, 8),
                "base.critic.0": (50, 8),
                "base.critic_linear": (8, 1),
                "dist.linear": (8, 7),
            },
            " | base.actor.0 base.actor.2 dist.linear | base.critic.0 base.critic_linear",
        ),
        # heads that no name speaks of, told by what they make
        ({"fc1": (50, 64), "fc2": (64, 64), "fc3": (64, 7), "fc4": (64, 1)}, "fc1 fc2 | fc3 | fc4"),
        (
            {"actor.0": (50, 8), "actor.2": (8, 7), "net.0": (50, 8), "net.2": (8, 1)},
            " | actor.0 actor.2 | net.0 net.2",
        ),
        # the numbers order layers, wherever they stand in the file, and 10 comes after 2
        (
            {"net.10": (64, 64), "net.0": (50, 64), "net.2": (64, 64), "pi": (64, 7), "vf": (64, 1)},
            "net.0 net.2 net.10 | pi | vf",
        ),
        # no hidden layer at all
        ({"actor": (50, 7), "critic": (50, 1)}, " | actor | critic"),
    ],
)
def test_one_reading(shapes: Shapes, told: str) -> None:
    assert reading(shapes) == told


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod."])
def test_wrappers_are_taken_off(prefix: str) -> None:
    shapes = {"shared.0": (50, 8), "actor": (8, 7), "critic": (8, 1)}
    assert reading({prefix + name: shape for name, shape in shapes.items()}) == "shared.0 | actor | critic"
    assert plain_name("actor._orig_mod.0.weight") == "actor.0.weight"


def test_equal_layers_without_numbers_have_several_orders() -> None:
    shapes = {"first": (50, 8), "left": (8, 8), "right": (8, 8), "pi": (8, 7), "v": (8, 1)}
    message = refused(shapes)
    assert message.startswith(
        "policy_state_dict: found 2 readings: trunk first (50 → 8), left (8 → 8), right (8 → 8); actor pi (8 → 7); "
        "critic v (8 → 1) — or trunk first (50 → 8), right (8 → 8), left (8 → 8); actor pi"
    )
    assert "expected one reading: say which layer is which with --map OLD=NEW, NEW being trunk.0, trunk.2" in message
    assert message.endswith("Layers seen: first (50 → 8), left (8 → 8), right (8 → 8), pi (8 → 7), v (8 → 1)")
    rules = (("first", "trunk.0"), ("right", "trunk.2"), ("left", "trunk.4"))
    assert reading(shapes, rules) == "trunk.0 trunk.2 trunk.4 | pi | v"


@pytest.mark.parametrize(
    ("shapes", "told"),
    [
        ({"fc1": (50, 8), "pi": (8, 7)}, "found no such way, expected a way from 50 numbers to 7 logits"),
        ({"fc1": (50, 8), "pi": (8, 3), "v": (8, 1)}, "found no such way, expected a way from 50 numbers to 7 logits"),
        ({"fc1": (50, 8), "fc2": (9, 9), "pi": (9, 7), "v": (9, 1)}, "found no such way"),
        ({"actor.0": (50, 8), "actor.value": (8, 7), "critic": (8, 1)}, "found actor.value, which speaks of both"),
        ({f"fc{i}": (50, 50) for i in range(65)}, "found 65 layers, expected names of one head each and at most 64"),
        ({}, "found no such way"),
    ],
)
def test_no_reading(shapes: Shapes, told: str) -> None:
    message = refused(shapes)
    assert message.removeprefix("policy_state_dict: ").startswith(told)
    seen = ", ".join(f"{name} ({a} → {b})" for name, (a, b) in shapes.items()) or "no linear layer"
    assert message.endswith(f"Layers seen: {seen}")


def test_a_search_without_end_is_a_refusal() -> None:
    shapes = {"in": (50, 8), **{f"hidden_{chr(97 + i)}": (8, 8) for i in range(20)}, "pi": (8, 7), "v": (8, 1)}
    assert refused(shapes).startswith("policy_state_dict: found 50 readings: trunk in (50 → 8), hidden_a (8 → 8)")
    # without a critic no order is one, and there are more than anybody could try
    assert refused({k: v for k, v in shapes.items() if k != "v"}).startswith(
        "policy_state_dict: found too many orders to try, expected a way from 50 numbers to 7 logits and another to 1 "
    )


@pytest.mark.parametrize(
    ("module", "told"),
    [
        (nn.LayerNorm(8), "policy_state_dict.extra.weight: found float32[8], a normalisation layer's"),
        (nn.Conv1d(2, 3, 5), "policy_state_dict.extra.weight: found float32[3, 2, 5], a convolution's"),
        (nn.LSTM(8, 4), "policy_state_dict.extra.weight_ih_l0: found float32[16, 8], a recurrent layer's"),
        (nn.GRU(8, 4), "policy_state_dict.extra.weight_ih_l0: found float32[12, 8], a recurrent layer's"),
        (nn.BatchNorm1d(8), "policy_state_dict.extra.weight: found float32[8], a normalisation layer's"),
        (nn.MultiheadAttention(8, 2), "policy_state_dict.extra.in_proj_weight: found float32[24, 8], no linear"),
    ],
)
def test_other_layers_are_refused_by_name(module: nn.Module, told: str) -> None:
    named = nn.ModuleDict({"extra": module, "pi": nn.Linear(50, 7)}).state_dict()
    _, findings = linear_layers(named)
    assert len(findings) >= len(list(module.parameters())) - 2
    assert findings[0].message.startswith(told)
    assert findings[0].message.endswith(
        "expected linear layers alone: log the torch module itself, where its class exists: ppo.log_model(module, "
        "spec=...) runs it through ONNX"
    )


def test_weights_that_are_no_numbers() -> None:
    weights = {
        "a.weight": torch.full((2, 2), torch.nan),
        "b.weight": torch.ones(2, 3, dtype=torch.int8),
        "c.weight": torch.ones(2, 3),
        "c.bias": torch.ones(3),
        "log_std": torch.ones(3),
        "d.weight": "text",
        "e.weight": torch.full((2, 3), 1e39, dtype=torch.float64),
        "f.0.weight": torch.ones(1),
    }
    assert [finding.message.partition(", expected")[0] for finding in linear_layers(weights)[1]] == [
        "policy_state_dict.a.weight: found NaN or infinity",
        "policy_state_dict.b.weight: found int8[2, 3], no linear layer's",
        "policy_state_dict.c.bias: found [3]",
        "policy_state_dict.log_std: found float32[3], a continuous action's spread",
        "policy_state_dict.d.weight: found 'text'",
        # in float32, which every policy is inferred in, it is infinity
        "policy_state_dict.e.weight: found NaN or infinity",
        "policy_state_dict.f.0.weight: found float32[1], PReLU's",
    ]


def test_numbers_of_any_length_are_ordered() -> None:
    long = "9" * 5_000
    shapes = {f"l{long}": (8, 8), "l10": (8, 8), "l09": (50, 8), "pi": (8, 7), "v": (8, 1)}
    assert reading(shapes) == f"l09 l10 l{long} | pi | v"


def test_a_rule_that_fits_nothing_and_two_weights_of_one_name() -> None:
    weights = weights_of({"net.0": (50, 7), "v": (50, 1)})
    _, findings = renamed(weights.items(), (("nets", "actor"),))
    assert [finding.message for finding in findings] == [
        "--map nets=actor: found no such weight, expected the name of a weight or layer, or what names begin with up "
        "to a point: the weights are net.0.weight, net.0.bias, v.weight, v.bias"
    ]
    _, findings = renamed(weights.items(), (("net.0", "v"),))
    assert [finding.message for finding in findings] == [
        "policy_state_dict.v.weight: found a second weight v.weight, expected each name once: give each layer a "
        "name of its own",
        "policy_state_dict.v.bias: found a second weight v.bias, expected each name once: give each layer a "
        "name of its own",
    ]


widths = st.lists(st.integers(8, 12), max_size=3)


@given(widths, widths, widths, st.randoms(use_true_random=False), st.booleans())
def test_whatever_is_built_is_read_back(
    trunk: list[int], actor: list[int], critic: list[int], chance: object, biased: bool
) -> None:
    shapes: dict[str, tuple[int, int]] = {}
    width = OBS
    for i, leaving in enumerate(trunk):
        shapes[f"shared.{i}"] = (width, leaving)
        width = leaving
    for head, dims in (("pi", [*actor, ACTIONS]), ("vf", [*critic, 1])):
        for i, (entering, leaving) in enumerate(zip([width, *dims], dims, strict=False)):
            shapes[f"{head}.{i}"] = (entering, leaving)
    names = list(shapes)
    chance.shuffle(names)  # type: ignore[attr-defined]
    weights = weights_of({name: shapes[name] for name in names})
    layers, _ = linear_layers({k: v for k, v in weights.items() if biased or not k.endswith("bias")})
    found, findings = read_layers(layers, OBS, ACTIONS)
    assert findings == []
    assert isinstance(found, Layers)
    assert [layer.name for part in (found.trunk, found.actor, found.critic) for layer in part] == list(shapes)
