"""Lock × lock → the bumps that a change owes: what changed in behaviour or contract while its version stood still."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Literal

from packaging.version import Version

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.lock import LockedPackage, SpecLock
from mlflow_ppo_flavor.contract.spec import ModelSpec, feature_name

Bump = Literal["model", "feature", "trader", "package", "restore", "lock"]
BUMPS: tuple[Bump, ...] = ("model", "feature", "trader", "package", "restore", "lock")
"""What settles it: a new model version, a feature revision, a higher trader or package version, putting back what is
gone, or writing the lock."""
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Owed:
    """One change that owes something: what settles it (of BUMPS), where, what was found and expected, what to do."""

    bump: Bump
    place: str
    found: str
    expected: str
    remedy: str

    @property
    def message(self) -> str:
        """`behaviour.account: found digest 1a2b3c4d5e6f, expected …: raise the trader version …`."""
        return f"{self.place}: found {self.found}, expected {self.expected}: {self.remedy}"

    def to_dict(self) -> dict[str, str]:
        """The finding as JSON values."""
        return {member.name: getattr(self, member.name) for member in fields(self)}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> Owed:
        """Read a finding; SpecError with its dotted path for anything else."""
        return cls(**parsing.texts(data, path, [member.name for member in fields(cls)], bump=BUMPS))


def owed(old: SpecLock, new: SpecLock) -> tuple[Owed, ...]:
    """Every bump that the way from `old` to `new` owes and doesn't bring; empty where all changes are paid for.

    A feature's digest never changes under its reference, nor a spec's fingerprint, requirement or matrix entry under
    its version. What account, observation, action, sizing and market do, the features computed and the spec formats
    read change with a higher trader version alone; own features are computed by their package, with its version. What
    is gone may go with the next major version of its trader, its model or its package. No version is lowered.
    """
    return (
        *_current(old, new),
        *_features(old, new),
        *_specs(old, new),
        *_matrix(old, new),
        *_trader(old, new),
        *_packages(old, new),
    )


def too_early(old: SpecLock, specs: Iterable[ModelSpec]) -> tuple[Owed, ...]:
    """Each new spec that lets in the trader of `old`, although that trader doesn't compute all of its features."""
    found = []
    for spec in specs:
        place, version = f"specs.{spec.family}:{spec.version}", old.trader_version
        lacking = [ref for ref in spec.features if ref not in old.features and not _namespace(ref)]
        is_new = f"{spec.family}:{spec.version}" not in old.specs
        if is_new and lacking and spec.trader_specifier.contains(version, prereleases=True):
            expected = f"one above {version}, which doesn't compute {', '.join(lacking)}"
            remedy = "require a trader version that does, in the matrix too"
            found.append(Owed("model", f"{place}.requires_trader", spec.requires_trader, expected, remedy))
    return tuple(found)


def stale(locked: SpecLock, code: SpecLock) -> tuple[Owed, ...]:
    """Every entry in which the lock's file differs from the code: it has to be written anew."""
    found, expected = locked.entries(), code.entries()
    remedy = "run mlflow-ppo spec lock, and commit the file"
    return tuple(
        Owed("lock", place, _cut(found.get(place, "no entry")), _cut(expected.get(place, "no entry")), remedy)
        for place in sorted({*found, *expected})
        if found.get(place) != expected.get(place)
    )


def _current(old: SpecLock, new: SpecLock) -> Iterator[Owed]:
    pairs = (("model", old.model_version, new.model_version), ("trader", old.trader_version, new.trader_version))
    for name, before, after in pairs:
        if Version(after) < Version(before):
            remedy = f"put back CURRENT_{name.upper()}_VERSION: versions only rise"
            yield Owed("restore", f"current.{name}", after, f"at least {before}", remedy)


def _features(old: SpecLock, new: SpecLock) -> Iterator[Owed]:
    for reference, digest in old.features.items():
        place, after = f"features.{reference}", new.features.get(reference)
        if after is None:
            if not _may_go(reference, old, new):
                remedy = "compute it as before: models in the field use it, and traders promised to run them"
                yield Owed("restore", place, "no such feature any more", f"digest {digest[:_SHOWN]}", remedy)
        elif after != digest:
            name, revision = feature_name(reference), int(reference.rpartition("@")[2])
            remedy = f"give the change a revision of its own, {name}@{revision + 1}, and leave {reference} as it was"
            yield Owed("feature", place, f"digest {after[:_SHOWN]}", f"the locked {digest[:_SHOWN]}", remedy)
    for reference in new.features:
        if reference not in old.features:
            yield from _new_feature(reference, old, new)


def _new_feature(reference: str, old: SpecLock, new: SpecLock) -> Iterator[Owed]:
    place, namespace = f"features.{reference}", _namespace(reference)
    if not namespace:
        if not _raised(old.trader_version, new.trader_version):
            found = f"a feature that trader {old.trader_version} doesn't compute"
            yield Owed("trader", place, found, f"a trader above {old.trader_version}", _RAISE_TRADER)
        return
    name, package = _package_of(new, namespace=namespace)
    before = old.packages.get(name)
    if before is not None and package is not None and not _raised(before.version, package.version):
        found = f"a feature that {name} {before.version} doesn't bring"
        yield Owed("package", place, found, f"{name} above {before.version}", f"raise the version of {name}")


