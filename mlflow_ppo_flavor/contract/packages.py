"""A team's own packages: their entry points, found by metadata, loaded when first asked for, faults told as values."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Generic, TypeVar

from packaging.utils import canonicalize_name

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.errors import SpecError

FEATURES_GROUP = "mlflow_ppo_flavor.features"
"""Entry points here are named after a namespace, `acme`, and load a sequence of its features."""
SPECS_GROUP = "mlflow_ppo_flavor.specs"
"""Entry points here are named after a family, `acme`, and load a sequence of its specs."""
LONGEST_NAME = 100
"""Of a namespace or family: they stand in locks, tags and messages."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OwnPackage:
    """An installed package that brings own features or specs by one entry point: its normalised name, its version."""

    name: str
    version: str
    entry: EntryPoint
    distribution: Distribution

    @property
    def place(self) -> str:
        """Where its entry point stands: `mlflow_ppo_flavor.features.acme`."""
        return f"{self.entry.group}.{self.entry.name}"

    def __str__(self) -> str:
        """`acme-features 1.2.0`."""
        return f"{self.name} {self.version}"


@dataclass(frozen=True, slots=True)
class PackageFault:
    """Why an own package's entry point brings nothing: another package doesn't suffer by it."""

    package: OwnPackage
    reason: str

    @property
    def message(self) -> str:
        """`acme-features 1.2.0: mlflow_ppo_flavor.features.acme[0].lookback: found 600, expected …`."""
        return f"{self.package}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Brought(Generic[T]):
    """What the entry points of one group bring: {entry point's name: (its package, the values)}, and all faults."""

    values: Mapping[str, tuple[OwnPackage, tuple[T, ...]]]
    faults: tuple[PackageFault, ...]

    def fault_of(self, name: str) -> str:
        """Why the entry points of that name bring nothing; empty where there is none or nothing is wrong with it."""
        return "; ".join(fault.message for fault in self.faults if fault.package.entry.name == name)


@cache
def installed(group: str) -> tuple[OwnPackage, ...]:
    """The packages that have entry points in this group, by name: nothing is imported."""
    found = [
        OwnPackage(canonicalize_name(entry.dist.name), entry.dist.version, entry, entry.dist)
        for entry in entry_points(group=group)
        if entry.dist is not None
    ]
    return tuple(sorted(found, key=lambda package: (package.name, package.entry.name)))


def installed_versions(packages: Sequence[str]) -> dict[str, str]:
    """{package: version} of those that are installed here, in the given order."""
    found = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def own_packages() -> Mapping[str, str]:
    """{normalised name: version} of every installed package with own features or specs; nothing is imported.

    One whose version is none (PEP 440) is left out: it can't be required, and what it brings is a fault.
    """
    found = {each.name: each.version for group in (FEATURES_GROUP, SPECS_GROUP) for each in installed(group)}
    return MappingProxyType({name: told for name, told in sorted(found.items()) if _is_version(told)})


def bring(group: str, read: Callable[[object, OwnPackage], tuple[T, ...]]) -> Brought[T]:
    """Load every entry point of a group. `read` checks what one is; SpecError there, as anything else, is a fault."""
    packages = installed(group)
    times = Counter(package.entry.name for package in packages)
    values, faults = {}, []
    for package in packages:
        try:
            _check(package, times[package.entry.name])
            values[package.entry.name] = package, read(_load(package), package)
        except SpecError as error:
            faults.append(PackageFault(package, str(error)))
    return Brought(MappingProxyType(values), tuple(faults))


def members(value: object, package: OwnPackage, kind: type[T]) -> tuple[T, ...]:
    """A list or tuple, not empty, all of one kind; SpecError with the place of what isn't."""
    if not isinstance(value, list | tuple) or not value:
        raise SpecError(package.place, parsing.show(value), f"a list of {kind.__name__}, not empty")
    article = "an" if kind.__name__[0] in "AEIOU" else "a"
    for i, member in enumerate(value):
        if not isinstance(member, kind):
            raise SpecError(f"{package.place}[{i}]", parsing.show(member), f"{article} {kind.__name__}")
    return tuple(value)


@cache
def code_digest(package: OwnPackage) -> str:
    """sha256 over a package's name, version, its record of installed files, and the files beside its entry point.

    The record lists every installed file with its sha256; of an editable install it lists none of the code, so all
    files of the entry point's top-level package or module count too.
    """
    sha = hashlib.sha256(f"{package}\0{package.distribution.read_text('RECORD') or ''}\0".encode())
    for name, path in sorted(_files(package.entry.module.partition(".")[0])):
        sha.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return sha.hexdigest()


def _files(top: str) -> Iterator[tuple[str, Path]]:
    """(path below it, file) of everything in a top-level package or module, what Python compiled left out."""
    found = find_spec(top)
    folders = [] if found is None else found.submodule_search_locations or []
    for folder in map(Path, folders):
        for path in folder.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(folder).as_posix(), path
    if found is not None and not folders and found.origin:
        yield Path(found.origin).name, Path(found.origin)


def _check(package: OwnPackage, times: int) -> None:
    if not _is_version(package.version):
        raise SpecError("version", parsing.show(package.version), "a version such as 2.7.0 (PEP 440)")
    if len(package.entry.name) > LONGEST_NAME:
        raise SpecError(
            package.entry.group, f"a name of {len(package.entry.name)} characters", f"at most {LONGEST_NAME}"
        )
    if times > 1:
        others = [str(o) for o in installed(package.entry.group) if o.entry.name == package.entry.name and o != package]
        raise SpecError(package.place, f"the same in {' and '.join(others)}", "one package", "uninstall the others")


def _load(package: OwnPackage) -> object:
    try:
        return package.entry.load()
    except (Exception, SystemExit) as error:
        # a stranger's module: whatever it raises is its fault alone
        raise SpecError(package.place, parsing.told(error), f"{package.entry.value} to be imported") from error


def _is_version(text: str) -> bool:
    try:
        return bool(parsing.version(text, "version"))
    except SpecError:
        return False
