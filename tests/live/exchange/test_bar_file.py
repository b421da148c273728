"""Bar files: names of columns, one symbol or many, adjusted or not."""

import gzip
from pathlib import Path

import bokeh_sampledata
import pytest

from live.exchange.bar_file import read_bars
from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.errors import BarsError
from training.series import demo_bars

RAW = BarSpec("1Day", "raw")
STOCKS = Path(bokeh_sampledata.__file__).parent / "_data" / "stocks.csv.gz"
ROWS = "2012-10-25,10,11,9,10.5,100\n2012-10-26,11,12,10,11.5,200\n"


def file_of(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("adjustment", ["raw", "split", "all"])
def test_the_demo_file_is_read_as_training_reads_it(adjustment: str) -> None:
    bars = read_bars([STOCKS], BarSpec("1Day", adjustment), ["AAPL", "GOOG"])
    assert list(bars) == ["AAPL", "GOOG"]
    assert bars["AAPL"] == demo_bars("AAPL", adjustment=adjustment)
    assert bars["GOOG"] == demo_bars("GOOG", adjustment=adjustment)


def test_all_symbols_are_read_where_none_is_named() -> None:
    assert list(read_bars([STOCKS], RAW)) == ["AAPL", "FB", "GOOG", "IBM", "MSFT"]


def test_a_file_without_symbols_holds_the_one_it_is_named_for(tmp_path: Path) -> None:
    header = "Date,Open,High,Low,Close,Volume\n"
    plain = file_of(tmp_path, "AAA.csv", header + ROWS)
    packed = tmp_path / "BBB.csv.gz"
    packed.write_bytes(gzip.compress((header + ROWS).encode()))
    bars = read_bars([plain, packed], RAW)
    assert {symbol: len(series) for symbol, series in bars.items()} == {"AAA": 2, "BBB": 2}
    assert list(bars["AAA"].close) == list(bars["BBB"].close) == [10.5, 11.5]


def test_prices_without_an_adjusted_close_are_what_the_flag_says(tmp_path: Path) -> None:
    path = file_of(tmp_path, "AAA.csv", "time,open,high,low,close,volume\n" + ROWS)
    bars = read_bars([path], BarSpec("1Day", "all"))["AAA"]
    assert (bars.spec.adjustment, bars.close[0]) == ("all", 10.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found no readable CSV"),
        ("time,open,high,low,close\n2012-10-25,10,11,9,10.5\n", "column volume: missing"),
        ("time,open,high,low,close,volume\n2012-10-25,10,8,9,10.5,1\n", "high 8 is below max"),
    ],
)
def test_a_file_that_holds_no_bars_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BarsError, match=message):
        read_bars([file_of(tmp_path, "AAA.csv", text)], RAW)


def test_a_symbol_twice_or_nowhere_is_refused(tmp_path: Path) -> None:
    path = file_of(tmp_path, "AAA.csv", "time,open,high,low,close,volume\n" + ROWS)
    with pytest.raises(BarsError, match=r"AAA.csv: found symbol AAA a second time, expected each in one file"):
        read_bars([path, path], RAW)
    with pytest.raises(BarsError, match=r"bar files: found no symbol ZZZ, expected one of AAA"):
        read_bars([path], RAW, ["ZZZ"])
