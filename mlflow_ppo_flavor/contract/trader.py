"""Trader, Announcement, Attestation: who runs models, and what they have said. Values only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from packaging.utils import canonicalize_name

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.releases import features_of_trader
from mlflow_ppo_flavor.contract.spec import FORMAT
from mlflow_ppo_flavor.errors import SpecError

SPEC_FORMATS = (FORMAT,)
TRADER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_REFERENCE = re.compile(r"(?:[a-z][a-z0-9_.-]*/)?[a-z][a-z0-9_]*@[1-9][0-9]*")
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def _packages(value: object, path: str) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise SpecError(path, parsing.show(value), "a mapping of package names to versions")
    names = sorted(parsing.name(key, path, pattern=_PACKAGE, expected="the name of a package") for key in value)
    return {name: parsing.version(value[name], f"{path}.{name}") for name in names}


def _own_packages(value: object, path: str) -> dict[str, str]:
    packages = _packages(value, path)
    for name in packages:
        if name != canonicalize_name(name):
            raise SpecError(path, name, f"the normalised name, {canonicalize_name(name)}")
    return packages


def _features(value: object, path: str) -> tuple[str, ...]:
    features = parsing.sequence(value, path, parsing.name, pattern=_REFERENCE, expected="a feature such as rsi_14@1")
    if not features:
        raise SpecError(path, "no feature", "those that the trader computes")
    return parsing.unique(features, path)


@dataclass(frozen=True, slots=True)
class Trader:
    """A trader as the gate sees it: id, trader version, features it computes, spec formats it reads, paper or not.

    `packages` are those installed there that bring own features or specs: {normalised name: version}.
    """

    trader_id: str
    version: str
    features: tuple[str, ...]
    paper: bool
    spec_formats: tuple[int, ...] = SPEC_FORMATS
    packages: Mapping[str, str] = field(default_factory=dict, hash=False)

    @classmethod
    def released(cls, version: str, *, trader_id: str = "any", paper: bool = True) -> Trader:
        """The trader that was released with this version; SpecError for what is no version."""
        return cls(trader_id, version, features_of_trader(parsing.version(version, "trader_version")), paper)

    def to_dict(self) -> dict[str, Any]:
        """The trader as JSON values; `packages` only where there are some."""
        told = {
            "trader_id": self.trader_id,
            "version": self.version,
            "features": list(self.features),
            "paper": self.paper,
            "spec_formats": list(self.spec_formats),
        }
        return told | {"packages": dict(self.packages)} if self.packages else told

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> Trader:
        """Read a trader; SpecError with its dotted path for anything else."""
        read = parsing.mapping(data, path, [member.name for member in fields(cls)])
        name = {"pattern": TRADER_ID, "expected": "an id of letters, digits, . _ - (64 at most)"}
        formats = {"low": 1, "high": 1_000}
        return cls(
            trader_id=parsing.take(read, "trader_id", path, parsing.name, **name),
            version=parsing.take(read, "version", path, parsing.version),
            features=parsing.take(read, "features", path, _features),
            paper=parsing.take(read, "paper", path, parsing.flag),
            spec_formats=parsing.take(
                read, "spec_formats", path, lambda v, at: parsing.sequence(v, at, parsing.integer, **formats)
            ),
            packages=parsing.take(read, "packages", path, _own_packages, default={}),
        )


@dataclass(frozen=True, slots=True)
class Announcement:
    """A trader saying which reference it loads, when (ISO 8601 with zone), and with which package versions."""

    trader: Trader
    reference: Reference
    announced_at: str
    packages: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The announcement as JSON values."""
        return {
            "trader": self.trader.to_dict(),
            "reference": self.reference.to_dict(),
            "announced_at": self.announced_at,
            "packages": dict(self.packages),
        }

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> Announcement:
        """Read an announcement; SpecError with its dotted path for anything else."""
        read = parsing.mapping(data, path, [member.name for member in fields(cls)])
        return cls(
            trader=parsing.take(read, "trader", path, Trader.from_dict),
            reference=parsing.take(read, "reference", path, Reference.from_dict),
            announced_at=parsing.take(read, "announced_at", path, parsing.time),
            packages=parsing.take(read, "packages", path, _packages),
        )


@dataclass(frozen=True, slots=True)
class Attestation:
    """A trader saying that it reproduced the golden decisions of the model with this digest, when (ISO 8601 with zone)
    and with which package versions.
    """

    trader_id: str
    trader_version: str
    digest: str
    attested_at: str
    packages: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The attestation as JSON values."""
        return {member.name: getattr(self, member.name) for member in fields(self)} | {"packages": dict(self.packages)}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> Attestation:
        """Read an attestation; SpecError with its dotted path for anything else."""
        read = parsing.mapping(data, path, [member.name for member in fields(cls)])
        return cls(
            trader_id=parsing.take(read, "trader_id", path, parsing.name, pattern=TRADER_ID, expected="a trader id"),
            trader_version=parsing.take(read, "trader_version", path, parsing.version),
            digest=parsing.take(read, "digest", path, parsing.name, pattern=_SHA256, expected="a sha256"),
            attested_at=parsing.take(read, "attested_at", path, parsing.time),
            packages=parsing.take(read, "packages", path, _packages),
        )
