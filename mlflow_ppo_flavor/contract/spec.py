"""ModelSpec: the contract of a policy. What it observes, what its actions mean, how they are sized, who may run it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.digest import canonical_json, sha256_hex
from mlflow_ppo_flavor.errors import SpecError, UnknownFormat

FORMAT = 1
RELEASED_FAMILY = "ppo"
"""The family of the released specs; a team's own specs have another."""
TIMEFRAMES = ("1Day", "1Hour", "1Min")
ADJUSTMENTS = ("raw", "split", "all")
SESSIONS = ("regular", "extended", "continuous")
ACCOUNT_FEATURE_NAMES = (
    "total_pnl",
    "win_rate",
    "drawdown",
    "position_size",
    "available_cash",
    "account_value",
)
_FEATURE = re.compile(r"(?:[a-z][a-z0-9_.-]*/)?[a-z][a-z0-9_]*@[1-9][0-9]*")
_FAMILY = re.compile(r"[a-z][a-z0-9_-]*")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*")
_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9./-]*")
_MEANING = re.compile(r"[A-Za-z0-9_%.+ -]{1,40}")


@dataclass(frozen=True, slots=True)
class Action:
    """One entry of the action table: its name, its direction (-1, 0, 1) and its size (0 to 1 of a full step)."""

    name: str
    direction: int
    size: float

    def to_dict(self) -> dict[str, Any]:
        """The action as JSON values."""
        return {"name": self.name, "direction": self.direction, "size": self.size}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> Action:
        """Read an action; SpecError with its dotted path for anything else."""
        read = parsing.mapping(data, path, ("name", "direction", "size"))
        action = cls(
            name=parsing.take(
                read, "name", path, parsing.name, pattern=_MEANING, expected="a short name such as BUY_25%"
            ),
            direction=parsing.take(read, "direction", path, parsing.choice, of=(-1, 0, 1)),
            size=parsing.take(read, "size", path, parsing.number, low=0.0, high=1.0),
        )
        if (action.direction == 0) != (action.size == 0.0):
            expected = (
                "0 where the direction is 0" if action.direction == 0 else "more than 0 where there is a direction"
            )
            raise SpecError(parsing.join(path, "size"), action.size, expected)
        return action


@dataclass(frozen=True, slots=True)
class Sizing:
    """How an interpreted action becomes a quantity: shares of equity in [0, 1], and whether shorts may be opened."""

    base_allocation: float = 0.15
    safety_buffer: float = 0.30
    max_position: float = 0.20
    allow_short: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The sizing as JSON values."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> Sizing:
        """Read a sizing; SpecError with its dotted path for anything else."""
        read = parsing.mapping(data, path, [field.name for field in fields(cls)])
        shares = {
            key: parsing.take(read, key, path, parsing.number, low=0.0, high=1.0)
            for key in ("base_allocation", "safety_buffer", "max_position")
        }
        return cls(**shares, allow_short=parsing.take(read, "allow_short", path, parsing.flag))


