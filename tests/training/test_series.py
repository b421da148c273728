"""The generated series against its own theory, and the demo's real file against what its docstring says of it."""

import numpy as np
import pandas as pd
import pytest

from mlflow_ppo_flavor.decision.adjustment import find_splits
from mlflow_ppo_flavor.decision.bar_check import find_faults
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.errors import BarsError
from training.series import DEMO_SYMBOLS, demo_bars, mean_reverting_bars, stocks_csv

ROWS = {"AAPL": 3270, "FB": 196, "GOOG": 2148, "IBM": 3270, "MSFT": 3270}
FIRST = {"AAPL": "2000-03-01", "FB": "2012-05-18", "GOOG": "2004-08-19", "IBM": "2000-03-01", "MSFT": "2000-03-01"}
SPLITS = {"AAPL": {"2000-06-21": 2, "2005-02-28": 2}, "MSFT": {"2003-02-18": 2}}


def of_ticker(symbol: str) -> pd.DataFrame:
    """The rows of one ticker, counted from 0."""
    stocks = stocks_csv()
    return stocks[stocks["Ticker"] == symbol].reset_index(drop=True)


def dates(bars: Bars) -> list[str]:
    """Local dates of bars."""
    local = bars.local
    fields = zip(local.year.tolist(), local.month.tolist(), local.day.tolist(), strict=True)
    return [f"{year}-{month:02}-{day:02}" for year, month, day in fields]


def test_the_file_holds_what_is_known_of_it() -> None:
    stocks = stocks_csv()
    assert list(stocks.columns) == ["Ticker", "Date", "Open", "High", "Low", "Close", "Volume", "Adj Close"]
    assert stocks["Ticker"].value_counts().to_dict() == ROWS
    assert set(DEMO_SYMBOLS) == set(ROWS) - {"FB"}


def test_a_callers_copy_of_the_file_is_its_own() -> None:
    mine = stocks_csv()
    mine["Close"] = 0.0
    assert (stocks_csv()["Close"] > 0).all()


@pytest.mark.parametrize("adjustment", ["raw", "split", "all"])
@pytest.mark.parametrize("symbol", ROWS)
def test_demo_bars_are_the_files_days(symbol: str, adjustment: str) -> None:
    bars = demo_bars(symbol, adjustment=adjustment)
    assert len(bars) == ROWS[symbol]
    assert dates(bars) == of_ticker(symbol)["Date"].tolist()
    assert dates(bars)[0] == FIRST[symbol]
    assert dates(bars)[-1] == "2013-03-01"
    assert set(bars.local.hour.tolist()) == {0}
    assert bars.local.weekday.max() == 4
    assert bars.spec.adjustment == adjustment
    assert find_faults(bars.to_frame(), bars.spec) == ()


@pytest.mark.parametrize("symbol", ROWS)
def test_the_splits_of_the_file_are_the_known_ones(symbol: str) -> None:
    bars = demo_bars(symbol, adjustment="raw")
    splits, unknown = find_splits(bars.columns, of_ticker(symbol)["Adj Close"].to_numpy())
    assert {split.time[:10]: split.ratio for split in splits} == SPLITS.get(symbol, {})
    assert unknown == ()


def test_close_is_raw_and_volume_is_raw() -> None:
    """Close halves at splits; before them about half of the counts of round lots are odd: no multiples of a ratio."""
    for symbol, splits in SPLITS.items():
        raw = of_ticker(symbol)
        for day in splits:
            at = int(raw.index[raw["Date"] == day][0])
            assert raw["Open"][at] / raw["Close"][at - 1] == pytest.approx(0.5, abs=0.02)
        before = raw["Volume"][raw["Date"] < min(splits)]
        lots = before[before % 100 == 0] // 100
        assert len(lots) > 0.99 * len(before)
        assert 0.4 < (lots % 2).mean() < 0.6


def test_adj_close_knows_a_split_later_than_the_file() -> None:
    last = of_ticker("AAPL").iloc[-1]
    assert (last["Close"], round(last["Adj Close"], 2)) == (430.47, 56.14)


def test_plain_multiplying_would_break_13_rows() -> None:
    stocks = stocks_csv()
    factor = stocks["Adj Close"] / stocks["Close"]
    ends = pd.concat([stocks["Open"] * factor, stocks["Adj Close"]], axis=1)
    broken = (stocks["High"] * factor < ends.max(axis=1)) | (stocks["Low"] * factor > ends.min(axis=1))
    assert int(broken.sum()) == 13
    assert stocks["Ticker"][broken].value_counts().to_dict() == {"AAPL": 10, "IBM": 3}


@pytest.mark.parametrize("symbol", ROWS)
def test_prices_follow_the_adjusted_close_and_volume_the_splits_alone(symbol: str) -> None:
    raw, bars = of_ticker(symbol), demo_bars(symbol)
    np.testing.assert_array_equal(bars.close, raw["Adj Close"])
    factor = raw["Adj Close"] / raw["Close"]
    for name in ("open", "high", "low"):
        np.testing.assert_allclose(getattr(bars, name), raw[name.title()] * factor, rtol=1e-15)
    shares = np.ones(len(raw))
    for day, ratio in SPLITS.get(symbol, {}).items():
        shares[(raw["Date"] < day).to_numpy()] *= ratio
    np.testing.assert_array_equal(bars.volume, raw["Volume"] * shares)
    np.testing.assert_array_equal(demo_bars(symbol, adjustment="split").close, raw["Close"] / shares)
    np.testing.assert_array_equal(demo_bars(symbol, adjustment="split").volume, bars.volume)
    np.testing.assert_array_equal(demo_bars(symbol, adjustment="raw").volume, raw["Volume"])


