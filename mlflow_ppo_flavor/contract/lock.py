"""SpecLock: what this code promises, as digests in a file under version control; and what a change of them owes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.errors import SpecError, UnknownFormat

LOCK_FORMAT = 1
"""Names the file's layout and the fixed inputs of its digests: digests of other inputs are another format."""
LOCK_NAME = "spec.lock"
BEHAVIOURS = ("account", "action", "market", "observation", "sizing")
_SECTIONS = ("format", "current", "matrix", "specs", "features", "behaviour", "packages")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SPEC = re.compile(r"[a-z][a-z0-9_-]*:[^\s:]{1,100}")
_FEATURE = re.compile(r"(?:[a-z][a-z0-9_.-]*/)?[a-z][a-z0-9_]*@[1-9][0-9]*")
_VERSION = re.compile(r"\S{1,100}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LockedSpec:
    """What is locked of a spec: its fingerprint, and the traders that it requires."""

    fingerprint: str
    requires_trader: str

    def to_dict(self) -> dict[str, Any]:
        """The entry as JSON values."""
        return {"fingerprint": self.fingerprint, "requires_trader": self.requires_trader}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> LockedSpec:
        """Read an entry; SpecError with its dotted path for anything else."""
        read = parsing.mapping(data, path, [member.name for member in fields(cls)])
        return cls(
            fingerprint=parsing.take(read, "fingerprint", path, _digest),
            requires_trader=parsing.take(read, "requires_trader", path, parsing.trader_requirement),
        )


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """What is locked of a package of own features and specs: its version, its namespaces, its families, each sorted."""

    version: str
    namespaces: tuple[str, ...] = ()
    families: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The entry as JSON values."""
        return {"version": self.version, "namespaces": list(self.namespaces), "families": list(self.families)}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> LockedPackage:
        """Read an entry; SpecError with its dotted path for anything else."""
        read = parsing.mapping(data, path, [member.name for member in fields(cls)])
        return cls(
            version=parsing.take(read, "version", path, parsing.version),
            namespaces=parsing.take(read, "namespaces", path, _names),
            families=parsing.take(read, "families", path, _names),
        )


@dataclass(frozen=True)
class SpecLock:
    """What one state of the code promises.

    `matrix`: {model version: lowest trader version}; `specs`: {`family:version`: entry}; `features`: {`name@revision`:
    digest}; `behaviour`: a digest for each of BEHAVIOURS; `packages`: {name: entry}, of own features or specs.
    """

    model_version: str
    trader_version: str
    spec_formats: tuple[int, ...]
    matrix: Mapping[str, str]
    specs: Mapping[str, LockedSpec]
    features: Mapping[str, str]
    behaviour: Mapping[str, str]
    packages: Mapping[str, LockedPackage]

    def to_dict(self) -> dict[str, Any]:
        """The lock as JSON values; `from_dict` reads it back equal."""
        return {
            "format": LOCK_FORMAT,
            "current": {
                "model": self.model_version,
                "trader": self.trader_version,
                "spec_formats": list(self.spec_formats),
            },
            "matrix": dict(self.matrix),
            "specs": {name: entry.to_dict() for name, entry in self.specs.items()},
            "features": dict(self.features),
            "behaviour": dict(self.behaviour),
            "packages": {name: entry.to_dict() for name, entry in self.packages.items()},
        }

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> SpecLock:
        """Read a lock; UnknownFormat for another format, SpecError with the dotted path for anything else."""
        _check_format(data, path)
        read = parsing.mapping(data, path, _SECTIONS, where="lock")
        at = parsing.join(path, "current")
        current = parsing.mapping(read.get("current"), at, ("model", "trader", "spec_formats"))
        return cls(
            model_version=parsing.take(current, "model", at, parsing.version),
            trader_version=parsing.take(current, "trader", at, parsing.version),
            spec_formats=parsing.take(current, "spec_formats", at, _formats),
            matrix=parsing.take(read, "matrix", path, _matrix),
            specs=parsing.take(read, "specs", path, _entries, pattern=_SPEC, each=LockedSpec.from_dict),
            features=parsing.take(read, "features", path, _entries, pattern=_FEATURE, each=_digest),
            behaviour=parsing.take(read, "behaviour", path, _behaviour),
            packages=parsing.take(read, "packages", path, _entries, pattern=_NAME, each=LockedPackage.from_dict),
        )

    def entries(self) -> dict[str, str]:
        """{dotted place: value in words}: everything that is locked, flat, the sections and each of them sorted."""
        flat: dict[str, str] = {}
        for section, members in sorted(self.to_dict().items()):
            if section != "format":
                flat |= {f"{section}.{key}": _one_line(value) for key, value in sorted(members.items())}
        return flat

    def text(self) -> str:
        """The lock as its file holds it: JSON in UTF-8, sections and entries sorted, one line an entry."""
        sections = []
        for name, members in sorted(self.to_dict().items()):
            if not isinstance(members, dict):
                sections.append(f'  "{name}": {_one_line(members)}')
                continue
            lines = [f"    {_one_line(key)}: {_one_line(value)}" for key, value in sorted(members.items())]
            body = "\n" + ",\n".join(lines) + "\n  " if lines else ""
            sections.append(f'  "{name}": {{{body}}}')
        return "{\n" + ",\n".join(sections) + "\n}\n"


def parse_lock(data: bytes, where: str) -> SpecLock:
    """The lock of a file's bytes; SpecError that starts with `where` for anything else, half-merged files included."""
    expected = "a lock as `mlflow-ppo spec lock` writes it"
    remedy = "take the file of one side of a merge, then run mlflow-ppo spec lock"
    try:
        read = json.loads(data.decode("utf-8"), object_pairs_hook=_each_once)
    except RecursionError:
        raise SpecError(where, "JSON that is nested too deep", expected, remedy) from None
    except ValueError as error:
        raise SpecError(where, " ".join(f"no JSON ({error})".split()), expected, remedy) from None
    try:
        return SpecLock.from_dict(read)
    except SpecError as error:
        raise type(error)(f"{where}: {error.path}", error.found, error.expected, error.remedy) from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _one_line(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)


def _check_format(data: object, path: str) -> None:
    if isinstance(data, Mapping) and (type(data.get("format")) is not int or data["format"] != LOCK_FORMAT):
        found, remedy = parsing.show(data.get("format")), "use the version of mlflow-ppo-flavor that wrote this lock"
        raise UnknownFormat(parsing.join(path, "format"), found, str(LOCK_FORMAT), remedy)


def _digest(value: object, path: str) -> str:
    return parsing.name(value, path, pattern=_SHA256, expected="a sha256 of 64 hexadecimal digits")


def _names(value: object, path: str) -> tuple[str, ...]:
    names = parsing.sequence(value, path, parsing.name, pattern=_NAME, expected="a name")
    return tuple(sorted(parsing.unique(names, path)))


def _formats(value: object, path: str) -> tuple[int, ...]:
    return parsing.unique(parsing.sequence(value, path, parsing.integer, low=1, high=1_000), path)


def _entries(value: object, path: str, *, pattern: re.Pattern[str], each: Callable[[object, str], T]) -> dict[str, T]:
    if not isinstance(value, Mapping):
        raise SpecError(path, parsing.show(value), "a mapping")
    for key in value:
        parsing.name(key, path, pattern=pattern, expected=f"keys that match {pattern.pattern}")
    return {key: each(member, parsing.join(path, key)) for key, member in value.items()}


def _matrix(value: object, path: str) -> dict[str, str]:
    read = _entries(value, path, pattern=_VERSION, each=parsing.version)
    for model in read:
        parsing.version(model, path)
    return read


def _behaviour(value: object, path: str) -> dict[str, str]:
    read = parsing.mapping(value, path, BEHAVIOURS)
    return {name: parsing.take(read, name, path, _digest) for name in BEHAVIOURS}
