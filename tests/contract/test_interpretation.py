"""interpret_action: by the stored spec alone, and nothing but an integer of its table."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mlflow_ppo_flavor as ppo
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.errors import ActionError
from tests.contract import contracts

SPEC = ppo.MODEL_SPECS["2.7.0"]


def test_the_seven_actions_of_2_7_0() -> None:
    assert [ppo.interpret_action(action, SPEC) for action in range(7)] == [
        (0, 0.0, "HOLD"),
        (1, 0.25, "BUY_25%"),
        (1, 0.50, "BUY_50%"),
        (1, 0.75, "BUY_75%"),
        (-1, 0.25, "SELL_25%"),
        (-1, 0.50, "SELL_50%"),
        (-1, 0.75, "SELL_75%"),
    ]


def test_the_three_actions_of_2_6_0() -> None:
    spec = ppo.MODEL_SPECS["2.6.0"]
    assert [ppo.interpret_action(action, spec) for action in range(3)] == [
        (0, 0.0, "HOLD"),
        (1, 0.5, "BUY"),
        (-1, 0.5, "SELL"),
    ]


@given(contracts.specs, st.data())
def test_it_reads_the_stored_table(spec: ModelSpec, data: st.DataObject) -> None:
    action = data.draw(st.integers(0, spec.n_actions - 1))
    entry = spec.to_dict()["actions"][action]
    assert ppo.interpret_action(action, spec) == (entry["direction"], entry["size"], entry["name"])


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64, np.array, torch.tensor])
def test_integers_of_numpy_and_torch_are_integers(kind: object) -> None:
    assert ppo.interpret_action(kind(4), SPEC) == (-1, 0.25, "SELL_25%")  # type: ignore[operator]


@pytest.mark.parametrize(
    "action",
    [True, False, 1.0, "1", None, np.bool_(True), np.float32(1), np.array(True), np.array([1, 2]), torch.tensor(True)],
    ids=repr,
)
def test_what_is_no_integer_is_refused(action: object) -> None:
    with pytest.raises(ActionError) as refusal:
        ppo.interpret_action(action, SPEC)  # type: ignore[arg-type]
    assert "expected an integer in [0, 6] (spec 2.7.0): don't guess what it means" in str(refusal.value)


@pytest.mark.parametrize("action", [-1, 7, 10**30, np.int64(-7)])
def test_what_lies_outside_the_table_is_refused(action: int) -> None:
    with pytest.raises(ActionError, match=rf"^action: found {action}, expected an integer in \[0, 6\]"):
        ppo.interpret_action(action, SPEC)
