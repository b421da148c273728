"""Recording golden decisions: which cases, from what, and that every stage is what the shared functions make of it."""

import re
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
import torch
from safetensors.torch import save

import mlflow_ppo_flavor as ppo
from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from mlflow_ppo_flavor.contract.spec import ModelSpec, Sizing
from mlflow_ppo_flavor.decision.account import AccountState, apply_fill, mark
from mlflow_ppo_flavor.decision.action import Instrument, decide
from mlflow_ppo_flavor.decision.features import compute_features, lookback_of
from mlflow_ppo_flavor.decision.market import Costs, fill_at_open
from mlflow_ppo_flavor.decision.observation import build_observation
from mlflow_ppo_flavor.errors import BarsError, SpecError
from mlflow_ppo_flavor.model.golden import record_cases
from mlflow_ppo_flavor.model.proof import Golden
from tests.model.policies import SPEC, policy_of, small_bars, small_golden, small_policy
from training.series import demo_bars, mean_reverting_bars

LEAST = lookback_of(SPEC.market_features) + SPEC.window - 1


def test_each_case_is_what_the_shared_functions_make_of_its_bars() -> None:
    golden, bars = small_golden(), small_bars()
    features = compute_features(bars, SPEC.market_features)
    offset = len(bars) - len(features)
    instrument = Instrument.equity("MEANREV")
    for i, case in enumerate(golden.cases):
        time = golden.segments[case.segment].bars.time[case.row]
        bar = int(np.flatnonzero(bars.time == time)[0])
        window = features[bar - offset - SPEC.window + 1 : bar - offset + 1]
        observation = build_observation(window, case.account, SPEC)
        if i < len(golden.samples):
            np.testing.assert_array_equal(golden.samples[i], observation)
        logits, value = (out[0].detach().numpy() for out in small_policy()(torch.from_numpy(observation[None])))
        np.testing.assert_allclose(golden.logits[i], logits, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(golden.values[i], value, rtol=1e-5, atol=1e-6)
        first, second = np.sort(golden.logits[i])[::-1][:2]
        assert golden.actions[i] == golden.logits[i].argmax()
        assert golden.margins[i] == first - second
        assert golden.decisions[i] == decide(
            int(golden.actions[i]), SPEC, case.account, instrument, float(bars.close[bar])
        )


def test_cases_lie_in_four_regimes_on_all_weekdays_with_accounts_of_every_kind() -> None:
    golden = small_golden()
    times = [golden.segments[case.segment].bars.local.weekday[case.row] for case in golden.cases]
    assert len(golden.cases) == 24
    assert set(times) == {0, 1, 2, 3, 4}
    quantities = [case.account.quantity for case in golden.cases]
    assert min(quantities) < 0 < max(quantities)
    assert any(case.account.trades for case in golden.cases)
    assert any(case.account.drawdown > 0 for case in golden.cases)
    assert len(set(golden.actions.tolist())) > 1


def test_the_table_has_every_action_for_accounts_of_every_kind() -> None:
    table = {row.name: row for row in small_golden().table}
    assert list(table) == ["flat", "long", "at the cap", "in drawdown", "short"]
    limit = SPEC.sizing.max_position
    shares = {name: row.account.value_at(row.price) / row.account.equity_at(row.price) for name, row in table.items()}
    assert shares["flat"] == 0
    assert shares["long"] == pytest.approx(limit / 2)
    assert shares["at the cap"] == pytest.approx(limit)
    assert shares["short"] == pytest.approx(-limit / 2, abs=0.01)
    assert table["in drawdown"].account.drawdown == pytest.approx(limit / 2)
    assert table["at the cap"].decisions[0][1].skipped == "max_position"
    for row in table.values():
        fractional, whole = row.decisions
        assert [decision.action for decision in fractional] == [decision.action for decision in whole] == [0, 1, 2, 3]
        assert all(decision.quantity == decision.quantity.to_integral_value() for decision in whole)


def test_an_account_may_be_short_only_where_the_spec_allows_it() -> None:
    spec = ModelSpec.from_dict({**SPEC.to_dict(), "sizing": Sizing(allow_short=False).to_dict()})
    golden = ppo.record_golden(policy_of(spec), small_bars())
    assert [row.name for row in golden.table] == ["flat", "long", "at the cap", "in drawdown"]
    assert all(case.account.quantity >= 0 for case in golden.cases)


def test_a_share_that_costs_a_fortune_still_has_accounts_that_hold_it() -> None:
    bars = mean_reverting_bars(length=100)
    dear = type(bars)(bars.symbol, bars.spec, bars.time, *(column * 5_000 for column in bars.columns[1:5]), bars.volume)
    table = {row.name: row for row in ppo.record_golden(small_policy(), dear).table}
    assert table["short"].account.quantity <= -1
    assert table["flat"].decisions[1][2].quantity >= 1


@pytest.mark.parametrize("limit", [1e-3, 1e-6])
def test_under_a_small_limit_accounts_of_every_kind_still_hold_something(limit: float) -> None:
    spec = ModelSpec.from_dict({**SPEC.to_dict(), "sizing": Sizing(max_position=limit, allow_short=True).to_dict()})
    table = {row.name: row.account.quantity for row in ppo.record_golden(policy_of(spec), small_bars()).table}
    assert table["short"] <= -99
    assert table["flat"] == 0 < 99 <= table["long"] < table["at the cap"]


def test_the_environments_own_cases_are_taken_as_they_are() -> None:
    bars = small_bars()
    price = float(bars.close[200])
    held = apply_fill(AccountState.start(5_000.0), fill_at_open(Decimal("3.5"), 0, price, Costs()))
    cases = [(200, mark(held, price)), (40, AccountState.start(7_000.0)), (201, AccountState.start(8_000.0))]
    golden = record_cases(small_policy(), bars, cases)
    assert [case.account for case in golden.cases] == [cases[1][1], cases[0][1], cases[2][1]]
    closes = [golden.segments[case.segment].bars.close[case.row] for case in golden.cases]
    assert closes == [bars.close[40], bars.close[200], bars.close[201]]
    assert [len(segment.bars) for segment in golden.segments] == [LEAST, LEAST + 1]
    assert [len(segment.rows) for segment in golden.segments] == [SPEC.window, SPEC.window + 1]


def test_recording_is_the_same_each_time_and_draws_from_no_global_generator() -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    states = torch.get_rng_state(), np.random.get_state()[1].tolist()
    again = ppo.record_golden(small_policy(), small_bars()).to_tensors()
    for name, tensor in small_golden().to_tensors().items():
        assert torch.equal(again[name], tensor)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]


