"""What the journal holds besides orders and fills: standings, decisions, the conduct, events. Values, read strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.decision.account import AccountState
from mlflow_ppo_flavor.decision.action import Decision

ConductState = Literal["ACTIVE", "REDUCING", "HALTED"]
MAX_INT64 = 2**63 - 1
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DIGEST = {"pattern": _SHA256, "expected": "64 hexadecimal digits"}


@dataclass(frozen=True, slots=True)
class Standing:
    """A symbol's sub-account, and the start of the last bar that it was marked at (UTC nanoseconds)."""

    state: AccountState
    marked: int

    def to_dict(self) -> dict[str, Any]:
        """The standing as JSON values."""
        return {"state": self.state.to_dict(), "marked": self.marked}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> Standing:
        """Read a standing; SpecError with its dotted path for anything else."""
        read = parsing.mapping(data, path, ("state", "marked"), where="standing")
        return cls(
            state=AccountState.from_dict(read.get("state"), parsing.join(path, "state")),
            marked=parsing.take(read, "marked", path, parsing.integer, low=-MAX_INT64, high=MAX_INT64),
        )


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """One decision on one bar (its start in UTC nanoseconds): by which model, on which observation, and what followed.

    `observation_sha256` is of the observation's bytes; `value` is None where the policy has no critic; `decided_at` is
    ISO 8601 by the venue's clock.
    """

    symbol: str
    bar_time: int
    model_version: int
    model_digest: str
    observation_sha256: str
    probability: float
    value: float | None
    decision: Decision
    decided_at: str
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values."""
        return {item.name: getattr(self, item.name) for item in fields(self)} | {"decision": self.decision.to_dict()}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> DecisionRecord:
        """Read a record; SpecError with its dotted path for anything else."""
        read = parsing.mapping(data, path, [item.name for item in fields(cls)], where="record")
        return cls(
            symbol=parsing.take(read, "symbol", path, parsing.text, empty=False),
            bar_time=parsing.take(read, "bar_time", path, parsing.integer, low=-MAX_INT64, high=MAX_INT64),
            model_version=parsing.take(read, "model_version", path, parsing.integer, low=0, high=MAX_INT64),
            model_digest=parsing.take(read, "model_digest", path, parsing.name, **_DIGEST),
            observation_sha256=parsing.take(read, "observation_sha256", path, parsing.name, **_DIGEST),
            probability=parsing.take(read, "probability", path, parsing.number, low=0.0, high=1.0),
            value=parsing.take(read, "value", path, _value),
            decision=Decision.from_dict(read.get("decision"), parsing.join(path, "decision")),
            decided_at=parsing.take(read, "decided_at", path, parsing.text, empty=False),
            note=parsing.take(read, "note", path, parsing.text),
        )


def _value(value: object, path: str) -> float | None:
    return None if value is None else parsing.number(value, path, low=-1e30, high=1e30)


@dataclass(frozen=True, slots=True)
class Conduct:
    """How the trader behaves until somebody changes it, why, and since when (ISO 8601, UTC; "" from the start)."""

    state: ConductState
    reason: str = ""
    since: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth knowing later: its kind (`bad_bar`, `refused_model`, `skip`, `swap`, …), the symbol if it is
    about one, why, and details as JSON values. `at` is when it was written down (ISO 8601, UTC).
    """

    at: str
    kind: str
    symbol: str | None
    reason: str
    detail: Mapping[str, Any] = field(default_factory=dict)
