"""Terms: what a policy asks of a version that one reference is to load, and the clauses that say so. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from packaging.version import Version

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.releases import CURRENT_TRADER_VERSION, MODEL_TRADER_COMPATIBILITY
from mlflow_ppo_flavor.errors import SpecError
from mlflow_ppo_flavor.registry.threshold import Threshold

Mode = Literal["block", "warn", "warn-until-announced"]
MODES: tuple[Mode, ...] = ("block", "warn", "warn-until-announced")
MOST_APPROVALS = 100
LONGEST_KEY, LONGEST_TAG = 250, 8_000
"""Characters in a metric's or a tag's key, and in a tag's value."""
_LOWEST_TRADER = min(MODEL_TRADER_COMPATIBILITY.values(), key=Version)


@dataclass(frozen=True, slots=True)
class Terms:
    """What one reference asks of a version that it is to load.

    `mode`: version findings block, warn, or warn until a trader announced for the reference; safety findings always
    block. `default_traders`: the released traders that stand for it while nobody announced. `required_tags`: {key:
    value, or None where any will do}. `require_attestation`: one for each version of its traders. `approvals`: of so
    many users other than the requester.
    """

    mode: Mode = "block"
    default_traders: tuple[str, ...] = (CURRENT_TRADER_VERSION,)
    metrics: Mapping[str, Threshold] = field(default_factory=dict)
    required_tags: Mapping[str, str | None] = field(default_factory=dict)
    require_attestation: bool = False
    approvals: int = 0

    def warns(self, *, announced: bool) -> bool:
        """Whether version findings are warnings, where a trader has announced for the reference, or none has."""
        return self.mode == "warn" or (self.mode == "warn-until-announced" and not announced)


@dataclass(frozen=True, slots=True)
class Clause:
    """What the policy says of a label, of one whole reference or of all; None and nothing where it leaves terms be."""

    mode: Mode | None = None
    default_traders: tuple[str, ...] | None = None
    metrics: Mapping[str, Threshold] = field(default_factory=dict)
    required_tags: Mapping[str, str | None] = field(default_factory=dict)
    require_attestation: bool | None = None
    approvals: int | None = None

    def over(self, terms: Terms) -> Terms:
        """Those terms with this clause over them: metrics and tags are added name by name, the rest is replaced."""
        names = ("mode", "default_traders", "require_attestation", "approvals")
        said = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        metrics = {**terms.metrics, **self.metrics}
        return replace(terms, metrics=metrics, required_tags={**terms.required_tags, **self.required_tags}, **said)

    def to_dict(self) -> dict[str, Any]:
        """The clause as JSON values; what it doesn't say is left out."""
        told: dict[str, Any] = {
            "mode": self.mode,
            "default_traders": None if self.default_traders is None else list(self.default_traders),
            "metrics": {name: threshold.text for name, threshold in self.metrics.items()} or None,
            "required_tags": dict(self.required_tags) or None,
            "require_attestation": self.require_attestation,
            "approvals": self.approvals,
        }
        return {name: value for name, value in told.items() if value is not None}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> Clause:
        """Read a clause; SpecError with its dotted path for anything else."""
        read = parsing.mapping(data, path, TERM_KEYS, where="policy")
        return cls(
            mode=parsing.take(read, "mode", path, parsing.choice, default=None, of=MODES),
            default_traders=parsing.take(read, "default_traders", path, _traders, default=None),
            metrics=parsing.take(read, "metrics", path, _metrics, default={}),
            required_tags=parsing.take(read, "required_tags", path, _tags, default={}),
            require_attestation=parsing.take(read, "require_attestation", path, parsing.flag, default=None),
            approvals=parsing.take(read, "approvals", path, parsing.integer, default=None, low=0, high=MOST_APPROVALS),
        )


TERM_KEYS = tuple(member.name for member in fields(Clause))


def _traders(value: object, path: str) -> tuple[str, ...]:
    versions = parsing.sequence(value, path, _released)
    if not versions:
        raise SpecError(path, "no version", "those of the traders that stand for a reference that nobody announced for")
    parsing.unique(tuple(map(Version, versions)), path)
    return versions


def _released(value: object, path: str) -> str:
    """The version of a trader that runs a released model, and that isn't above the newest release."""
    version = parsing.version(value, path)
    if not Version(_LOWEST_TRADER) <= Version(version) <= Version(CURRENT_TRADER_VERSION):
        expected = f"a released trader's version, from {_LOWEST_TRADER} to {CURRENT_TRADER_VERSION}"
        remedy = f"write one that runs there, such as {CURRENT_TRADER_VERSION}"
        raise SpecError(path, parsing.show(version), expected, remedy)
    return version


def _metrics(value: object, path: str) -> dict[str, Threshold]:
    if not isinstance(value, Mapping):
        raise SpecError(path, parsing.show(value), "a mapping of metrics to thresholds")
    return {_name(key, path, "metric"): Threshold.parse(value[key], f"{path}.{key}") for key in value}


def _tags(value: object, path: str) -> dict[str, str | None]:
    if isinstance(value, list | tuple):
        return dict.fromkeys(parsing.unique(parsing.sequence(value, path, _name, what="tag"), path))
    if not isinstance(value, Mapping):
        raise SpecError(path, parsing.show(value), "a list of tags, or a mapping of tags to the values that they need")
    return {_name(key, path, "tag"): _tag_value(value[key], f"{path}.{key}") for key in value}


def _tag_value(value: object, path: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise SpecError(path, parsing.show(value), "a text", "write it in quotes")
    if len(value) > LONGEST_TAG:
        raise SpecError(path, f"{len(value)} characters", f"at most {LONGEST_TAG}")
    return parsing.text(value, path)


def _name(value: object, path: str, what: str) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > LONGEST_KEY:
        raise SpecError(path, parsing.show(value), f"the name of a {what}, of at most {LONGEST_KEY} characters")
    return value