@pytest.mark.parametrize("length", [LEAST, LEAST + 1, LEAST + 40])
def test_the_fewest_bars_are_enough(length: int) -> None:
    golden = ppo.record_golden(small_policy(), small_bars()[:length])
    assert len(golden.cases) >= 1
    assert all(case.row < length for case in golden.cases)


def test_too_few_bars_are_told_with_how_many_are_missing() -> None:
    message = (
        "MEANREV: found 16 bars, expected at least 17 to record golden decisions: "
        "a window of 4 bars whose features look back 14: give more history"
    )
    assert LEAST == 17
    with pytest.raises(BarsError, match=f"^{re.escape(message)}"):
        ppo.record_golden(small_policy(), small_bars()[:16])


@pytest.mark.parametrize(("cases", "found"), [([], "no case"), ([(15, None)], "bar 15"), ([(300, None)], "bar 300")])
def test_cases_without_their_bars_are_told(cases: list[tuple[int, AccountState]], found: str) -> None:
    with pytest.raises(
        BarsError, match=rf"^MEANREV: golden case: found {found}, expected a bar in \[16, 299\]: a window"
    ):
        record_cases(small_policy(), small_bars(), cases)


def test_a_frame_is_told_how_to_become_bars() -> None:
    message = (
        "bars: found pandas.DataFrame, expected Bars: give Bars.from_frame(frame, symbol=..., spec=policy.spec.bars)"
    )
    frame = small_bars().to_frame()
    with pytest.raises(BarsError, match=f"^{re.escape(message)}$"):
        ppo.record_golden(small_policy(), frame)
    bars = ppo.Bars.from_frame(frame, symbol="MEANREV", spec=SPEC.bars)
    assert ppo.record_golden(small_policy(), bars).digests == small_golden().digests


