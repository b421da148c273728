"""The golden file: decisions that foreign training code recorded with numpy alone, as values; every fault at once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.contract.releases import spec_named
from mlflow_ppo_flavor.contract.spec import BarSpec, ModelSpec
from mlflow_ppo_flavor.decision.account import AccountState
from mlflow_ppo_flavor.decision.action import Instrument
from mlflow_ppo_flavor.decision.bar_check import Columns
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.decision.market import MAX_PRICE, MIN_PRICE, read_decimal
from mlflow_ppo_flavor.errors import BarsError, SpecError, UnknownFormat
from mlflow_ppo_flavor.model.foreign.array_file import Array, Owed, length_findings, read_arrays
from mlflow_ppo_flavor.model.foreign.fault import fault, refusal, refuse

FORMAT = 1
_REMEDY = "see docs/golden-file.md"
T = TypeVar("T")
_PRICES = ("open", "high", "low", "close", "volume")
_MONEY, _COUNTS = ("initial_equity", "cash", "peak"), ("wins", "trades")


def _account(prefix: str, length: str, optional: bool) -> dict[str, Owed]:
    """The arrays of accounts: money, the position as decimal strings, counts of trades."""
    dtypes = dict.fromkeys(_MONEY, "float64") | {"quantity": "text"} | dict.fromkeys(_COUNTS, "int64")
    return {f"{prefix}_{name}": Owed(dtype, (length,), optional) for name, dtype in dtypes.items()}


TABLE: Mapping[str, Owed] = {
    "table_name": Owed("text", ("accounts",), optional=True),
    "table_price": Owed("float64", ("accounts",), optional=True),
    **_account("table", "accounts", optional=True),
    "table_quantities": Owed("text", ("accounts", "n_actions"), optional=True),
}
ARRAYS: Mapping[str, Owed] = {
    "format": Owed("int64"),
    "spec": Owed("text"),
    "symbol": Owed("text"),
    "timeframe": Owed("text"),
    "adjustment": Owed("text"),
    "session": Owed("text", optional=True),
    "time_zone": Owed("text", optional=True),
    "time": Owed("int64", ("bars",)),
    **{name: Owed("float64", ("bars",)) for name in _PRICES},
    "case_bar": Owed("int64", ("cases",)),
    **_account("account", "cases", optional=False),
    "observations": Owed("float32", ("cases", "obs_dim")),
    "logits": Owed("float32", ("cases", "n_actions")),
    "values": Owed("float32", ("cases",), optional=True),
    "actions": Owed("int64", ("cases",)),
    "quantities": Owed("text", ("cases",)),
    "instrument": Owed("text", optional=True),
    "recorded_with": Owed("text", optional=True),
    **TABLE,
}
"""Every array of a golden file, by name; the table's are all there or none."""


@dataclass(frozen=True, slots=True)
class TableEntry:
    """An account in some position, a price, and the signed quantity of every action there."""

    name: str
    account: AccountState
    price: float
    quantities: tuple[Decimal, ...]


@dataclass(frozen=True, eq=False)
class GoldenFile:
    """What a golden file says. n cases: the bar (its row) at whose close it is decided, the account marked there,
    `observations` float32[n, obs_dim], `logits` float32[n, n_actions], `values` float32[n] (NaN where none were
    recorded), `actions` int64[n], and the signed quantity of each. `spec` has the file's bars.
    """

    source: str
    spec: ModelSpec
    bars: Bars
    rows: npt.NDArray[np.int64]
    accounts: tuple[AccountState, ...]
    observations: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32]
    values: npt.NDArray[np.float32]
    actions: npt.NDArray[np.int64]
    quantities: tuple[Decimal, ...]
    instrument: Instrument
    table: tuple[TableEntry, ...]
    recorded_with: Mapping[str, str]


