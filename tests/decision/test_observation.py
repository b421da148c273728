"""The observation: its layout, the account's features against exact arithmetic, and the text of each refusal."""

import math
from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mlflow_ppo_flavor.contract.releases import MODEL_SPECS, features_of_trader
from mlflow_ppo_flavor.contract.spec import ACCOUNT_FEATURE_NAMES, ModelSpec, Sizing, feature_name
from mlflow_ppo_flavor.decision.account import AccountState, mark
from mlflow_ppo_flavor.decision.market import Fill
from mlflow_ppo_flavor.decision.observation import ACCOUNT_RANGES, account_features, build_observation
from mlflow_ppo_flavor.errors import ObservationError
from tests.decision import accounts
from tests.decision.ledger import Ledger

SPEC = MODEL_SPECS["2.7.0"]
REFS = SPEC.account_features
SMALL = replace(SPEC, features=("ret_1@1", "rsi_14@1", *REFS), window=3)
FRESH = AccountState.start(1000.0)


def features(state: AccountState, sizing: Sizing = SPEC.sizing) -> list[float]:
    """All account features of a state, as Python floats."""
    return [float(value) for value in account_features(state, REFS, sizing)]


def window(spec: ModelSpec, seed: int = 0) -> NDArray[np.float32]:
    """A window of market features, every number another one."""
    size = spec.window * len(spec.market_features)
    return np.random.default_rng(seed).permutation(size).astype(np.float32).reshape(spec.window, -1)


def test_every_released_account_feature_has_a_range() -> None:
    known = {ref for ref in features_of_trader("2.7.0") if feature_name(ref) in ACCOUNT_FEATURE_NAMES}
    assert known == set(ACCOUNT_RANGES)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (FRESH, (0.0, 0.5, 0.0, 0.0, 1.0, 0.0)),
        # 20 bought at 10, now at 11: equity 1020, of which 220 is the position
        (
            AccountState(1000.0, 800.0, Decimal(20), 11.0, 1100.0, 2, 3, Decimal(-200)),
            (math.tanh(0.2), 2 / 3, 80 / 1100, 220 / 1020 / 0.2, 800 / 1020, math.log10(1.02)),
        ),
        # 20 sold short at 10, now at 15: equity 900
        (
            AccountState(1000.0, 1200.0, Decimal(-20), 15.0, 1000.0, 0, 1, Decimal(200)),
            (math.tanh(-1.0), 0.0, 0.1, -300 / 900 / 0.2, 1200 / 900, math.log10(0.9)),
        ),
        # all but ruined: a position of five times what is left
        (
            AccountState(1000.0, -4e-9, Decimal(1), 5e-9, 1000.0, 0, 0, Decimal(-1000)),
            (-1.0, 0.5, 1.0, 25.0, -4.0, -10.0),
        ),
        # ruined while long, while short, with nothing
        (
            AccountState(1000.0, -900.0, Decimal(20), 15.0, 1000.0, 0, 0, Decimal(-1900)),
            (-1.0, 0.5, 1.0, 100.0, -100.0, -10.0),
        ),
        (
            AccountState(1000.0, 200.0, Decimal(-20), 15.0, 1000.0, 0, 0, Decimal(-800)),
            (-1.0, 0.5, 1.0, -100.0, 100.0, -10.0),
        ),
        (AccountState(1000.0, 0.0, Decimal(0), 15.0, 1000.0, 0, 1, Decimal(0)), (-1.0, 0.0, 1.0, 0.0, 1.0, -10.0)),
    ],
)
def test_worked_examples(state: AccountState, expected: tuple[float, ...]) -> None:
    assert features(state) == pytest.approx(expected, rel=1e-6, abs=1e-7)


def test_a_sizing_without_room_says_how_a_position_stands_to_it() -> None:
    none = Sizing(max_position=0.0)
    assert features(FRESH, none)[3] == 0.0
    assert features(AccountState(1000.0, 900.0, Decimal(1), 100.0, 1000.0, 0, 0, Decimal(-100)), none)[3] == 100.0


