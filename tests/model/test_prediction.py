"""What mlflow.pyfunc calls: the table of decisions, its parameters, and what it refuses."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlflow_ppo_flavor.contract.interpretation import interpret_action
from mlflow_ppo_flavor.errors import IntegrityError, ObservationError, SpecError
from mlflow_ppo_flavor.model.inference import infer
from mlflow_ppo_flavor.model.policy import ActorCritic
from mlflow_ppo_flavor.model.prediction import COLUMNS, Predictor
from mlflow_ppo_flavor.model.storage import StoredModel
from tests import tiers
from tests.model.policies import SPEC, any_policies, observations, policy_of, shaped_policy, small_policy


def predictor(policy: ActorCritic) -> Predictor:
    return Predictor(StoredModel(policy.spec, policy, "0" * 64, None))


def rows(n: int, seed: int = 0) -> np.ndarray:
    return observations(SPEC, n, seed).numpy()


def test_it_gives_a_row_for_each_observation() -> None:
    table = predictor(small_policy()).predict(rows(5))
    assert tuple(table.columns) == COLUMNS
    assert [str(kind) for kind in table.dtypes] == ["int64", "str", "int64", "float64", "float64", "float64"]
    assert list(table.index) == [0, 1, 2, 3, 4]


@settings(max_examples=tiers.SLOW_EXAMPLES)
@given(any_policies, st.integers(0, 5), st.booleans(), st.integers(0, 2**63 - 1))
def test_it_means_what_the_spec_says_and_its_probabilities_are_the_networks(
    policy: ActorCritic, n: int, deterministic: bool, seed: int
) -> None:
    seen = observations(policy.spec, n, seed % 1000)
    table = predictor(policy).predict(seen.numpy(), {"deterministic": deterministic, "seed": seed})
    with torch.inference_mode():
        logits, values = policy(seen)
        shares = torch.softmax(logits.double(), dim=1).numpy()
    assert len(table) == n
    for i, row in enumerate(table.itertuples(index=False)):
        assert (row.direction, row.size, row.meaning) == interpret_action(row.action, policy.spec)
        assert row.probability == pytest.approx(shares[i, row.action], rel=1e-9)
        assert row.value == values[i].item()
        if deterministic:
            assert row.action == logits[i].argmax().item()


def test_drawn_actions_follow_their_probabilities() -> None:
    policy = policy_of(SPEC, 4)
    with torch.no_grad():
        policy.actor.weight.div_(20)
    n = 20_000
    one = np.repeat(rows(1), n, axis=0)
    table = predictor(policy).predict(one, {"deterministic": False, "seed": 7})
    expected = torch.softmax(policy(observations(SPEC, 1))[0][0].double(), 0).detach().numpy()
    counts = np.bincount(table["action"], minlength=SPEC.n_actions) / n
    # four standard deviations of a share
    assert (np.abs(counts - expected) < 4 * np.sqrt(expected * (1 - expected) / n)).all()


def test_the_same_seed_draws_the_same_and_no_seed_draws_anew() -> None:
    policy = policy_of(SPEC)
    with torch.no_grad():
        policy.actor.weight.zero_()
    ask = predictor(policy).predict
    drawn = {"deterministic": False}
    pd.testing.assert_frame_equal(ask(rows(60), {**drawn, "seed": 3}), ask(rows(60), {**drawn, "seed": 3}))
    assert list(ask(rows(60), {**drawn, "seed": 3})["action"]) != list(ask(rows(60), {**drawn, "seed": 4})["action"])
    assert list(ask(rows(60), drawn)["action"]) != list(ask(rows(60), {**drawn, "seed": None})["action"])
    assert list(ask(rows(60))["action"]) == [0] * 60


def test_one_row_gives_the_action_that_it_gives_in_a_batch() -> None:
    policy, seen = policy_of(SPEC, hidden_dims=(512, 256, 128)), rows(200)
    batch = predictor(policy).predict(seen)
    alone = pd.concat([predictor(policy).predict(row[None]) for row in seen], ignore_index=True)
    assert list(alone["action"]) == list(batch["action"])
    np.testing.assert_allclose(alone["probability"], batch["probability"], rtol=1e-5)
    np.testing.assert_allclose(alone["value"], batch["value"], rtol=1e-5, atol=1e-6)


def test_torchs_state_is_as_it_was() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    predictor(small_policy()).predict(rows(3), {"deterministic": False, "seed": 1})
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_inference_is_fp32_also_under_autocast() -> None:
    plain = predictor(small_policy()).predict(rows(20))
    one = predictor(small_policy()).predict(rows(1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pd.testing.assert_frame_equal(predictor(small_policy()).predict(rows(20)), plain)
        pd.testing.assert_frame_equal(predictor(small_policy()).predict(rows(1)), one)


@pytest.mark.filterwarnings("error")
def test_any_layout_of_the_array_is_taken_and_none_is_written() -> None:
    expected = infer(small_policy(), rows(6))[0]
    frozen = rows(6)
    frozen.flags.writeable = False
    for same in (frozen, np.asfortranarray(rows(6)), rows(6)[::-1][::-1], np.repeat(rows(6), 2, axis=1)[:, ::2]):
        np.testing.assert_allclose(infer(small_policy(), same)[0], expected, rtol=1e-6)
    np.testing.assert_array_equal(frozen, rows(6))


def at_address(array: np.ndarray, offset: int) -> np.ndarray:
    """A copy that begins `offset` bytes behind a multiple of 64."""
    room = np.empty(array.nbytes + 128, dtype=np.uint8)
    begin = -room.ctypes.data % 64 + offset
    copy = room[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[:] = array
    return copy


@settings(max_examples=tiers.SLOW_EXAMPLES)
@given(any_policies, st.lists(st.integers(0, 15).map(lambda k: 4 * k), min_size=3, max_size=3))
def test_one_observation_gives_the_same_bits_wherever_weights_and_observation_lie(
    policy: ActorCritic, offsets: list[int]
) -> None:
    seen = observations(policy.spec, 1).numpy()
    weights = {
        name: torch.from_numpy(at_address(tensor.numpy(), offsets[i % 2]))
        for i, (name, tensor) in enumerate(policy.state_dict().items())
    }
    moved = ActorCritic.from_architecture(policy.spec, policy.architecture, weights)
    for one, other in zip(infer(moved, at_address(seen, offsets[2])), infer(policy, seen), strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("options", [{}, {"normalisation": {"clip": 2}, "actor_dims": (5,), "critic_dims": (7, 3)}])
def test_one_observation_alone_is_what_the_module_computes(options: dict[str, Any]) -> None:
    policy = shaped_policy(hidden_dims=(32, 16), activation="elu", **options)
    with torch.no_grad():
        expected = policy(observations(SPEC, 20))
    for i, row in enumerate(rows(20)):
        logits, values = infer(policy, row[None])
        assert (logits.shape, values.shape) == ((1, SPEC.n_actions), (1,))
        np.testing.assert_allclose(logits[0], expected[0][i], atol=1e-6)
        np.testing.assert_allclose(values[0], expected[1][i], atol=1e-6)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_windows_are_taken_and_other_shapes_refused(n: int) -> None:
    flat = rows(n)
    windows = flat.reshape(n, SPEC.window, SPEC.n_features)
    for one, other in zip(infer(small_policy(), windows), infer(small_policy(), flat), strict=True):
        np.testing.assert_array_equal(one, other)
    expected = "expected float32 of shape [n, 24] or [n, 4, 6] (spec 1.0.0): build them with build_observation"
    with pytest.raises(ObservationError, match=re.escape(f"observations: found float32[{n}, 23], {expected}")):
        infer(small_policy(), flat[:, 1:])
    with pytest.raises(ObservationError, match=re.escape(f"observations: found float64[{n}, 24], {expected}")):
        infer(small_policy(), flat.astype(np.float64))


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        (rows(2).astype(np.float64), "float64[2, 24]"),
        (rows(2)[:, :-1], "float32[2, 23]"),
        (rows(2)[0], "float32[24]"),
        (rows(2).reshape(2, 4, 6), "float32[2, 4, 6]"),
        (rows(2).astype(np.int64), "int64[2, 24]"),
        (pd.DataFrame(rows(2)), "DataFrame"),
        (rows(2).tolist(), "list"),
        (None, "NoneType"),
    ],
)
def test_other_shapes_and_kinds_are_refused(seen: Any, found: str) -> None:
    with pytest.raises(
        ObservationError, match=re.escape(f"observations: found {found}, expected float32[n, 24] (spec 1.0.0)")
    ):
        predictor(small_policy()).predict(seen)


@pytest.mark.parametrize(
    ("number", "shown"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")], ids=["nan", "inf", "minus inf"]
)
def test_numbers_that_are_not_finite_are_told_by_row_and_feature(number: float, shown: str) -> None:
    seen = rows(3)
    seen[2, 9] = number
    message = (
        f"observations[2, 9]: found {shown}, expected finite numbers: "
        "it is williams_r_14@1 of bar 1 in the window of 4: check the bars it comes from"
    )
    with pytest.raises(ObservationError, match=f"^{re.escape(message)}$"):
        predictor(small_policy()).predict(seen)
    seen[2, 11] = -number
    with pytest.raises(ObservationError, match=re.escape(f"observations[2, 9]: found {shown} (2 such numbers)")):
        predictor(small_policy()).predict(seen)


@pytest.mark.filterwarnings("error")
@given(
    hnp.arrays(np.float32, (2, SPEC.obs_dim), elements=st.floats(width=32), fill=st.floats(-1, 1, width=32)),
)
def test_exactly_what_is_not_finite_is_refused(seen: np.ndarray) -> None:
    refused = False
    try:
        predictor(small_policy()).predict(seen)
    except ObservationError:
        refused = True
    except IntegrityError:
        # huge but finite observations may overflow the network; that isn't the observation's refusal
        assert np.abs(seen).max() > 1e30
    assert refused == (not np.isfinite(seen).all())


def test_weights_that_give_no_numbers_are_told() -> None:
    policy = policy_of(SPEC)
    with torch.no_grad():
        policy.critic.bias.fill_(float("inf"))
    with pytest.raises(
        IntegrityError, match=r"^policy: found logits or values that aren't finite: don't use these weights"
    ):
        predictor(policy).predict(rows(1))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"deterministic": 1}, "params.deterministic: found 1, expected true or false"),
        ({"deterministic": "no"}, "params.deterministic: found 'no', expected true or false"),
        ({"seed": -1}, "params.seed: found -1, expected a whole number in [0, 9223372036854775807]"),
        ({"seed": 1.5}, "params.seed: found 1.5, expected a whole number"),
        ({"seed": True}, "params.seed: found True, expected a whole number"),
        ({"temperature": 2}, "params.temperature: found an unknown key, expected one of deterministic, seed"),
    ],
)
def test_other_parameters_are_refused_by_their_path(params: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}"):
        predictor(small_policy()).predict(rows(1), params)


def test_the_network_itself_can_be_had() -> None:
    assert predictor(small_policy()).get_raw_model() is small_policy()
