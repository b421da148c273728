"""Golden decisions as a value: recorded bars and accounts, and every stage's outcome on the way to a quantity."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.contract.spec import BarSpec, ModelSpec
from mlflow_ppo_flavor.decision.account import AccountState
from mlflow_ppo_flavor.decision.action import Decision, Instrument
from mlflow_ppo_flavor.decision.bar_check import Columns
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.errors import SpecError, UnknownFormat
from mlflow_ppo_flavor.model.wholeness import check_whole

FORMAT = 1
Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]
_META = ("format", "spec", "recorded_with", "instruments", "segments", "cases", "digests", "decisions", "table")
_ARRAYS = ("account_features", "samples", "logits", "values", "actions", "margins")
_PARTS = ("time", "columns", "rows", "features")
_MOST = 1_000_000


@dataclass(frozen=True, eq=False)
class Segment:
    """Consecutive bars, and the market features float32[m, n_market] of the bars `rows` int64[m] among them."""

    bars: Bars
    rows: Int64
    features: Float32


@dataclass(frozen=True, slots=True)
class Case:
    """One decision's input: the bar at whose close it falls (its row in that segment), and the account then."""

    segment: int
    row: int
    account: AccountState

    def to_dict(self) -> dict[str, Any]:
        """The case as JSON values."""
        return {"segment": self.segment, "row": self.row, "account": self.account.to_dict()}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> Case:
        """Read a case; SpecError with its dotted path for anything else."""
        read = parsing.mapping(data, path, ("segment", "row", "account"))
        return cls(
            segment=parsing.take(read, "segment", path, parsing.integer, low=0, high=_MOST),
            row=parsing.take(read, "row", path, parsing.integer, low=0, high=_MOST),
            account=parsing.take(read, "account", path, AccountState.from_dict),
        )