def test_bars_that_the_spec_does_not_promise_are_refused() -> None:
    other = policy_of(SPEC.for_bars(timeframe="1Hour", adjustment="all"))
    with pytest.raises(
        SpecError, match=r"^spec.bars: found {'timeframe': '1Hour'.*}, expected those of MEANREV {'timeframe': '1D"
    ):
        ppo.record_golden(other, small_bars())
    template = policy_of(MODEL_SPECS["2.6.0"], hidden_dims=(2,))
    with pytest.raises(SpecError, match=r"^spec.bars: found no bars, .*: build the policy with spec.for_bars"):
        ppo.record_golden(template, small_bars())


def test_features_that_this_version_does_not_compute_are_refused() -> None:
    spec = ModelSpec.from_dict({**SPEC.to_dict(), "features": ["return_1@1", "moon_phase@1"]})
    with pytest.raises(SpecError, match=r"^features\[1\]: found moon_phase@1"):
        ppo.record_golden(policy_of(spec), small_bars())


REGIMES = ("regime_up@1", "regime_down@1", "regime_range@1", "regime_volatile@1")


def released(version: str, allow_short: bool) -> ModelSpec:
    """A released spec for daily bars, that may go short or not."""
    spec = replace(MODEL_SPECS[version], sizing=Sizing(allow_short=allow_short))
    return spec.for_bars(timeframe="1Day", adjustment="all")


def dominant_regimes(golden: Golden) -> set[str]:
    """The likeliest regime at the bar of each case."""
    columns = [golden.spec.market_features.index(name) for name in REGIMES]
    found = set()
    for case in golden.cases:
        segment = golden.segments[case.segment]
        at = segment.features[np.searchsorted(segment.rows, case.row), columns]
        found.add(REGIMES[int(at.argmax())])
    return found


@pytest.mark.parametrize("allow_short", [False, True])
@pytest.mark.parametrize("version", MODEL_SPECS)
def test_released_specs_on_real_bars(version: str, allow_short: bool) -> None:
    """Several regimes and years, every action for every account and instrument, a few hundred kilobytes."""
    spec, bars = released(version, allow_short), demo_bars("AAPL")
    golden = ppo.record_golden(policy_of(spec, hidden_dims=(4,)), bars)
    assert len(dominant_regimes(golden)) >= 3
    years = {str(golden.segments[case.segment].bars.to_frame()["time"][case.row])[:4] for case in golden.cases}
    assert len(years) >= 4
    names = ["flat", "long", "at the cap", "in drawdown", "short"]
    assert [row.name for row in golden.table] == names[: 5 if allow_short else 4]
    every = list(range(spec.n_actions))
    for row in golden.table:
        assert [[decision.action for decision in group] for group in row.decisions] == [every, every]
    assert {instrument.fractionable for instrument in golden.instruments} == {True, False}
    assert 200_000 < len(save(golden.to_tensors())) < 400_000


def test_the_recorded_bars_alone_give_every_feature_of_every_window() -> None:
    """Bars enough for lookback and window: the features are those of the whole series, to the bit."""
    spec, bars = released("2.7.0", True), demo_bars("IBM")
    golden = ppo.record_golden(policy_of(spec, hidden_dims=(4,)), bars)
    whole = compute_features(bars, spec.market_features)
    offset = len(bars) - len(whole)
    for segment in golden.segments:
        first = int(np.searchsorted(bars.time, segment.bars.time[0]))
        np.testing.assert_array_equal(segment.features, whole[first + segment.rows - offset])
        alone = compute_features(segment.bars, spec.market_features, start=int(segment.rows[0]))
        np.testing.assert_array_equal(segment.features, alone[segment.rows - segment.rows[0]])
    for case in golden.cases:
        assert case.row >= lookback_of(spec.market_features) + spec.window - 2