@given(accounts.equities, accounts.histories, st.floats(0.01, 1))
def test_account_features_are_those_of_exact_arithmetic(
    equity: float, history: list[Fill | float], max_position: float
) -> None:
    ledger, state = Ledger(equity), AccountState.start(equity)
    for event in [*history, 10.0]:
        ledger.enter(event)
        state = accounts.replay(state, [event])
    found = account_features(state, REFS, Sizing(max_position=max_position))
    assert found.dtype == np.float32
    for ref, value in zip(REFS, found, strict=True):
        assert ACCOUNT_RANGES[ref][0] <= value <= ACCOUNT_RANGES[ref][1]
    # rounding errors are those of the turnover: what is left of it can't be known better
    if ledger.equity < ledger.turnover / 1_000:
        return
    expected = exact_features(ledger, max_position)
    np.testing.assert_allclose(found, np.array(expected), rtol=3e-7, atol=1e-7)


def exact_features(ledger: Ledger, max_position: float) -> list[float]:
    """The six features in 50 digits, from the whole history."""
    closed, _ = ledger.trades()
    equity, initial = ledger.equity, Fraction(ledger.initial)
    with localcontext(prec=50):
        growth = (20 * real((equity - initial) / initial)).exp() if equity < 10 * initial else Decimal("Infinity")
        values = [
            1 - 2 / (growth + 1),
            real(Fraction(sum(pnl > 0 for pnl in closed), len(closed))) if closed else Decimal("0.5"),
            real((ledger.peak - equity) / ledger.peak),
            real(ledger.quantity * ledger.last_price / equity / Fraction(max_position)),
            real(ledger.cash / equity),
            real(equity / initial).log10(),
        ]
    ranges = ACCOUNT_RANGES.values()
    return [min(max(float(value), low), high) for value, (low, high) in zip(values, ranges, strict=True)]


def real(value: Fraction) -> Decimal:
    """A fraction as a Decimal of the context's precision."""
    return Decimal(value.numerator) / Decimal(value.denominator)


@given(accounts.traded(), st.integers(-16, 20))
def test_the_unit_of_money_changes_no_feature(traded: tuple[AccountState, float], power: int) -> None:
    (state, price), scale = traded, 2.0**power
    other = replace(
        state, **{name: getattr(state, name) * scale for name in ("initial_equity", "cash", "price", "peak")}
    )
    np.testing.assert_array_equal(
        account_features(mark(state, price), REFS, SPEC.sizing),
        account_features(mark(other, price * scale), REFS, SPEC.sizing),
    )


@given(accounts.reached, st.lists(st.sampled_from(REFS), unique=True))
def test_features_come_in_the_order_asked_for(state: AccountState, refs: list[str]) -> None:
    whole = dict(zip(REFS, account_features(state, REFS, SPEC.sizing), strict=True))
    assert account_features(state, refs, SPEC.sizing).tolist() == [whole[ref] for ref in refs]


@pytest.mark.parametrize("ref", ["total_pnl@2", "total_pnl", "rsi_14@1"])
def test_an_account_feature_that_nobody_computes_is_refused(ref: str) -> None:
    with pytest.raises(ObservationError) as refusal:
        account_features(FRESH, (*REFS, ref), SPEC.sizing)
    assert str(refusal.value) == (
        f"account feature: found {ref}, expected one of total_pnl@1, win_rate@1, drawdown@1,"
        " position_size@1, available_cash@1, account_value@1"
    )


def test_an_observation_is_time_major_oldest_bar_first_account_last() -> None:
    market = np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float32)
    found = build_observation(market, FRESH, SMALL)
    account = [0.0, 0.5, 0.0, 0.0, 1.0, 0.0]
    assert found.tolist() == [1, 2, *account, 3, 4, *account, 5, 6, *account]
    assert found.dtype == np.float32
    assert found.flags.c_contiguous


