"""A trader whose code differs from the trainer's: golden decisions of a released spec on real bars catch each change.

The other code is a small implementation of its own, put in the place of the function that the replay calls.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import mlflow_ppo_flavor as ppo
from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from mlflow_ppo_flavor.contract.spec import ModelSpec, Sizing
from mlflow_ppo_flavor.decision.account import AccountState
from mlflow_ppo_flavor.decision.action import Decision, Instrument, decide
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.decision.features import compute_features
from mlflow_ppo_flavor.decision.observation import account_features, build_observation
from mlflow_ppo_flavor.model import stages
from mlflow_ppo_flavor.model.policy import ActorCritic
from mlflow_ppo_flavor.model.proof import Golden
from mlflow_ppo_flavor.model.replay import reproduce
from mlflow_ppo_flavor.model.reproduction import STAGES, Reproduction
from tests.model.policies import SPEC as SMALL
from tests.model.policies import policy_of, shaped_policy, small_bars
from training.series import demo_bars

SPEC = replace(MODEL_SPECS["2.7.0"], sizing=Sizing(allow_short=True)).for_bars(timeframe="1Day", adjustment="all")
NAMES = SPEC.market_features
RSI = NAMES.index("rsi_14@1")
TIME = r"\d{4}-\d\d-\d\dT0[45]:00:00Z"
NUMBER = r"-?[\d.]+(e-\d+)?"
Matrix = NDArray[np.float32]


@cache
def trained() -> ActorCritic:
    """A policy whose logits lie apart and whose biases aren't 0, as after training."""
    policy = policy_of(SPEC)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0.0, 0.3, generator=generator)
    return policy


@cache
def fresh() -> ActorCritic:
    """A policy as it is initialised."""
    return ActorCritic(SPEC, (32, 16), generator=torch.Generator().manual_seed(0)).eval()


@cache
def golden_of(policy: ActorCritic) -> Golden:
    return ppo.record_golden(policy, demo_bars("AAPL"))


def replayed(policy: ActorCritic | None = None, spec: ModelSpec = SPEC) -> Reproduction:
    """This code's replay of what the trainer's recorded."""
    return reproduce(golden_of(trained()), policy or trained(), spec)


def differing(found: Reproduction, stage: str) -> list[str]:
    """The messages of a replay that passed every stage before this one and differed in it."""
    assert (found.reproduced, found.differs, found.decisions) == (False, stage, 0)
    assert [passed.name for passed in found.stages] == list(STAGES[: STAGES.index(stage)])
    assert all((finding.code, finding.kind) == ("golden", "safety") for finding in found.findings)
    return [finding.message for finding in found.findings]


def the_same_code(change: Callable[[Matrix], Matrix]) -> Callable[..., Matrix]:
    """`compute_features`, its matrix changed."""
    return lambda bars, refs, start: change(compute_features(bars, refs, start=start).copy())


def swapped(features: Matrix) -> Matrix:
    features[:, [RSI, 0]] = features[:, [0, RSI]]
    return features


def rescaled(features: Matrix) -> Matrix:
    features[:, RSI] *= np.float32(1.01)
    return features


def not_normalised(features: Matrix) -> Matrix:
    """RSI from 0 to 100, as TA-Lib gives it."""
    features[:, RSI] *= np.float32(100)
    return features


def of_another_period(bars: Bars, refs: Sequence[str], start: int) -> Matrix:
    """RSI of 7 bars under the name of that of 14."""
    features = compute_features(bars, refs, start=start).copy()
    features[:, RSI] = compute_features(bars, ["rsi_7@1"], start=start)[:, 0]
    return features


def looking_ahead(bars: Bars, refs: Sequence[str], start: int) -> Matrix:
    """Each bar's features from the bars up to the next one."""
    whole = demo_bars("AAPL")
    after = int(np.searchsorted(whole.time, bars.time[-1])) + 1
    first = after - len(bars) + start
    return compute_features(whole[: min(after + 1, len(whole))], refs, start=first + 1)[: len(bars) - start]


