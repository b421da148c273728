"""The file spec.lock: where it is found, here and at a git revision, and what it says of the code that runs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

import click

import mlflow_ppo_flavor
from mlflow_ppo_flavor.cli.report import one_line
from mlflow_ppo_flavor.contract.lock import LOCK_NAME, SpecLock, parse_lock
from mlflow_ppo_flavor.contract.owed import Owed, owed, stale, too_early
from mlflow_ppo_flavor.contract.packages import FEATURES_GROUP, SPECS_GROUP, OwnPackage, installed
from mlflow_ppo_flavor.contract.releases import known_specs
from mlflow_ppo_flavor.errors import LockError

PACKAGE = "mlflow_ppo_flavor"


def find_lock(folder: Path) -> Path | None:
    """The spec.lock of a folder or the nearest of its parents; None where there is none."""
    places = (parent / LOCK_NAME for parent in (folder, *folder.parents))
    return next((place for place in places if place.is_file()), None)


def local_lock() -> Path:
    """The spec.lock of the current folder or its parents; LockError where there is none."""
    path = find_lock(Path.cwd())
    if path is None:
        raise LockError(
            f"{LOCK_NAME}: found none in {Path.cwd()} or its parents, expected the lock of what is developed here: "
            f"run mlflow-ppo spec lock in its folder"
        )
    check_running(path.parent)
    return path


def check_running(folder: Path) -> None:
    """Refuse to judge a checkout of this or an own package by code that runs from elsewhere: LockError."""
    here, running = folder / PACKAGE, Path(mlflow_ppo_flavor.__file__).parent
    if (here / "__init__.py").is_file() and here.resolve() != running.resolve():
        raise LockError(
            f"{PACKAGE}: found the code of {running}, expected that of {here}: "
            f"install the checkout (pip install --editable .), or run with PYTHONPATH={folder}"
        )
    for package in (*installed(FEATURES_GROUP), *installed(SPECS_GROUP)):
        _check_own(folder, package)


def _check_own(folder: Path, package: OwnPackage) -> None:
    """Refuse to judge the sources of an own package in this folder by another copy of it: LockError."""
    parts = package.entry.module.split(".")
    found = find_spec(parts[0])
    if found is None or not found.origin:
        return
    running = Path(found.origin).parent if found.submodule_search_locations else Path(found.origin)
    for base in (folder, folder / "src"):
        module = base.joinpath(*parts)
        sources = (module.with_suffix(".py"), module / "__init__.py")
        here = base / running.name
        if any(map(Path.is_file, sources)) and here.exists() and here.resolve() != running.resolve():
            raise LockError(
                f"{package}: found the code of {running}, expected that of {here}, which is developed here: "
                "install it so that its sources run (pip install --editable .)"
            )


def read_lock(path: Path) -> SpecLock:
    """The lock of a file; LockError where it can't be read, SpecError where it is no lock."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LockError(f"{path}: can't be read ({error.strerror}): name a {LOCK_NAME}") from None
    return parse_lock(data, shown(path))


def read_against(against: str, folder: Path) -> SpecLock:
    """The lock of a file, or of spec.lock in `folder` at a git revision; LockError and SpecError as `read_lock`."""
    path = Path(against)
    if path.is_file():
        return read_lock(path)
    # no revision begins like this; any other path may be a branch's name too, such as release/2.7
    if path.is_absolute() or against.startswith(".") or not against:
        raise LockError(f"--against: found {against!r}, expected a git revision, or a file that is a {LOCK_NAME}")
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{against}^{{commit}}")
    if not commit:
        expected = f"expected a git revision of {folder} (fetched, where the clone is shallow) or a file"
        raise LockError(f"--against: found {against!r}, {expected}")
    data = _git(folder, "cat-file", "blob", f"{commit.decode().strip()}:./{LOCK_NAME}")
    if not data:
        raise LockError(
            f"--against: found no {LOCK_NAME} in {folder} at {against}, expected a revision that has one: "
            "the change that brings it in can only be checked without --against"
        )
    return parse_lock(data, f"{LOCK_NAME} at {against}")


def owed_since(base: SpecLock, code: SpecLock) -> tuple[Owed, ...]:
    """Every bump that the code which runs here, whose lock is `code`, owes since `base`."""
    return (*owed(base, code), *too_early(base, known_specs().values()))


def findings(base: SpecLock, code: SpecLock, local: SpecLock | None) -> tuple[Owed, ...]:
    """What the code owes since `base`, then each other entry in which the lock file, `local`, isn't the code's."""
    debts = owed_since(base, code)
    told = [debt.place for debt in debts]
    unsettled = () if local is None else stale(local, code)
    others = (s for s in unsettled if not any(place == s.place or place.startswith(f"{s.place}.") for place in told))
    return (*debts, *others)


def print_findings(headline: str, found: Sequence[Owed]) -> None:
    """The outcome, then one finding a line with what settles it."""
    click.secho(one_line(headline), fg="red" if found else "green", bold=True)
    for finding in found:
        click.echo(f"  {click.style(f'[{finding.bump}]', fg='red')} {one_line(finding.message)}")


def counted(found: Iterable[Owed]) -> str:
    """`2 bump(s) owed, 1 entry(s) to lock`."""
    kinds = [finding.bump for finding in found]
    to_lock = kinds.count("lock")
    told = [f"{len(kinds) - to_lock} bump(s) owed"] if to_lock < len(kinds) else []
    return ", ".join([*told, f"{to_lock} entry(s) to lock"] if to_lock else told)


def shown(path: Path) -> str:
    """A path as the user would type it: below the current folder where it is."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _git(folder: Path, *arguments: str) -> bytes:
    """What a git command prints, nothing where it doesn't find it. LockError without git, and without a repository."""
    environment = os.environ | {"LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, capture_output=True, timeout=60, check=False
        )
    except FileNotFoundError:
        raise LockError("--against: found no program git, expected one: install it, or name a file") from None
    except subprocess.TimeoutExpired:
        raise LockError("--against: git didn't answer within a minute: try again, or name a file") from None
    told = done.stderr.decode(errors="replace").strip()
    if done.returncode and told and "does not exist in" not in told and "exists on disk, but not in" not in told:
        raise LockError(f"--against: git answers {' '.join(told.split())!r}: name a file instead")
    return done.stdout
