"""Replaying golden decisions: nothing where the code is the same, and the first stage that differs where it isn't.

A trainer with other code is stood for by golden decisions with the numbers that it would have recorded.
"""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mlflow_ppo_flavor as ppo
from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from mlflow_ppo_flavor.contract.spec import ModelSpec, Sizing
from mlflow_ppo_flavor.decision.features import compute_features
from mlflow_ppo_flavor.model.policy import ActorCritic
from mlflow_ppo_flavor.model.proof import Golden
from mlflow_ppo_flavor.model.replay import LOGIT_TOLERANCE, SURE_MARGIN, replay
from tests import tiers
from tests.model.policies import SPEC, policy_of, small_bars, small_golden, small_policy
from training.series import demo_bars

REMEDY = "don't trade it with this code: it was recorded with mlflow-ppo-flavor"


def messages(golden: Golden, policy: ActorCritic | None = None, spec: ModelSpec = SPEC) -> list[str]:
    findings = replay(golden, policy or small_policy(), spec)
    assert all((finding.code, finding.kind) == ("golden", "safety") for finding in findings)
    assert all(REMEDY in finding.message for finding in findings)
    return [finding.message for finding in findings]


def changed(spec: ModelSpec = SPEC, **fields: object) -> ModelSpec:
    return ModelSpec.from_dict({**spec.to_dict(), **fields})


def with_features(change: Callable[[np.ndarray], np.ndarray]) -> Golden:
    """What a trainer would have recorded whose features come out changed."""
    segments = tuple(replace(s, features=change(s.features.copy())) for s in small_golden().segments)
    return replace(small_golden(), segments=segments)


def test_the_code_that_recorded_reproduces_itself() -> None:
    assert replay(small_golden(), small_policy(), SPEC) == ()
    stored = Golden.from_tensors(small_golden().to_tensors())
    assert replay(stored, small_policy(), SPEC) == ()


@pytest.mark.parametrize("version", MODEL_SPECS)
def test_every_released_spec_reproduces_itself_on_real_bars(version: str) -> None:
    spec = MODEL_SPECS[version].for_bars(timeframe="1Day", adjustment="all", symbols=["IBM"])
    policy = policy_of(spec)
    golden = ppo.record_golden(policy, demo_bars("IBM"))
    assert replay(golden, policy, spec) == ()
    assert (golden.margins > SURE_MARGIN).sum() > len(golden.margins) / 2


@settings(max_examples=tiers.SLOW_EXAMPLES)
@given(
    st.integers(0, 2**31),
    st.permutations(SPEC.market_features),
    st.integers(1, 12),
    st.booleans(),
    st.sampled_from([1, 2, 7]),
)
def test_any_policy_on_any_order_of_features_reproduces_itself(
    seed: int, market: list[str], window: int, allow_short: bool, threads: int
) -> None:
    sizing = Sizing(allow_short=allow_short).to_dict()
    spec = changed(features=[*market, *SPEC.account_features], window=window, sizing=sizing)
    policy = policy_of(spec, seed)
    golden = ppo.record_golden(policy, small_bars()[: 120 + seed % 100])
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert replay(golden, policy, spec) == ()
    finally:
        torch.set_num_threads(before)


def test_two_features_swapped() -> None:
    first, second = messages(with_features(lambda x: x[:, [1, 0, 2, 3]]))
    assert first.startswith("golden.features return_1@1 at 2000-")
    assert second.startswith("golden.features return_2@1 at 2000-")
    assert "T05:00:00Z: found " in first
    assert " bars differ): don't trade it" in first


def test_one_feature_rescaled() -> None:
    (message,) = messages(with_features(lambda x: x * np.float32([1, 1, 1.5, 1])))
    assert message.startswith("golden.features sma_distance_10@1 at ")