@dataclass(frozen=True, slots=True)
class BarSpec:
    """The bars that a policy was trained on: timeframe, adjustment, session, the exchange's time zone (IANA name)."""

    timeframe: str
    adjustment: str
    session: str = "regular"
    time_zone: str = "America/New_York"

    def to_dict(self) -> dict[str, Any]:
        """The bar spec as JSON values."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> BarSpec:
        """Read a bar spec; SpecError with its dotted path for anything else."""
        read = parsing.mapping(data, path, [field.name for field in fields(cls)])
        return cls(
            timeframe=parsing.take(read, "timeframe", path, parsing.choice, of=TIMEFRAMES),
            adjustment=parsing.take(read, "adjustment", path, parsing.choice, of=ADJUSTMENTS),
            session=parsing.take(read, "session", path, parsing.choice, of=SESSIONS),
            time_zone=parsing.take(
                read,
                "time_zone",
                path,
                parsing.name,
                pattern=_ZONE,
                expected="an IANA time zone such as America/New_York",
            ),
        )


def feature_name(reference: str) -> str:
    """The name in a feature reference: `rsi_14` of `rsi_14@1`."""
    return reference.rpartition("@")[0]


def lowest_version(specifier: SpecifierSet) -> str | None:
    """The lowest version that a specifier set names with >=, > , == or ~=; None where it names none."""
    lows = [s.version.removesuffix(".*") for s in specifier if s.operator in (">=", ">", "==", "~=")]
    return max(lows, key=Version) if lows else None


@dataclass(frozen=True)
class ModelSpec:
    """The contract of one policy.

    `features` are ordered references `name@revision`, market first, account last; observations are `window` bars of
    them, time-major, oldest bar first, C order, float32. `bars` is None in released templates and legacy imports only.
    `symbols` are those it was trained on: recorded, outside the fingerprint. `requires_trader` is a specifier set of
    trader versions, then the own packages that a trader must have: `>=2.7.0; acme-features>=1.2`. SpecError for a field
    that is wrong.
    """

    version: str
    requires_trader: str
    features: tuple[str, ...]
    actions: tuple[Action, ...]
    bars: BarSpec | None = None
    window: int = 100
    sizing: Sizing = Sizing()
    symbols: tuple[str, ...] = ()
    family: str = RELEASED_FAMILY
    breaking_changes: str = ""
    notes: str = ""
    format: int = FORMAT

    def __post_init__(self) -> None:
        """Refuse here what `from_dict` refuses, so that no path makes an unchecked spec."""
        for key, value in _read(self.to_dict(), "").items():
            object.__setattr__(self, key, value)

    @property
    def label(self) -> str:
        """How messages name it: `2.7.0` in the released family, `acme 1.0.0` in another."""
        return self.version if self.family == RELEASED_FAMILY else f"{self.family} {self.version}"

    @property
    def n_features(self) -> int:
        """How many features a bar has in the observation."""
        return len(self.features)

    @property
    def n_actions(self) -> int:
        """How many actions the policy chooses from."""
        return len(self.actions)

    @property
    def obs_dim(self) -> int:
        """Length of one observation: n_features × window."""
        return self.n_features * self.window

    @property
    def action_meanings(self) -> dict[int, str]:
        """{action index: its name}, with integer keys."""
        return {i: action.name for i, action in enumerate(self.actions)}

    @property
    def market_features(self) -> tuple[str, ...]:
        """The references computed from bars, in order."""
        return tuple(f for f in self.features if feature_name(f) not in ACCOUNT_FEATURE_NAMES)

    @property
    def account_features(self) -> tuple[str, ...]:
        """The references computed from the account, in order; they stand last."""
        return tuple(f for f in self.features if feature_name(f) in ACCOUNT_FEATURE_NAMES)

    @property
    def trader_specifier(self) -> SpecifierSet:
        """The trader versions that `requires_trader` allows: what stands before its first semicolon."""
        return SpecifierSet(self.requires_trader.partition(";")[0])

    @property
    def package_requirements(self) -> tuple[Requirement, ...]:
        """The own packages that `requires_trader` names after its trader versions, in order."""
        return tuple(map(Requirement, self.requires_trader.split(";")[1:]))

    @property
    def min_trader_version(self) -> str | None:
        """The lowest trader version that `requires_trader` names with >=, > , == or ~=; None where it names none."""
        return lowest_version(self.trader_specifier)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the canonical JSON of what changes behaviour: format, features, window, bars, actions, sizing."""
        data = self.to_dict()
        behaviour = {key: data[key] for key in ("format", "features", "window", "bars", "actions", "sizing")}
        return sha256_hex(canonical_json(behaviour))

    def for_bars(
        self,
        *,
        timeframe: str,
        adjustment: str,
        session: str = "regular",
        time_zone: str = "America/New_York",
        symbols: tuple[str, ...] | list[str] = (),
    ) -> ModelSpec:
        """This spec for the bars that training uses; SpecError for values that a spec can't hold."""
        return replace(self, bars=BarSpec(timeframe, adjustment, session, time_zone), symbols=tuple(symbols))

    def to_dict(self) -> dict[str, Any]:
        """The spec as JSON values; `from_dict` reads it back equal."""
        return {
            "format": self.format,
            "family": self.family,
            "version": self.version,
            "requires_trader": self.requires_trader,
            "bars": None if self.bars is None else self.bars.to_dict(),
            "features": list(self.features),
            "window": self.window,
            "actions": [action.to_dict() for action in self.actions],
            "sizing": self.sizing.to_dict(),
            "symbols": list(self.symbols),
            "breaking_changes": self.breaking_changes,
            "notes": self.notes,
        }

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> ModelSpec:
        """Read a spec; UnknownFormat for another format, SpecError with the dotted path for anything else."""
        return cls(**_read(data, path))


