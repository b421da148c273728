"""Laws across the formats of a model: a policy decides the same whichever way it came; a proof needs its own bars."""

import mlflow
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

import mlflow_ppo_flavor as ppo
from mlflow_ppo_flavor.decision.account import AccountState, mark
from mlflow_ppo_flavor.model.golden import record_cases
from mlflow_ppo_flavor.model.inference import infer
from mlflow_ppo_flavor.model.policy import ActorCritic
from mlflow_ppo_flavor.model.replay import replay
from tests import tiers
from tests.model.policies import SPEC, any_policies, observations, policy_of, small_bars, small_policy


@settings(max_examples=tiers.COSTLY_EXAMPLES)
@given(any_policies, st.integers(1, 6))
def test_a_policy_decides_the_same_whichever_way_it_came(
    tmp_path_factory: pytest.TempPathFactory, policy: ActorCritic, n: int
) -> None:
    root = tmp_path_factory.mktemp("ways")
    ppo.save_checkpoint(root / "c.pt", policy)
    ppo.save_model(root / "c.pt", root / "model")
    seen = observations(policy.spec, n).numpy()
    expected = infer(policy, seen)
    for other in (ppo.load_checkpoint(root / "c.pt").policy(), ppo.load_model(str(root / "model"))):
        assert other.spec == policy.spec
        for one, same in zip(infer(other, seen), expected, strict=True):
            np.testing.assert_array_equal(one, same)
    table = mlflow.pyfunc.load_model(str(root / "model"), suppress_warnings=True).predict(seen)
    assert list(table["action"]) == expected[0].argmax(axis=1).tolist()
    assert list(table["value"]) == expected[1].astype(np.float64).tolist()


@settings(max_examples=tiers.SLOW_EXAMPLES)
@given(st.data(), st.sets(st.integers(60, 200), min_size=1, max_size=5), st.integers(0, 40), st.integers(0, 90))
def test_a_proof_is_the_same_whatever_came_before_and_after_its_bars(
    data: st.DataObject, ends: set[int], before: int, after: int
) -> None:
    bars = small_bars()
    equity = data.draw(st.floats(1_000, 1e6))
    cases = [(end, mark(AccountState.start(equity), float(bars.close[end]))) for end in sorted(ends)]
    whole = record_cases(small_policy(), bars, cases)
    cut = bars[before : 201 + after]
    part = record_cases(small_policy(), cut, [(end - before, account) for end, account in cases])
    assert save(part.to_tensors()) == save(whole.to_tensors())


@settings(max_examples=tiers.SLOW_EXAMPLES)
@given(st.integers(0, 2**31), st.integers(1, 2**31))
def test_no_other_policy_passes_a_proof(seed: int, step: int) -> None:
    policy, other = policy_of(SPEC, seed), policy_of(SPEC, (seed + step) % 2**32)
    golden = ppo.record_golden(policy, small_bars())
    assert replay(golden, policy, SPEC) == ()
    assert replay(golden, other, SPEC) != ()
