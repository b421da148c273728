"""The contract of a registered version, as the gate read it from MLmodel: pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import yaml

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.contract.digest import canonical_json, sha256_hex
from mlflow_ppo_flavor.contract.mlmodel import MOST_BYTES, check_events, check_values
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.contract.vouch import Vouch
from mlflow_ppo_flavor.errors import SpecError

FLAVOR = "ppo"
LOADER_MODULE = "mlflow_ppo_flavor.flavor"
GOLDEN_FILE = "golden.safetensors"
FLAVOR_FORMATS = (1,)


@dataclass(frozen=True, slots=True)
class Contract:
    """What a version promises. `spec` is None where it has none that can be read, and `reason` says why.

    `flavored`: MLmodel lists the ppo flavor, readable or not. `golden`: its files hold golden decisions. `vouched`: who
    takes responsibility for it without them, and why, as `Vouch.text` says it; empty where nobody does. `known` is
    False where nobody can tell whether MLmodel lists it: it couldn't be fetched, or is out of the bounds within which
    it is read. Such a contract serves for the ruling in hand alone and isn't kept. `mlmodel`: the sha256 of the bytes
    that it was read from; `flavors`: the canonical JSON of MLmodel's flavors, whose sha256 is the digest. `root`: the
    folder that it was read in, and `beside` the other one that MLflow loads files from, if any. `damage`: what is wrong
    with the guard's own row, where that can't be read.
    """

    flavored: bool
    spec: ModelSpec | None = None
    digest: str = ""
    golden: bool = False
    reason: str = ""
    known: bool = True
    vouched: str = ""
    mlmodel: str = field(default="", compare=False)
    flavors: str = field(default="", compare=False, repr=False)
    root: str = field(default="", compare=False)
    beside: str = field(default="", compare=False)
    damage: Finding | None = field(default=None, compare=False)

    @classmethod
    def unknown(cls, reason: str) -> Contract:
        """A version of which nobody can tell now whether it has the flavor, and why."""
        return cls(flavored=False, reason=reason, known=False)

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
    return replace(_parse(data), mlmodel=sha256_hex(data))


def _parse(data: bytes) -> Contract:
    """The contract, but for the bytes' own sha256.

    Any exception counts as such: the bytes are a stranger's, and one that came out of here would lock the version in,
    as neither archiving nor deleting it could be ruled on.
    """
    try:
        flavors = _load_flavors(data)
    except SpecError as error:
        return Contract.unknown(_line(error))
    except Exception as error:  # noqa: BLE001 see above
        return Contract.unreadable(f"MLmodel is no YAML: {_line(error)}")
    if not isinstance(flavors, Mapping):
        return Contract.unreadable("MLmodel lists no flavors")
    if FLAVOR not in flavors:
        names = ", ".join(name if isinstance(name, str) else parsing.show(name) for name in list(flavors)[:5])
        return Contract.unreadable(_cut(f"MLmodel has no {FLAVOR} flavor, only {names or 'none'}"))
    try:
        return _parse_flavors(flavors)
    except Exception as error:  # noqa: BLE001 see above
        return Contract.unreadable(_line(error), flavored=True)


def _load_flavors(data: bytes) -> object:
    """What stands under `flavors`; SpecError for bytes that are out of bounds, yaml's own errors for no YAML."""
    if len(data) > MOST_BYTES:
        raise SpecError("MLmodel", f"more than {MOST_BYTES} bytes", "a model's few thousand")
    # safe, and ten times as fast as yaml.SafeLoader
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    check_events(yaml.parse(data, Loader=loader), "MLmodel")
    loaded = yaml.load(data, Loader=loader)  # noqa: S506
    check_values(loaded, "MLmodel")
    return loaded.get("flavors") if isinstance(loaded, Mapping) else None


def parse_kept(flavors: str) -> Contract:
    """The contract in the flavors of one that was read before, as they are kept: canonical JSON."""
    return _parse_flavors(json.loads(flavors), _kept_spec)


def _kept_spec(data: object, path: str) -> ModelSpec:
    return _spec(canonical_json(data), path)


@lru_cache(maxsize=1_024)
def _spec(data: bytes, path: str) -> ModelSpec:
    return ModelSpec.from_dict(json.loads(data), path)


def _parse_flavors(
    flavors: Mapping[str, Any], read_spec: Callable[[object, str], ModelSpec] = ModelSpec.from_dict
) -> Contract:
    ppo = flavors[FLAVOR]
    if not isinstance(ppo, Mapping):
        raise SpecError("flavors.ppo", parsing.show(ppo), "a mapping")
    parsing.take(ppo, "format", "flavors.ppo", parsing.choice, of=FLAVOR_FORMATS)
    spec = read_spec(ppo.get("spec"), "flavors.ppo.spec")
    _check_loader(flavors.get("python_function"))
    files = ppo.get("files")
    if not isinstance(files, Mapping):
        raise SpecError("flavors.ppo.files", parsing.show(files), "a mapping of paths to sha256")
    vouched = Vouch.from_dict(ppo["vouched"], "flavors.ppo.vouched").text if "vouched" in ppo else ""
    text = canonical_json(flavors)
    return Contract(True, spec, sha256_hex(text), GOLDEN_FILE in files, vouched=vouched, flavors=text.decode("utf-8"))


def _check_loader(pyfunc: object) -> None:
    """mlflow.pyfunc would run whatever module is named there: only the flavor's own fits the contract."""
    found = pyfunc.get("loader_module") if isinstance(pyfunc, Mapping) else None
    if found != LOADER_MODULE:
        raise SpecError("flavors.python_function.loader_module", parsing.show(found), LOADER_MODULE)


def _line(error: Exception) -> str:
    return _cut(str(error)) or type(error).__name__


def _cut(text: str) -> str:
    # PostgreSQL keeps no NUL
    line = " ".join(text.replace("\x00", "").split())
    return line if len(line) <= 300 else line[:297] + "..."