@pytest.mark.parametrize(
    ("other", "names"),
    [
        (the_same_code(swapped), {NAMES[0], "rsi_14@1"}),
        (the_same_code(rescaled), {"rsi_14@1"}),
        (the_same_code(not_normalised), {"rsi_14@1"}),
        (of_another_period, {"rsi_14@1"}),
        # the hour is that of every daily bar
        (looking_ahead, {name for name in NAMES if not name.startswith("hour_")}),
    ],
    ids=["two swapped", "one rescaled", "a normalisation left out", "another RSI period", "a lookahead of one bar"],
)
def test_other_features(other: Callable[..., Matrix], names: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    golden = golden_of(trained())
    if other is looking_ahead:
        # the bar after the last one isn't there to be looked at
        whole = demo_bars("AAPL")
        golden = ppo.record_golden(trained(), whole[: len(whole) - 1])
    monkeypatch.setattr(stages, "compute_features", other)
    messages = differing(reproduce(golden, trained(), SPEC), "features")
    shape = re.compile(
        rf"golden\.features (\S+@1) at {TIME}: found {NUMBER}, recorded {NUMBER} \(\d+ of \d+ bars differ\): "
        r"don't trade it with this code: it was recorded with mlflow-ppo-flavor \S+, numpy \S+, numba \S+, torch \S+"
    )
    found = [shape.fullmatch(message) for message in messages]
    assert {match[1] for match in found if match} == names
    assert len(found) == len(names)


def test_features_of_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    def unrounded(bars: Bars, refs: Sequence[str], start: int) -> NDArray[np.float64]:
        return compute_features(bars, refs, start=start).astype(np.float64)

    monkeypatch.setattr(stages, "compute_features", unrounded)
    (message,) = differing(replayed(), "features")
    assert message.startswith("golden.features: found float64, recorded float32: don't trade it")


def test_a_normalisation_left_out_of_the_account(monkeypatch: pytest.MonkeyPatch) -> None:
    def raw(state: AccountState, refs: Sequence[str], sizing: Sizing) -> Matrix:
        """The profit as a share, without the tanh."""
        found = account_features(state, refs, sizing)
        found[list(refs).index("total_pnl@1")] = state.equity / state.initial_equity - 1.0
        return found

    monkeypatch.setattr(stages, "account_features", raw)
    messages = differing(replayed(), "observations")
    assert all(
        re.match(rf"golden\.observation total_pnl@1 at {TIME}: found {NUMBER}, recorded ", each) for each in messages
    )


def test_the_networks_own_normalisation_left_out() -> None:
    """Of an imported policy whose observations were normalised in training."""
    policy = shaped_policy(hidden_dims=(8,), normalisation={"clip": 10.0})
    golden = ppo.record_golden(policy, small_bars())
    assert reproduce(golden, policy, SMALL).reproduced
    weights = {name: tensor for name, tensor in policy.state_dict().items() if not name.startswith("normalisation")}
    raw = ActorCritic(SMALL, (8,), weights=weights).eval()
    messages = differing(reproduce(golden, raw, SMALL), "logits")
    assert re.match(rf"golden\.(logit of \S+|value) at {TIME}: found {NUMBER}, recorded {NUMBER}: don't", messages[0])


def test_float64_observations(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_float64(market: Matrix, state: AccountState, spec: ModelSpec) -> NDArray[np.float64]:
        return build_observation(market, state, spec).astype(np.float64)

    monkeypatch.setattr(stages, "build_observation", in_float64)
    (message,) = differing(replayed(), "observations")
    assert message.startswith("golden.observation: found float64, recorded float32: don't trade it with this code")


def test_float64_passed_on_to_the_network() -> None:
    """Its logits are those of fp32 to seven digits: their kind tells."""

    class Double(ActorCritic):
        def infer(self, observations: Matrix) -> tuple[Matrix, Matrix]:
            with torch.no_grad():
                logits, values = self.double()(torch.from_numpy(observations.astype(np.float64)))
            return logits.numpy(), values.numpy()

    double = Double(SPEC, (16, 8), weights={name: w.clone() for name, w in trained().state_dict().items()}).eval()
    messages = differing(replayed(double), "logits")
    assert [message.split(": don't")[0] for message in messages] == [
        "golden.logits: found float64, recorded float32",
        "golden.values: found float64, recorded float32",
    ]


def test_code_that_breaks_is_told_with_its_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaking(bars: Bars, refs: Sequence[str], start: int) -> Matrix:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(stages, "compute_features", breaking)
    (message,) = differing(replayed(), "features")
    assert message.startswith(
        "golden.features: found an error: ZeroDivisionError: division by zero, none when it was recorded: don't trade"
    )


def test_observations_laid_out_feature_by_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    def turned(market: Matrix, state: AccountState, spec: ModelSpec) -> Matrix:
        built = build_observation(market, state, spec).reshape(spec.window, spec.n_features)
        return np.ascontiguousarray(built.T).reshape(-1)

    monkeypatch.setattr(stages, "build_observation", turned)
    first = differing(replayed(), "observations")[0]
    assert re.match(rf"golden\.observation\[1\] \({re.escape(NAMES[1])} of bar 0 in the window\) at {TIME}: ", first)


LAYERS = ("trunk.0", "trunk.2", "actor", "critic")


def scaled(policy: ActorCritic, layer: str) -> ActorCritic:
    """The policy with one layer times 1.001."""
    weights = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    for part in ("weight", "bias"):
        weights[f"{layer}.{part}"] *= 1.001
    return ActorCritic.from_architecture(SPEC, policy.architecture, weights)


@pytest.mark.parametrize("layer", LAYERS)
def test_one_layer_of_a_trained_network_times_1_001(layer: str) -> None:
    messages = differing(replayed(scaled(trained(), layer)), "logits")
    place = "value" if layer == "critic" else "logit of HOLD"
    assert re.match(rf"golden\.{place} at {TIME}: found {NUMBER}, recorded {NUMBER}: don't", messages[0])


@pytest.mark.parametrize("layer", LAYERS)
def test_one_layer_of_a_fresh_network_times_1_001(layer: str) -> None:
    """Its logits are about 0.01: the values tell what they can't."""
    messages = differing(reproduce(golden_of(fresh()), scaled(fresh(), layer), SPEC), "logits")
    assert {message.split()[0] for message in messages} >= {"golden.logit" if layer == "actor" else "golden.value"}


def test_the_last_layer_of_an_actor_whose_logits_are_below_0_01_cannot_be_seen() -> None:
    """What the replay says that it can't see."""
    weights = {
        name: tensor * 0.5 if name.startswith("actor") else tensor for name, tensor in fresh().state_dict().items()
    }
    quiet = ActorCritic.from_architecture(SPEC, fresh().architecture, weights)
    assert reproduce(golden_of(quiet), scaled(quiet, "actor"), SPEC).reproduced


def test_a_policy_without_a_critic_is_compared_by_its_logits_alone() -> None:
    golden = golden_of(trained())
    silent = replace(golden, values=np.full_like(golden.values, np.nan))
    assert reproduce(silent, scaled(trained(), "critic"), SPEC).reproduced
    assert reproduce(silent, trained(), SPEC).stages[4].text == "168 of 24 cases"
    assert differing(reproduce(silent, scaled(trained(), "actor"), SPEC), "logits")


def permuted(spec: ModelSpec) -> ModelSpec:
    """The spec with two actions in each other's place."""
    actions = list(spec.actions)
    actions[1], actions[4] = actions[4], actions[1]
    return replace(spec, actions=tuple(actions))


def deciding_by(change: Callable[[ModelSpec], ModelSpec]) -> Callable[..., Decision]:
    """`decide`, by another spec than the stored one."""

    def other(action: int, spec: ModelSpec, state: AccountState, instrument: Instrument, price: float) -> Decision:
        return decide(action, change(spec), state, instrument, price)

    return other


def test_an_action_table_permuted(monkeypatch: pytest.MonkeyPatch) -> None:
    told = differing(replayed(spec=permuted(SPEC)), "spec")
    assert all(
        re.match(r"golden\.spec\.actions.*: found .*SELL_25%.*, recorded .*BUY_25%.*: don't", each) for each in told
    )
    weights = {name: tensor.clone() for name, tensor in trained().state_dict().items()}
    for part in ("weight", "bias"):
        weights[f"actor.{part}"] = weights[f"actor.{part}"][[0, 4, 2, 3, 1, 5, 6]]
    other = ActorCritic.from_architecture(SPEC, trained().architecture, weights)
    assert differing(replayed(other), "logits")[0].startswith("golden.logit of BUY_25% at ")
    monkeypatch.setattr(stages, "decide", deciding_by(permuted))
    messages = differing(replayed(), "quantities")
    assert any(
        message.startswith("golden.decision of an account flat, action SELL_25%: meaning: found SELL_25%, recorded BUY")
        for message in messages
    )


def test_another_sizing_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    generous = Sizing(safety_buffer=0.2, allow_short=True)
    (message,) = differing(replayed(spec=replace(SPEC, sizing=generous)), "spec")
    assert message.startswith("golden.spec.sizing.safety_buffer: found 0.2, recorded 0.3: don't trade it")
    monkeypatch.setattr(stages, "decide", deciding_by(lambda spec: replace(spec, sizing=generous)))
    messages = differing(replayed(), "quantities")
    shape = re.compile(rf"golden\.decision at {TIME}, action (BUY|SELL)_\d\d%: quantity: found {NUMBER}, recorded .*")
    assert any(shape.fullmatch(message) for message in messages)
    accounts = {message.split(", action ")[0].rpartition("account ")[2] for message in messages}
    assert accounts >= {"flat", "long", "in drawdown", "short"}


def test_another_timeframe() -> None:
    hourly = SPEC.for_bars(timeframe="1Hour", adjustment="all")
    (message,) = differing(replayed(spec=hourly), "spec")
    assert message.startswith("golden.spec.bars.timeframe: found 1Hour, recorded 1Day: don't trade it with this code")
    foreign = replace(golden_of(trained()), spec=hourly)
    messages = differing(reproduce(foreign, trained(), hourly), "bars")
    assert messages[0].startswith(
        "golden.bars of segment 0: found 1Hour, all, regular, America/New_York, "
        "recorded 1Day, all, regular, America/New_York: don't trade it"
    )


def test_a_replay_that_passes_says_how_much_it_compared() -> None:
    golden, found = golden_of(trained()), replayed()
    assert (found.reproduced, found.differs, found.findings) == (True, "", ())
    bars, rows = sum(len(s.bars) for s in golden.segments), sum(len(s.rows) for s in golden.segments)
    sure = int((golden.margins > 1e-3).sum())
    assert {stage.name: stage.text for stage in found.stages} == {
        "spec": "66 features and actions by name",
        "bars": f"{bars:,} in 4 segment(s)",
        "features": f"{rows:,} rows of 53 market features",
        "observations": "24 of 5,900 numbers",
        "logits": "168 of 24 cases, and 24 values",
        "actions": f"{sure} beyond the margin of 0.001, of 24",
        "quantities": "94 decisions, 70 of them every action of 5 accounts",
    }
    assert found.decisions == 94
    without = reproduce(replace(golden, table=()), trained(), SPEC)
    assert (without.reproduced, without.decisions, without.stages[-1].text) == (True, 24, "24 decisions")


def test_a_reproduction_as_json() -> None:
    told: dict[str, Any] = replayed().to_dict()
    assert {key: told[key] for key in ("digest", "reproduced", "differs", "findings")} == {
        "digest": "",
        "reproduced": True,
        "differs": None,
        "findings": [],
    }
    assert told["stages"][-1] == {
        "name": "quantities",
        "compared": 94,
        "what": "decisions, 70 of them every action of 5 accounts",
    }
