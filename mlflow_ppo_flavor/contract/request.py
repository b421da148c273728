"""Requests: what a client asks of the registry's gate, as the values of tags that the gate reads and never keeps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar
from urllib.parse import unquote, urlencode

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.trader import TRADER_ID
from mlflow_ppo_flavor.errors import SpecError

LONGEST_REASON = 500
SHORTEST_OVERRIDE, LONGEST_OVERRIDE = 60, 7 * 24 * 3600
"""Seconds for which an override may hold."""
REPORT_TAG = "ppo.report"
"""The tag that a search asks for: `search_registered_models(filter_string="tags.`ppo.report` = 'history'")`."""
REPORTS = ("guard", "history", "standing", "audit", "verdict")
GUARD_MODEL = "ppo"
"""The name under which the report `guard`, which belongs to no model, is answered."""
MOST_ROWS = 1_000
_ID = {"pattern": TRADER_ID, "expected": "an id of letters, digits, . _ - (64 at most)"}
_DIGITS = re.compile(r"[0-9]{1,19}")
_MOST_ID = 2**63 - 1
R = TypeVar("R", bound="Request")


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a registered model or of a version, as the value of the tag `tag`: its canonical JSON."""

    tag: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """The request as JSON values; what isn't given is left out."""
        found = {name: getattr(self, name) for name in self._names()}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def value(self) -> str:
        """The value of the tag."""
        return canonical_json(self.to_dict()).decode("utf-8")

    @classmethod
    def from_dict(cls: type[R], data: object, path: str = "") -> R:
        """Read a request; SpecError with its dotted path for anything else."""
        return cls(**cls._fields(parsing.mapping(data, path, cls._names(), where=cls.tag), path))

    @classmethod
    def parse(cls: type[R], value: object) -> R:
        """The request in the tag's value; SpecError with its dotted path for anything else."""
        return cls.from_dict(parsing.json_text(value, cls.tag, expected="the canonical JSON of a request"), cls.tag)

    @classmethod
    def _fields(cls, read: Mapping[str, Any], path: str) -> dict[str, Any]:
        return {"reference": _label(read, path)} if "reference" in cls._names() else {}

    @classmethod
    def _names(cls) -> tuple[str, ...]:
        return tuple(member.name for member in fields(cls))


@dataclass(frozen=True, slots=True)
class Retire(Request):
    """A trader no longer loads a reference (its label), or, without one, any of this model."""

    tag = "ppo.retire"
    trader_id: str
    reference: str | None = None

    @classmethod
    def _fields(cls, read: Mapping[str, Any], path: str) -> dict[str, Any]:
        trader_id = parsing.take(read, "trader_id", path, parsing.name, **_ID)
        return {"trader_id": trader_id, "reference": _label(read, path) if "reference" in read else None}


@dataclass(frozen=True, slots=True)
class Rollback(Request):
    """A reference is to load the last version that it loaded before and that today's fleet can run."""

    tag = "ppo.rollback"
    reference: str


@dataclass(frozen=True, slots=True)
class Withdraw(Request):
    """A reference is to stop loading what it loads."""

    tag = "ppo.withdraw"
    reference: str


@dataclass(frozen=True, slots=True)
class Approve(Request):
    """The asking user approves that the version enters a reference."""

    tag = "ppo.approve"
    reference: str


@dataclass(frozen=True, slots=True)
class OverrideRequest(Request):
    """The asking user lets the version into a reference once, within these seconds, over what isn't about safety."""

    tag = "ppo.override"
    reference: str
    reason: str
    expires_seconds: int

    @classmethod
    def _fields(cls, read: Mapping[str, Any], path: str) -> dict[str, Any]:
        within = {"low": SHORTEST_OVERRIDE, "high": LONGEST_OVERRIDE}
        return {
            "reference": _label(read, path),
            "reason": parsing.take(read, "reason", path, parsing.line, longest=LONGEST_REASON),
            "expires_seconds": parsing.take(read, "expires_seconds", path, parsing.integer, **within),
        }


@dataclass(frozen=True, slots=True)
class Reverify(Request):
    """The version's contract is to be read again."""

    tag = "ppo.reverify"


MODEL_REQUESTS: Mapping[str, type[Request]] = {kind.tag: kind for kind in (Retire, Rollback, Withdraw)}
VERSION_REQUESTS: Mapping[str, type[Request]] = {kind.tag: kind for kind in (Approve, OverrideRequest, Reverify)}


@dataclass(frozen=True, slots=True)
class Question:
    """A report asked for by a search, as the value of the tag `ppo.report`: `history`, or `history?limit=50&before=9`.

    `limit`: at most so many rows of each model, newest first (`history`), or so many references of it, sorted by label;
    `before`: only rows with a lower id; `after`: only references behind this label; `reference`: only that label;
    `versions`: of `standing`, judge so many of a model's newest versions too, and for references that load nothing yet;
    `below`: the newest of those with a lower number.
    """

    report: str
    limit: int = 50
    before: int | None = None
    after: str | None = None
    reference: str | None = None
    versions: int = 0
    below: int | None = None

    @property
    def value(self) -> str:
        """The value of the tag."""
        named = {"before": self.before, "after": self.after, "reference": self.reference, "below": self.below}
        options: dict[str, Any] = {key: value for key, value in named.items() if value is not None}
        options = {"limit": self.limit, **options, **({"versions": self.versions} if self.versions else {})}
        return f"{self.report}?{urlencode(options)}"

    @property
    def filter_string(self) -> str:
        """The filter of the search that asks for it, of every model."""
        return f"tags.`{REPORT_TAG}` = '{self.value}'"

    @classmethod
    def parse(cls, value: object) -> Question:
        """The question in the tag's value; SpecError with its dotted path for anything else."""
        report, _, options = parsing.text(value, REPORT_TAG).partition("?")
        parsing.choice(report, REPORT_TAG, of=REPORTS)
        pairs = [each.partition("=") for each in options.split("&") if each]
        parsing.unique(tuple(key for key, _, _ in pairs), REPORT_TAG)
        known = ("limit", "before", "after", "reference", "versions", "below")
        read = parsing.mapping({key: unquote(text) for key, _, text in pairs}, REPORT_TAG, known)
        return cls(
            report,
            parsing.take(read, "limit", REPORT_TAG, _digits, default=50, high=MOST_ROWS),
            parsing.take(read, "before", REPORT_TAG, _digits, default=None, high=_MOST_ID),
            _label(read, REPORT_TAG, "after") if "after" in read else None,
            _label(read, REPORT_TAG) if "reference" in read else None,
            parsing.take(read, "versions", REPORT_TAG, _digits, default=0, high=MOST_ROWS),
            parsing.take(read, "below", REPORT_TAG, _digits, default=None, high=_MOST_ID),
        )


def _label(read: Mapping[str, Any], path: str, key: str = "reference") -> str:
    """The label of a reference, in its canonical writing; the model is the one whose tag it stands in."""
    label = parsing.take(read, key, path, parsing.text)
    return Reference.parse("model", label, path, key).label


def _digits(value: object, path: str, *, high: int) -> int:
    if not isinstance(value, str) or not _DIGITS.fullmatch(value):
        raise SpecError(path, parsing.show(value), f"a whole number in [1, {high}]")
    return parsing.integer(int(value), path, low=1, high=high)