def _may_go(reference: str, old: SpecLock, new: SpecLock) -> bool:
    """Whether a feature may be gone: with the next major version of what computes it. A package that is gone is one
    finding by itself.
    """
    namespace = _namespace(reference)
    if not namespace:
        return _major(old.trader_version, new.trader_version)
    return _may_leave(new, *_package_of(old, namespace=namespace))


def _specs(old: SpecLock, new: SpecLock) -> Iterator[Owed]:
    for name, before in old.specs.items():
        family, _, version = name.partition(":")
        place, after = f"specs.{name}", new.specs.get(name)
        own, package = _package_of(old, family=family)
        if after is None:
            may = _may_leave(new, own, package) if package else _major(old.model_version, new.model_version)
            if not may:
                remedy = "put its entry back: models and checkpoints of that version are still read by it"
                yield Owed(
                    "restore", place, "no such spec any more", f"fingerprint {before.fingerprint[:_SHOWN]}", remedy
                )
            continue
        remedy = f"leave {version} as it was and give the change a new model version ({_HOW_MODEL})"
        if after.fingerprint != before.fingerprint:
            expected = f"the locked {before.fingerprint[:_SHOWN]}"
            yield Owed("model", f"{place}.fingerprint", after.fingerprint[:_SHOWN], expected, remedy)
        if after.requires_trader != before.requires_trader:
            expected = f"the locked {before.requires_trader}"
            yield Owed("model", f"{place}.requires_trader", after.requires_trader, expected, remedy)


def _matrix(old: SpecLock, new: SpecLock) -> Iterator[Owed]:
    for model, lowest in old.matrix.items():
        after = new.matrix.get(model)
        if after == lowest or (after is None and _major(old.model_version, new.model_version)):
            continue
        remedy = f"leave the entry of {model} as it was and give the change a new model version ({_HOW_MODEL})"
        bump: Bump = "restore" if after is None else "model"
        yield Owed(bump, f"matrix.{model}", after or "no entry any more", f"the locked {lowest}", remedy)


def _trader(old: SpecLock, new: SpecLock) -> Iterator[Owed]:
    if not _raised(old.trader_version, new.trader_version):
        for name, digest in old.behaviour.items():
            after = new.behaviour[name]
            if after != digest:
                expected = f"the locked {digest[:_SHOWN]} of trader {old.trader_version}"
                yield Owed("trader", f"behaviour.{name}", f"digest {after[:_SHOWN]}", expected, _RAISE_TRADER)
        for number in sorted({*new.spec_formats} - {*old.spec_formats}):
            found = f"{number}, which trader {old.trader_version} doesn't read"
            yield Owed("trader", "current.spec_formats", found, f"a trader above {old.trader_version}", _RAISE_TRADER)
    if not _major(old.trader_version, new.trader_version):
        for number in sorted({*old.spec_formats} - {*new.spec_formats}):
            remedy = "read it as before: models in the field are written in it"
            yield Owed("restore", "current.spec_formats", f"no {number} any more", f"format {number}", remedy)


def _packages(old: SpecLock, new: SpecLock) -> Iterator[Owed]:
    for name, before in old.packages.items():
        after = new.packages.get(name)
        if after is None:
            remedy = f"install it; if it was given up, take what it brought out of the lock by hand: {_brought(before)}"
            yield Owed("restore", f"packages.{name}", "no such package installed", before.version, remedy)
        elif Version(after.version) < Version(before.version):
            remedy = f"install {name} {before.version} or a later one: versions only rise"
            yield Owed("restore", f"packages.{name}", after.version, f"at least {before.version}", remedy)


_HOW_MODEL = "mlflow-ppo spec bump"
_RAISE_TRADER = "raise the trader version (mlflow-ppo spec bump trader), or undo the change"


def _may_leave(new: SpecLock, name: str, package: LockedPackage | None) -> bool:
    """Whether what a package brought may be gone: with its next major version, or told once where it's gone itself."""
    after = new.packages.get(name)
    return package is None or after is None or _major(package.version, after.version)


def _package_of(lock: SpecLock, *, namespace: str = "", family: str = "") -> tuple[str, LockedPackage | None]:
    for name, package in lock.packages.items():
        if namespace in package.namespaces or family in package.families:
            return name, package
    return "", None


def _brought(package: LockedPackage) -> str:
    told = [f"features {each}/…" for each in package.namespaces] + [f"specs {each}:…" for each in package.families]
    return ", ".join(told)


def _namespace(reference: str) -> str:
    return reference.rpartition("/")[0]


def _raised(old: str, new: str) -> bool:
    return Version(new) > Version(old)


def _major(old: str, new: str) -> bool:
    return (Version(new).epoch, Version(new).major) > (Version(old).epoch, Version(old).major)


def _cut(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."