@pytest.mark.parametrize("version", sorted(MODEL_SPECS))
def test_every_released_spec_is_laid_out_row_by_row(version: str) -> None:
    spec, state = MODEL_SPECS[version], AccountState(1000.0, 800.0, Decimal(20), 11.0, 1100.0, 2, 3, Decimal(-200))
    market = window(spec)
    account = account_features(state, spec.account_features, spec.sizing)
    naive = [value for row in market.tolist() for value in (*row, *account.tolist())]
    found = build_observation(market, state, spec)
    assert found.shape == (spec.obs_dim,)
    assert found.tolist() == naive


@given(accounts.reached, st.integers(0, 9))
def test_a_buffer_is_filled_with_the_same_bits_and_a_view_reads_like_a_copy(state: AccountState, seed: int) -> None:
    longer = window(replace(SMALL, window=9), seed)
    market = longer[3:6]
    expected = build_observation(market.copy(), state, SMALL)
    buffer = np.full((2, SMALL.obs_dim), np.nan, dtype=np.float32)
    row = buffer[1]
    assert build_observation(market, state, SMALL, out=row) is row
    assert row.tobytes() == expected.tobytes() == build_observation(np.asfortranarray(market), state, SMALL).tobytes()
    assert np.isnan(buffer[0]).all()


@pytest.mark.parametrize(
    ("market", "found"),
    [
        (np.zeros((2, 2), np.float32), "float32[2, 2]"),
        (np.zeros((3, 3), np.float32), "float32[3, 3]"),
        (np.zeros(6, np.float32), "float32[6]"),
        (np.zeros((3, 2)), "float64[3, 2]"),
        (np.zeros((3, 2), np.int32), "int32[3, 2]"),
        ([[0.0, 0.0]] * 3, "list"),
        (None, "NoneType"),
    ],
)
def test_a_window_of_another_shape_or_kind_is_refused(market: Any, found: str) -> None:
    with pytest.raises(ObservationError) as refusal:
        build_observation(market, FRESH, SMALL)
    assert str(refusal.value) == (
        f"market window: found {found}, expected float32[3, 2]: give window bars of the spec's market features"
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_window_with_what_is_no_number_is_refused_with_its_place(value: float) -> None:
    market = np.zeros((3, 2), np.float32)
    market[2, 1] = value
    with pytest.raises(ObservationError) as refusal:
        build_observation(market, FRESH, SMALL)
    assert str(refusal.value) == (
        f"market window[2, 1] (rsi_14@1): found {value}, expected a finite number:"
        " bars are refused where they come in, so a feature must be wrong"
    )


def test_a_large_window_is_no_overflow() -> None:
    market = np.full((3, 2), np.finfo(np.float32).max, np.float32)
    assert np.isfinite(build_observation(market, FRESH, SMALL)).all()


def readonly() -> NDArray[np.float32]:
    """A buffer that can't be written."""
    buffer = np.zeros(SMALL.obs_dim, np.float32)
    buffer.flags.writeable = False
    return buffer


@pytest.mark.parametrize(
    ("out", "found"),
    [
        (np.zeros(23, np.float32), "float32[23]"),
        (np.zeros(24), "float64[24]"),
        ([0.0] * 24, "list"),
        (np.zeros(48, np.float32)[::2], "one that is strided or read-only"),
        (readonly(), "one that is strided or read-only"),
    ],
)
def test_a_buffer_that_cannot_be_filled_is_refused(out: Any, found: str) -> None:
    with pytest.raises(ObservationError) as refusal:
        build_observation(np.zeros((3, 2), np.float32), FRESH, SMALL, out)
    assert str(refusal.value) == (
        f"out: found {found}, expected float32[24]: give a C-contiguous buffer that can be written"
    )