def test_one_feature_wrong_in_the_last_bit_of_one_bar() -> None:
    def nudge(features: np.ndarray) -> np.ndarray:
        features[7, 3] = np.nextafter(features[7, 3], np.float32(2))
        return features

    golden = with_features(nudge)
    (message,) = messages(golden)
    first = small_golden().segments[0]
    bar = first.bars.to_frame()["time"][first.rows[7]].isoformat().replace("+00:00", "Z")
    assert message.startswith(f"golden.features williams_r_14@1 at {bar}: found {first.features[7, 3]!s}, recorded ")
    assert "(4 of " in message


def test_another_period_under_the_same_name() -> None:
    spec = changed(features=["rsi_14@1", "total_pnl@1"])
    policy, bars = policy_of(spec), demo_bars("AAPL")
    golden = ppo.record_golden(policy, bars)
    segments = tuple(
        replace(s, features=compute_features(s.bars, ["rsi_7@1"], start=int(s.rows[0]))[s.rows - s.rows[0]])
        for s in golden.segments
    )
    (message,) = messages(replace(golden, segments=segments), policy, spec)
    assert message.startswith("golden.features rsi_14@1 at ")


def test_a_lookahead_of_one_bar() -> None:
    found = messages(with_features(lambda x: np.roll(x, -1, axis=0)))
    assert [message.split(" at ")[0].split()[-1] for message in found] == list(SPEC.market_features)


def test_a_normalisation_left_out_of_the_account() -> None:
    raw = np.array([[case.account.total_pnl, case.account.position_value] for case in small_golden().cases], np.float32)
    found = messages(replace(small_golden(), account_features=raw))
    assert found[0].startswith("golden.observation total_pnl@1 at 2000-")
    assert any(message.startswith("golden.observation position_size@1 at ") for message in found)


def test_an_observation_laid_out_feature_by_feature() -> None:
    golden = small_golden()
    turned = golden.samples.reshape(2, SPEC.window, SPEC.n_features).transpose(0, 2, 1).reshape(2, -1)
    found = messages(replace(golden, samples=np.ascontiguousarray(turned)))
    assert len(found) == 2
    assert found[0].startswith("golden.observation[1] (return_2@1 of bar 0 in the window) at 2000-")


def test_an_observation_that_only_its_digest_knows() -> None:
    golden = small_golden()
    (message,) = messages(replace(golden, digests=(*golden.digests[:-1], "0" * 64)))
    assert message.startswith("golden.sha256 of the observation at 2001-02-23T05:00:00Z: found ")
    assert f", recorded {'0' * 64}: " in message


def test_one_layer_times_1_001() -> None:
    weights = {name: tensor.clone() for name, tensor in small_policy().state_dict().items()}
    weights["trunk.2.weight"] *= 1.001
    other = ActorCritic.from_architecture(SPEC, small_policy().architecture, weights)
    found = messages(small_golden(), other)
    assert len(found) == 2 * len(small_golden().cases)
    assert found[0].startswith("golden.logit of HOLD at 2000-")
    assert found[-1].startswith("golden.value at 2001-")


def test_logits_within_the_tolerance_are_the_same_and_beyond_it_are_not() -> None:
    logits = small_golden().logits
    allowed = (LOGIT_TOLERANCE * np.maximum(1, np.abs(logits))).astype(np.float32)
    assert messages(replace(small_golden(), logits=logits + 0.5 * allowed)) == []
    assert len(messages(replace(small_golden(), logits=logits - 2 * allowed))) == len(logits)
    assert len(messages(replace(small_golden(), logits=np.full_like(logits, np.nan)))) == len(logits)


def test_values_within_the_tolerance_are_the_same_and_beyond_it_are_not() -> None:
    values = small_golden().values
    allowed = (LOGIT_TOLERANCE * np.maximum(1, np.abs(values))).astype(np.float32)
    assert messages(replace(small_golden(), values=values + 0.5 * allowed)) == []
    assert len(messages(replace(small_golden(), values=values - 2 * allowed))) == len(values)
    (message,) = messages(replace(small_golden(), values=np.where(np.arange(len(values)) == 3, 9, values)))
    assert re.match(r"golden\.value at 2000-\d\d-\d\dT05:00:00Z: found -?0\.\d+, recorded 9\.0: ", message)