def _read(data: object, path: str) -> dict[str, Any]:
    """Every field of a spec, checked."""
    _check_format(data, path)
    read = parsing.mapping(data, path, [field.name for field in fields(ModelSpec)], where="spec")
    return {
        "format": FORMAT,
        "family": parsing.take(read, "family", path, parsing.name, pattern=_FAMILY, expected="a family such as ppo"),
        "version": parsing.take(read, "version", path, parsing.version),
        "requires_trader": parsing.take(read, "requires_trader", path, parsing.trader_requirement),
        "bars": parsing.take(read, "bars", path, _bars, default=None),
        "features": parsing.take(read, "features", path, _features),
        "window": parsing.take(read, "window", path, parsing.integer, low=1, high=10_000),
        "actions": parsing.take(read, "actions", path, _actions),
        "sizing": parsing.take(read, "sizing", path, Sizing.from_dict),
        "symbols": parsing.take(read, "symbols", path, _symbols, default=()),
        "breaking_changes": parsing.take(read, "breaking_changes", path, parsing.text, default=""),
        "notes": parsing.take(read, "notes", path, parsing.text, default=""),
    }


def _check_format(data: object, path: str) -> None:
    if isinstance(data, Mapping) and (type(data.get("format")) is not int or data["format"] != FORMAT):
        found = parsing.show(data.get("format"))
        raise UnknownFormat(
            parsing.join(path, "format"), found, str(FORMAT), "upgrade mlflow-ppo-flavor to read this spec"
        )


def _check_order(features: tuple[str, ...], path: str = "features") -> None:
    account_seen = False
    for i, reference in enumerate(features):
        is_account = feature_name(reference) in ACCOUNT_FEATURE_NAMES
        if account_seen and not is_account:
            raise SpecError(
                f"{path}[{i}]",
                f"market feature {reference} after an account feature",
                "market first, account last",
            )
        account_seen = account_seen or is_account


def _features(value: object, path: str) -> tuple[str, ...]:
    features = parsing.sequence(value, path, parsing.name, pattern=_FEATURE, expected="a feature such as rsi_14@1")
    if not features:
        raise SpecError(path, "no feature", "at least one")
    parsing.unique(tuple(map(feature_name, features)), path)
    _check_order(features, path)
    return features


def _actions(value: object, path: str) -> tuple[Action, ...]:
    actions = parsing.sequence(value, path, Action.from_dict)
    if len(actions) < 2:
        raise SpecError(path, f"{len(actions)} action(s)", "at least two")
    parsing.unique(tuple(action.name for action in actions), path)
    return actions


def _symbols(value: object, path: str) -> tuple[str, ...]:
    symbols = parsing.sequence(value, path, parsing.name, pattern=_SYMBOL, expected="a symbol such as AAPL or BTC/USD")
    return parsing.unique(symbols, path)


def _bars(value: object, path: str) -> BarSpec | None:
    return None if value is None else BarSpec.from_dict(value, path)