@pytest.mark.parametrize("symbol", ROWS)
def test_no_adjusted_day_moves_as_a_split_does(symbol: str) -> None:
    for adjustment in ("split", "all"):
        close = demo_bars(symbol, adjustment=adjustment).close
        jump = np.abs(np.diff(np.log(close)))
        # The greatest real move is AAPL's warning on 2000-09-29: -52 %.
        assert np.sort(jump)[-2] < 0.3
        assert jump.max() < 0.74


def test_an_unknown_ticker_is_refused() -> None:
    with pytest.raises(BarsError, match="demo bars: found no ticker 'TSLA', expected one of AAPL, FB, GOOG, IBM, MSFT"):
        demo_bars("TSLA")


def test_the_golden_demo_digest() -> None:
    assert demo_bars("AAPL").digest == "2e4020d4bc90193115c5ce1b106888495ffd67cff3c4cc8b2983f028018b8665"


def test_the_golden_series() -> None:
    """Seed 0 on any machine: prices are in cents and volumes whole, so that no last bit of exp() shows."""
    bars = mean_reverting_bars()
    assert len(bars) == 2000
    assert bars.symbol == "MEANREV"
    assert bars.digest == "62be7c819a2cafd4400f8920c9710940f1af20e9cc229974e7aa3c13622c4476"


def test_the_same_seed_gives_the_same_bars_and_another_seed_others() -> None:
    assert mean_reverting_bars(length=300, seed=7) == mean_reverting_bars(length=300, seed=7)
    assert mean_reverting_bars(length=300, seed=7) != mean_reverting_bars(length=300, seed=8)


@pytest.mark.parametrize(("length", "seed"), [(1, 0), (2, 1), (700, 2)])
def test_generated_bars_pass_the_checks(length: int, seed: int) -> None:
    bars = mean_reverting_bars(length=length, seed=seed)
    assert len(bars) == length
    assert find_faults(bars.to_frame(), bars.spec) == ()
    assert dates(bars)[0] == "2000-01-03"
    assert bars.volume.min() > 0


def test_no_bars_are_refused() -> None:
    with pytest.raises(BarsError, match="MEANREV: 1 fault in 0 bars: found no bars, expected at least one"):
        mean_reverting_bars(length=0)


@pytest.mark.parametrize(("half_life", "volatility"), [(2.0, 0.03), (5.0, 0.02), (10.0, 0.01)])
def test_the_series_has_the_moments_of_its_process(half_life: float, volatility: float) -> None:
    """Ornstein-Uhlenbeck: mean log 100, variance σ²/2θ, autocorrelation 2^(-lag / half-life), normal; to 5 errors."""
    length = 20_000
    log_close = np.log(mean_reverting_bars(length=length, seed=3, half_life=half_life, volatility=volatility).close)
    theta = np.log(2) / half_life
    independent = length * theta / 2
    x = log_close - np.log(100)
    assert abs(x.mean()) < 5 * volatility / np.sqrt(2 * theta) / np.sqrt(independent)
    assert x.var() == pytest.approx(volatility**2 / (2 * theta), rel=5 * np.sqrt(2 / independent))
    for lag in (1, 2, 5):
        found = np.corrcoef(x[lag:], x[:-lag])[0, 1]
        assert found == pytest.approx(2 ** (-lag / half_life), abs=5 / np.sqrt(independent))
    kurtosis = np.mean(x**4) / np.mean(x**2) ** 2
    assert kurtosis == pytest.approx(3.0, abs=5 * np.sqrt(24 / independent))


def rule_return(bars: Bars, wanted: np.ndarray, cost: float = 10e-4) -> float:
    """Log return of holding wanted[t] of equity (0 to 0.2), decided at close t, filled at the next open, less costs."""
    position = np.concatenate([[0.0], wanted[:-2]])
    move = np.diff(np.log(bars.open))
    paid = cost * np.abs(np.diff(position, prepend=0.0))
    return float(np.sum(np.log1p(position * np.expm1(move) - paid)))


@pytest.mark.parametrize("seed", range(3))
def test_reversion_can_be_traded_after_costs_and_luck_can_not(seed: int) -> None:
    """What a policy can learn: holding below the mean earns far more than holding at random or always."""
    bars = mean_reverting_bars(seed=seed)
    cheap = 0.2 * (bars.close < 100.0)
    luck = 0.2 * np.random.default_rng(seed).integers(0, 2, len(bars))
    earned = rule_return(bars, cheap)
    assert earned > 1.0
    assert rule_return(bars, luck) < 0.2 * earned
    assert rule_return(bars, np.full(len(bars), 0.2)) < 0.2 * earned
    next_open = np.diff(np.log(bars.open))[1:]
    assert np.corrcoef(np.log(bars.close / 100)[:-2], next_open)[0, 1] < -0.3