def test_a_critic_that_has_gone_is_told() -> None:
    class Mute(ActorCritic):
        def forward(self, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            logits, values = super().forward(observations)
            return logits, torch.full_like(values, torch.nan)

    mute = Mute(SPEC, (16, 8), weights=small_policy().state_dict()).eval()
    found = messages(small_golden(), mute)
    assert len(found) == len(small_golden().cases)
    assert all(message.startswith("golden.value at ") and ": found nan, recorded " in message for message in found)
    assert messages(ppo.record_golden(mute, small_bars()), mute) == []


def test_an_action_that_differs_counts_only_where_the_margin_is_sure() -> None:
    golden = small_golden()
    other = replace(golden, actions=(golden.actions + 1) % SPEC.n_actions)
    found = messages(other)
    assert len(found) == (golden.margins > SURE_MARGIN).sum() >= len(golden.cases) / 2
    assert found[0].startswith("golden.action at 2000-")
    assert messages(replace(other, margins=np.zeros_like(golden.margins)))[0].startswith("golden.decision at ")


def test_a_proof_with_few_sure_actions_is_reproduced_and_weak() -> None:
    golden, half = small_golden(), len(small_golden().cases) // 2
    enough, weak = (np.where(np.arange(2 * half) < sure, 2, 0.5) * SURE_MARGIN for sure in (half, half - 1))
    assert replay(replace(golden, margins=enough.astype(np.float32)), small_policy(), SPEC) == ()
    (finding,) = replay(replace(golden, margins=weak.astype(np.float32)), small_policy(), SPEC)
    assert (finding.code, finding.kind) == ("weak_proof", "warning")
    assert finding.message == (
        "golden.margins: found 11 of 24 actions with a margin above 0.001, expected at least half of them: "
        "it proves little of what the policy chooses: train it longer, or record other bars"
    )


def test_another_sizing_rule() -> None:
    spec = changed(sizing=Sizing(base_allocation=0.1, allow_short=True).to_dict())
    other = ppo.record_golden(policy_of(spec), small_bars())
    (message,) = messages(other)
    assert message.startswith("golden.spec.sizing.base_allocation: found 0.15, recorded 0.1: don't trade")
    found = messages(replace(small_golden(), table=other.table))
    assert any(
        message.startswith("golden.decision of an account flat, action BUY_50%: quantity: found ") for message in found
    )
    assert all("quantity" in message or "skipped" in message for message in found)


def test_an_action_table_permuted() -> None:
    turned = changed(actions=[action.to_dict() for action in reversed(SPEC.actions)])
    first, *_ = messages(small_golden(), policy_of(turned), turned)
    assert re.match(r"golden\.spec\.actions.*: found SELL_50%.*, recorded HOLD", first)


def test_another_timeframe() -> None:
    hourly = SPEC.for_bars(timeframe="1Hour", adjustment="all")
    (message,) = messages(small_golden(), policy_of(hourly), hourly)
    assert message.startswith("golden.spec.bars.timeframe: found 1Hour, recorded 1Day: ")


def test_a_feature_that_this_code_does_not_compute() -> None:
    spec = changed(features=["return_1@1", "return_2@1", "sma_distance_10@1", "moon@1", *SPEC.account_features])
    golden = replace(small_golden(), spec=spec)
    (message,) = messages(golden, policy_of(spec), spec)
    assert message.startswith("golden.features: found an error: features[3]: found moon@1, ")


def test_a_policy_of_another_shape() -> None:
    wide = policy_of(changed(window=5))
    (message,) = messages(small_golden(), wide)
    assert message.startswith(
        "golden.logits: found an error: observations: found float32[24, 24], expected float32 of "
    )


def test_the_first_stage_that_differs_ends_the_replay() -> None:
    broken = replace(with_features(lambda x: x * 2), logits=np.zeros_like(small_golden().logits), decisions=())
    assert all(message.startswith("golden.features ") for message in messages(broken))


def test_inference_is_fp32_also_under_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert replay(small_golden(), small_policy(), SPEC) == ()
        assert torch.is_autocast_enabled("cpu")
