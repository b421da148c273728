"""The contract of a registered version, as the gate read it from MLmodel: pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.digest import model_digest
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.errors import SpecError

FLAVOR = "ppo"
LOADER_MODULE = "mlflow_ppo_flavor.flavor"
GOLDEN_FILE = "golden.safetensors"
FLAVOR_FORMATS = (1,)
# A spec with 59 features has about 150 values; YAML aliases can hide billions in a small file.
MOST_VALUES = 100_000


@dataclass(frozen=True, slots=True)
class Contract:
    """What a version promises. `spec` is None where it has none that can be read, and `reason` says why.

    `flavored`: MLmodel lists the ppo flavor, readable or not. `golden`: its files hold golden decisions.
    """

    flavored: bool
    spec: ModelSpec | None = None
    digest: str = ""
    golden: bool = False
    reason: str = ""

    @classmethod
    def unreadable(cls, reason: str, *, flavored: bool = False) -> Contract:
        """A version whose contract can't be read, and why."""
        return cls(flavored=flavored, reason=reason)

    @property
    def proven(self) -> bool:
        """It carries golden decisions, and its bars are filled."""
        return self.golden and self.spec is not None and self.spec.bars is not None


def parse_mlmodel(data: bytes) -> Contract:
    """The contract in the bytes of an MLmodel file; what is wrong with them becomes the reason, never an exception."""
    try:
        loaded = yaml.load(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 it is a safe loader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return Contract.unreadable(f"MLmodel is no YAML: {_line(error)}")
    flavors = loaded.get("flavors") if isinstance(loaded, Mapping) else None
    if not isinstance(flavors, Mapping):
        return Contract.unreadable("MLmodel lists no flavors")
    if FLAVOR not in flavors:
        names = ", ".join(map(str, list(flavors)[:5]))
        return Contract.unreadable(f"MLmodel has no {FLAVOR} flavor, only {names or 'none'}")
    try:
        return _parse_flavors(flavors)
    except (SpecError, TypeError, ValueError, RecursionError) as error:
        return Contract.unreadable(_line(error), flavored=True)


def _parse_flavors(flavors: Mapping[str, Any]) -> Contract:
    if not _fits(flavors, MOST_VALUES):
        raise SpecError("flavors", f"more than {MOST_VALUES} values", "a model's few hundred")
    ppo = flavors[FLAVOR]
    if not isinstance(ppo, Mapping):
        raise SpecError("flavors.ppo", parsing.show(ppo), "a mapping")
    parsing.take(ppo, "format", "flavors.ppo", parsing.choice, of=FLAVOR_FORMATS)
    spec = ModelSpec.from_dict(ppo.get("spec"), "flavors.ppo.spec")
    _check_loader(flavors.get("python_function"))
    files = ppo.get("files")
    if not isinstance(files, Mapping):
        raise SpecError("flavors.ppo.files", parsing.show(files), "a mapping of paths to sha256")
    return Contract(True, spec, model_digest(flavors), GOLDEN_FILE in files)


def _check_loader(pyfunc: object) -> None:
    """mlflow.pyfunc would run whatever module is named there: only the flavor's own fits the contract."""
    found = pyfunc.get("loader_module") if isinstance(pyfunc, Mapping) else None
    if found != LOADER_MODULE:
        raise SpecError("flavors.python_function.loader_module", parsing.show(found), LOADER_MODULE)


def _fits(value: object, room: int) -> bool:
    """Whether a value has at most `room` nested values, counted as JSON would write them."""
    waiting = [value]
    while waiting:
        room -= 1
        if room < 0:
            return False
        node = waiting.pop()
        if isinstance(node, Mapping):
            waiting.extend(node.values())
        elif isinstance(node, list | tuple | set):
            waiting.extend(node)
    return True


def _line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