def read_golden_file(path: str | os.PathLike[str]) -> GoldenFile:
    """Read a golden file. IncompatibleModel with every fault, each with its array's name; UnknownFormat for another
    format; CheckpointError for a file that is no whole archive of arrays.
    """
    arrays, findings = read_arrays(path, ARRAYS)
    if "format" in arrays and arrays["format"].item() != FORMAT:
        remedy = "upgrade mlflow-ppo-flavor to read this golden file"
        raise UnknownFormat(f"{path}: format", str(arrays["format"].item()), str(FORMAT), remedy)
    absent = [name for name in TABLE if name not in arrays]
    if 0 < len(absent) < len(TABLE):
        remedy = f"add {', '.join(absent)}, or leave the whole table out"
        findings.append(fault(f"{path}: table_*", "a part of the table", "all of it or nothing", remedy))
    reader = _Reader(str(path), arrays, findings)
    bars = reader.noted("", reader.bar_spec)
    spec = None if bars is None or "spec" not in arrays else reader.noted("spec", lambda: reader.spec(bars))
    findings += length_findings(path, arrays, ARRAYS, reader.lengths(spec))
    if spec is None:
        raise refusal(findings)
    refuse(findings)
    return reader.read(spec)


@dataclass
class _Reader:
    """Makes values of arrays, and notes everything that is wrong on the way."""

    path: str
    arrays: Mapping[str, Array]
    findings: list[Finding]

    def read(self, spec: ModelSpec) -> GoldenFile:
        """The values of arrays whose dtypes and shapes are as owed."""
        bars, instrument = self.noted("time", lambda: self._bars(spec)), self.noted("instrument", self._instrument)
        recorded_with = self.noted("recorded_with", self._versions)
        self._check_numbers(spec)
        accounts = self._accounts("account", self._prices())
        table = self._table(spec) if TABLE.keys() <= self.arrays.keys() else ()
        quantities = self._decimals("quantities", spec, self.arrays["actions"])
        if bars is None or instrument is None or recorded_with is None:
            raise refusal(self.findings)
        refuse(self.findings)
        logits = self.arrays["logits"]
        return GoldenFile(
            source=self.path,
            spec=spec,
            bars=bars,
            rows=self.arrays["case_bar"],
            accounts=accounts,
            observations=self.arrays["observations"],
            logits=logits,
            values=self.arrays.get("values", np.full(len(logits), np.nan, dtype=np.float32)),
            actions=self.arrays["actions"],
            quantities=quantities,
            instrument=instrument,
            table=table,
            recorded_with=recorded_with,
        )

    def noted(self, name: str, read: Callable[[], T]) -> T | None:
        """What `read` gives, or None and a finding that says why it can't be read."""
        try:
            return read()
        except SpecError as error:
            place = name if error.path in ("", name) else parsing.join(name, error.path)
            self.note(place, str(error.found), error.expected, error.remedy or _REMEDY)
        except BarsError as error:
            self.note(name, f"faulty bars ({error})", "bars in order, each whole", _REMEDY)
        return None

    def note(self, name: str, found: str, expected: str, remedy: str = "") -> None:
        """Note a fault of an array."""
        self.findings.append(fault(f"{self.path}: {name}", found, expected, remedy or _REMEDY))

    def lengths(self, spec: ModelSpec | None) -> dict[str, int]:
        """What the named lengths of shapes stand for here, as far as it is known."""
        makers = {"bars": "time", "cases": "case_bar", "accounts": "table_price"}
        known = {length: len(self.arrays[name]) for length, name in makers.items() if name in self.arrays}
        return known if spec is None else known | {"obs_dim": spec.obs_dim, "n_actions": spec.n_actions}

    def bar_spec(self) -> BarSpec:
        """What the file's bars are."""
        told = {name: self._text(name) for name in ("timeframe", "adjustment")}
        session, time_zone = self._text("session") or "regular", self._text("time_zone") or "America/New_York"
        return BarSpec.from_dict({**told, "session": session, "time_zone": time_zone})

    def spec(self, bars: BarSpec) -> ModelSpec:
        """The spec that the file names or holds, with the file's bars."""
        told, symbol = self._text("spec"), self._text("symbol")
        spec = ModelSpec.from_dict(_json(told)) if told.startswith("{") else spec_named(told, "")
        if spec.bars not in (None, bars):
            expected = f"{bars.to_dict()}, as the arrays beside it say"
            raise SpecError("bars", str(spec.to_dict()["bars"]), expected)
        return spec.for_bars(**bars.to_dict(), symbols=spec.symbols or (symbol,))

    def _text(self, name: str) -> str:
        return str(self.arrays[name].item()) if name in self.arrays else ""

    def _bars(self, spec: ModelSpec) -> Bars:
        columns = Columns(self.arrays["time"], *(self.arrays[name] for name in _PRICES))
        if spec.bars is None:
            raise SpecError("", "no bars", "the file's own")
        return Bars.from_columns(columns, symbol=self._text("symbol"), spec=spec.bars)

    def _instrument(self) -> Instrument:
        told = self._text("instrument")
        return Instrument.from_dict(_json(told)) if told else Instrument.equity(self._text("symbol"))

    def _versions(self) -> dict[str, str]:
        read = _json(self._text("recorded_with") or "{}")
        if not isinstance(read, dict) or not all(isinstance(value, str) for value in read.values()):
            raise SpecError("", parsing.show(read), "JSON of {package: version}")
        return read

    def _check_numbers(self, spec: ModelSpec) -> None:
        """Note numbers that can't be: no case, a bar or an action that isn't there, NaN and infinity."""
        for name, count in (("case_bar", len(self.arrays["time"])), ("actions", spec.n_actions)):
            wrong = np.flatnonzero((self.arrays[name] < 0) | (self.arrays[name] >= count))
            if len(wrong):
                self.note(f"{name}[{wrong[0]}]", str(self.arrays[name][wrong[0]]), f"a number in [0, {count - 1}]")
        if not len(self.arrays["case_bar"]):
            self.note("case_bar", "no case", "at least one")
        for name in ("observations", "logits", "values"):
            nowhere = np.argwhere(~np.isfinite(self.arrays.get(name, np.empty(0))))
            if len(nowhere):
                place = tuple(nowhere[0].tolist())
                found = str(self.arrays[name][place])
                self.note(f"{name}[{', '.join(map(str, place))}]", found, "finite numbers")

    def _prices(self) -> list[float]:
        """The close of each case's bar; of one that isn't there, and is noted, some other."""
        rows = np.clip(self.arrays["case_bar"], 0, max(len(self.arrays["close"]) - 1, 0))
        return self.arrays["close"][rows].tolist() if len(self.arrays["close"]) else []

    def _accounts(self, prefix: str, prices: list[float]) -> tuple[AccountState, ...]:
        """The accounts of the arrays `<prefix>_*`, each marked at its price."""
        names = (*_MONEY, "quantity", *_COUNTS)
        columns = [self.arrays[f"{prefix}_{name}"].tolist() for name in names]
        accounts = []
        for i, (price, *values) in enumerate(zip(prices, *columns, strict=False)):
            given = dict(zip(names, values, strict=True))
            try:
                # what an open trade has brought so far is neither observed nor sized with
                accounts.append(AccountState.from_dict({**given, "price": price, "trade_flow": "0"}))
            except SpecError as error:
                self.note(f"{prefix}_{error.path}[{i}]", str(error.found), error.expected)
        return tuple(accounts)

    def _table(self, spec: ModelSpec) -> tuple[TableEntry, ...]:
        prices, every = self.arrays["table_price"].tolist(), np.arange(spec.n_actions)
        for i, price in enumerate(prices):
            if not MIN_PRICE <= price <= MAX_PRICE:
                self.note(f"table_price[{i}]", str(price), f"a price in [{MIN_PRICE:g}, {MAX_PRICE:g}]")
        accounts = self._accounts("table", prices)
        names = self.arrays["table_name"].tolist()
        rows = [
            self._decimals(f"table_quantities[{i}]", spec, every, row)
            for i, row in enumerate(self.arrays["table_quantities"])
        ]
        return tuple(TableEntry(*entry) for entry in zip(names, accounts, prices, rows, strict=False))

    def _decimals(self, name: str, spec: ModelSpec, actions: Array, given: Array | None = None) -> tuple[Decimal, ...]:
        """The quantities of `actions`, each in its action's direction or 0."""
        read = []
        for i, (text, action) in enumerate(
            zip((self.arrays[name] if given is None else given).tolist(), actions.tolist(), strict=True)
        ):
            try:
                quantity = read_decimal(text, "")
            except SpecError as error:
                self.note(f"{name}[{i}]", str(error.found), error.expected)
                continue
            known = spec.actions[action] if 0 <= action < spec.n_actions else None
            if known is not None and quantity and known.direction * quantity <= 0:
                expected = f"a quantity in the direction {known.direction} of {known.name}, or 0"
                self.note(f"{name}[{i}]", text, expected)
            read.append(quantity)
        return tuple(read)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError("", f"text that isn't JSON ({error})", "JSON") from None
