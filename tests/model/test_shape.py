"""What shapes of weights tell, whatever the layers are called."""

from typing import Any

import pytest
import torch

from mlflow_ppo_flavor.model.detection import inspect_checkpoint
from mlflow_ppo_flavor.model.shape import Shape, flat_weights, shape_of_weights

# How others name and build such networks: shapes alone count.
FOREIGN = {
    "two networks, heads with an activation's index": {
        "actor.0.weight": (64, 5900),
        "actor.2.weight": (64, 64),
        "actor.4.weight": (7, 64),
        "critic.0.weight": (64, 5900),
        "critic.2.weight": (64, 64),
        "critic.4.weight": (1, 64),
    },
    "heads before the trunk": {
        "action_net.weight": (7, 128),
        "value_net.weight": (1, 128),
        "features.fc1.weight": (512, 5900),
        "features.fc2.weight": (128, 512),
    },
    "nameless": {"0": (512, 5900), "1": (128, 512), "2": (7, 128), "3": (1, 128)},
    "a normalisation and a log-std beside": {
        "norm.weight": (5900,),
        "norm.mean": (5900,),
        "shared.0.weight": (256, 5900),
        "policy_head.weight": (7, 256),
        "value_head.weight": (1, 256),
        "log_std": (7,),
    },
    "a hidden layer as wide as the actions": {
        "net.0.weight": (7, 5900),
        "net.2.weight": (32, 7),
        "actor.weight": (7, 32),
        "critic.weight": (1, 32),
    },
    "a critic of many values within a policy": {
        "policy.critic.0.weight": (64, 5900),
        "policy.critic.2.weight": (51, 64),
        "policy.actor.0.weight": (64, 5900),
        "policy.actor.2.weight": (7, 64),
    },
    "a recurrent layer": {
        "lstm.weight_ih_l0": (1024, 5900),
        "lstm.weight_hh_l0": (1024, 256),
        "pi.weight": (7, 256),
        "vf.weight": (1, 256),
    },
}


def test_mappings_in_mappings_are_one_state() -> None:
    weights = {"actor": {"0": {"weight": 1}}, "critic.0.weight": 2, "log_std": 3}
    assert list(flat_weights(weights).items()) == [("actor.0.weight", 1), ("critic.0.weight", 2), ("log_std", 3)]
    assert flat_weights([1]) == flat_weights(None) == {}
    endless: dict[str, Any] = {"weight": torch.empty(3, 5900)}
    endless["self"] = endless
    assert set(flat_weights(endless)) == {f"{'self.' * i}weight" for i in range(8)}


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "policy."])
def test_weights_of_wrappers_are_understood(prefix: str) -> None:
    for named in FOREIGN.values():
        assert shape_of_weights({prefix + name: shape for name, shape in named.items()}) == Shape(5900, 7)


def test_weights_of_two_networks_in_mappings_are_understood() -> None:
    actor, critic = torch.nn.Linear(5900, 7), torch.nn.Linear(5900, 1)
    content = {"policy_state_dict": {"critic": critic.state_dict(), "actor": {"head": actor.state_dict()}}}
    assert inspect_checkpoint(content).version == "2.7.0"


@pytest.mark.parametrize("named", FOREIGN.values(), ids=FOREIGN)
def test_layers_of_other_names_and_orders_are_understood(named: dict[str, tuple[int, ...]]) -> None:
    assert shape_of_weights(named) == Shape(5900, 7)