@dataclass(frozen=True, slots=True)
class TableRow:
    """An account in a named position at `price`, and the decision of every action, instrument by instrument."""

    name: str
    account: AccountState
    price: float
    decisions: tuple[tuple[Decision, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON values."""
        decisions = [[decision.to_dict() for decision in group] for group in self.decisions]
        return {"name": self.name, "account": self.account.to_dict(), "price": self.price, "decisions": decisions}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> TableRow:
        """Read a row; SpecError with its dotted path for anything else."""
        read = parsing.mapping(data, path, ("name", "account", "price", "decisions"))
        group = partial(parsing.sequence, read=Decision.from_dict)
        return cls(
            name=parsing.take(read, "name", path, parsing.text, empty=False),
            account=parsing.take(read, "account", path, AccountState.from_dict),
            price=parsing.take(read, "price", path, parsing.number, low=1e-12, high=1e15),
            decisions=parsing.take(read, "decisions", path, partial(parsing.sequence, read=group)),
        )


@dataclass(frozen=True, eq=False)
class Golden:
    """The proof inside a model. For n cases: what they were given, and what each stage made of it.

    Given: `spec`, `segments` (with their features), `cases`, `instruments`. Made: `account_features` float32[n, k];
    `digests`, the sha256 of each observation's bytes; `samples` float32[s, obs_dim], the first s observations whole;
    `logits` float32[n, n_actions]; `values` float32[n] of the critic, all NaN where the policy has none; `actions`
    int64[n]; `margins` float32[n] between the two highest logits; `decisions` with the first instrument; `table`, every
    action for accounts of every kind, empty where none was recorded. `recorded_with` are package versions.
    """

    spec: ModelSpec
    recorded_with: Mapping[str, str]
    instruments: tuple[Instrument, ...]
    segments: tuple[Segment, ...]
    cases: tuple[Case, ...]
    account_features: Float32
    digests: tuple[str, ...]
    samples: Float32
    logits: Float32
    values: Float32
    actions: Int64
    margins: Float32
    decisions: tuple[Decision, ...]
    table: tuple[TableRow, ...]

    def to_tensors(self) -> dict[str, torch.Tensor]:
        """Plain tensors by name; `meta` is canonical JSON as bytes. `from_tensors` reads them back equal."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        for i, segment in enumerate(self.segments):
            time, *numbers = segment.bars.columns
            parts = (time, np.stack(numbers), segment.rows, segment.features)
            arrays |= {f"segments.{i}.{name}": array for name, array in zip(_PARTS, parts, strict=True)}
        arrays["meta"] = np.frombuffer(canonical_json(self._meta()), dtype=np.uint8)
        return {name: torch.from_numpy(np.array(array, order="C")) for name, array in arrays.items()}

    @property
    def has_values(self) -> bool:
        """Whether the policy had a critic."""
        return not bool(np.isnan(self.values).all())

    @classmethod
    def from_tensors(cls, tensors: object, path: str = "golden") -> Golden:
        """Read golden decisions; SpecError with the dotted path for anything else, BarsError for faulty bars."""
        if not isinstance(tensors, Mapping):
            raise SpecError(path, parsing.show(tensors), "tensors by name")
        meta = _read_meta(tensors, path)
        spec = parsing.take(meta, "spec", path, ModelSpec.from_dict)
        take = partial(_take_all, meta, path)
        cases, array = take("cases", Case.from_dict), partial(_array, tensors, path)
        n = len(cases)
        golden = cls(
            spec=spec,
            recorded_with=parsing.take(meta, "recorded_with", path, _read_versions),
            instruments=take("instruments", Instrument.from_dict),
            segments=_read_segments(tensors, path, meta.get("segments"), spec),
            cases=cases,
            account_features=array("account_features", torch.float32, (n, len(spec.account_features))),
            digests=take("digests", parsing.text),
            samples=array("samples", torch.float32, (None, spec.obs_dim)),
            logits=array("logits", torch.float32, (n, spec.n_actions)),
            values=array("values", torch.float32, (n,)),
            actions=array("actions", torch.int64, (n,)),
            margins=array("margins", torch.float32, (n,)),
            decisions=take("decisions", Decision.from_dict),
            table=take("table", TableRow.from_dict),
        )
        check_whole(golden, path)
        parts = (f"segments.{i}.{name}" for i in range(len(golden.segments)) for name in _PARTS)
        parsing.mapping(tensors, path, ("meta", *_ARRAYS, *parts))
        return golden

    def _meta(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "spec": self.spec.to_dict(),
            "recorded_with": dict(self.recorded_with),
            "instruments": [instrument.to_dict() for instrument in self.instruments],
            "segments": [{"symbol": s.bars.symbol, "bars": s.bars.spec.to_dict()} for s in self.segments],
            "cases": [case.to_dict() for case in self.cases],
            "digests": list(self.digests),
            "decisions": [decision.to_dict() for decision in self.decisions],
            "table": [row.to_dict() for row in self.table],
        }


def _take_all(meta: Mapping[str, Any], path: str, key: str, read: Callable[..., Any]) -> tuple[Any, ...]:
    return parsing.take(meta, key, path, partial(parsing.sequence, read=read))


def _read_meta(tensors: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """The JSON of the tensor `meta`, its format known and its keys too."""
    place = parsing.join(path, "meta")
    raw = _array(tensors, path, "meta", torch.uint8, (None,))
    try:
        meta = json.loads(raw.tobytes())
    except (ValueError, RecursionError) as error:
        raise SpecError(place, f"bytes that aren't JSON ({error})", "the JSON of golden decisions") from None
    if isinstance(meta, Mapping) and (type(meta.get("format")) is not int or meta["format"] != FORMAT):
        found, remedy = parsing.show(meta.get("format")), "upgrade mlflow-ppo-flavor to read these golden decisions"
        raise UnknownFormat(parsing.join(path, "format"), found, str(FORMAT), remedy)
    return parsing.mapping(meta, place, _META)


def _read_segments(tensors: Mapping[str, Any], path: str, described: object, spec: ModelSpec) -> tuple[Segment, ...]:
    if not isinstance(described, list):
        raise SpecError(parsing.join(path, "segments"), parsing.show(described), "a list")
    return tuple(_read_segment(tensors, path, i, member, spec) for i, member in enumerate(described))


def _read_segment(tensors: Mapping[str, Any], path: str, i: int, described: object, spec: ModelSpec) -> Segment:
    at = f"{path}.segments[{i}]"
    read = parsing.mapping(described, at, ("symbol", "bars"))
    symbol = parsing.take(read, "symbol", at, parsing.text, empty=False)
    bar_spec = parsing.take(read, "bars", at, BarSpec.from_dict)
    time = _array(tensors, path, f"segments.{i}.time", torch.int64, (None,))
    numbers = _array(tensors, path, f"segments.{i}.columns", torch.float64, (5, len(time)))
    rows = _array(tensors, path, f"segments.{i}.rows", torch.int64, (None,))
    features = _array(tensors, path, f"segments.{i}.features", torch.float32, (len(rows), len(spec.market_features)))
    return Segment(Bars.from_columns(Columns(time, *numbers), symbol=symbol, spec=bar_spec), rows, features)


def _read_versions(value: object, path: str) -> dict[str, str]:
    names = list(value) if isinstance(value, Mapping) else ()
    read = parsing.mapping(value, path, names)
    return {name: parsing.take(read, name, path, parsing.text) for name in names}


def _array(
    tensors: Mapping[str, Any], path: str, name: str, dtype: torch.dtype, shape: tuple[int | None, ...]
) -> npt.NDArray[Any]:
    """A tensor as a read-only array of exactly that kind; None in `shape` is any length."""
    tensor, place = tensors.get(name), parsing.join(path, name)
    lengths = ", ".join("any" if length is None else str(length) for length in shape)
    if not isinstance(tensor, torch.Tensor):
        raise SpecError(place, "no tensor", f"{dtype} [{lengths}]")
    fits = len(shape) == tensor.ndim and all(n in (None, m) for n, m in zip(shape, tensor.shape, strict=True))
    if tensor.dtype != dtype or tensor.layout != torch.strided or tensor.is_meta or not fits:
        kind = "without data " if tensor.is_meta else f"{tensor.layout} " if tensor.layout != torch.strided else ""
        raise SpecError(place, f"{kind}{tensor.dtype} {list(tensor.shape)}", f"{dtype} [{lengths}]")
    array = tensor.detach().cpu().numpy().view()
    array.flags.writeable = False
    return array
