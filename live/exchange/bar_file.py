"""Bar files: CSV, plain or gzipped, one symbol or many below each other, read through the same checks as training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.decision.adjustment import adjust
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.errors import BarsError

COLUMNS = {
    "symbol": "symbol",
    "ticker": "symbol",
    "time": "time",
    "timestamp": "time",
    "date": "time",
    "open": "open",
    "high": "high",
    "low": "low",
    "close": "close",
    "volume": "volume",
    "adj close": "adj_close",
    "adj_close": "adj_close",
}
"""{a column's name in the file, in lower case: what it is}; other columns are ignored."""


def read_bars(paths: Sequence[Path], spec: BarSpec, symbols: Sequence[str] = ()) -> dict[str, Bars]:
    """The bars of some files by symbol: of `symbols`, in that order, or of all in the files.

    A file without a symbol column holds the symbol that it is named for (AAPL.csv). With an adjusted close, raw
    prices are adjusted as `spec` says; without one, the file holds what `spec` says already. BarsError for a file
    that can't be read so, for a symbol in two files, and for one in none.
    """
    frames: dict[str, pd.DataFrame] = {}
    for path in paths:
        for symbol, frame in _read_symbols(path):
            if symbol in frames:
                raise BarsError(f"{path}: found symbol {symbol} a second time, expected each in one file")
            frames[symbol] = frame
    missing = [symbol for symbol in symbols if symbol not in frames]
    if missing:
        raise BarsError(f"bar files: found no symbol {', '.join(missing)}, expected one of {', '.join(frames)}")
    return {symbol: _bars(frames[symbol], symbol, spec) for symbol in symbols or frames}


def _read_symbols(path: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    frame = _read_frame(path)
    if "symbol" not in frame:
        yield path.name.partition(".")[0], frame
        return
    for symbol, rows in frame.groupby("symbol", sort=False):
        yield str(symbol), rows


def _read_frame(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise BarsError(f"{path}: found no readable CSV ({error}), expected bars as CSV or .csv.gz") from error
    names = {column: COLUMNS[column.lower()] for column in map(str, frame.columns) if column.lower() in COLUMNS}
    return frame[list(names)].rename(columns=names)


def _bars(frame: pd.DataFrame, symbol: str, spec: BarSpec) -> Bars:
    if "adj_close" in frame:
        return adjust(frame, symbol=symbol, spec=spec)
    return Bars.from_frame(frame, symbol=symbol, spec=spec)
