"""A model's folder: which files it has, how they are written, and how they are verified and read; nothing is run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load, save

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.digest import canonical_json, model_digest, sha256_hex
from mlflow_ppo_flavor.contract.mlmodel import check_events, check_values
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.errors import IntegrityError, SpecError, UnknownFormat
from mlflow_ppo_flavor.model.policy import ActorCritic
from mlflow_ppo_flavor.model.proof import Golden

FORMAT = 1
FLAVOR_NAME = "ppo"
LOADER_MODULE = "mlflow_ppo_flavor.flavor"
MLMODEL, SPEC, POLICY, GOLDEN = "MLmodel", "spec.json", "policy.safetensors", "golden.safetensors"
_KEYS = ("format", "spec", "architecture", "files")
_PYFUNC_KEYS = ("loader_module", "env", "python_version")
# what some loader would run or read as a model, where it isn't listed: nobody has vouched for it
_LOADABLE = (
    *(".py", ".pyc", ".pyd", ".so", ".dll", ".dylib", ".whl", ".egg"),
    *(".pkl", ".pickle", ".joblib", ".bin", ".pt", ".pth", ".pt2", ".onnx", ".safetensors"),
)
_TAMPERED = "don't use this copy: fetch it again, or log the model again"


@dataclass(frozen=True, eq=False)
class StoredModel:
    """A verified model: its spec, its network for inference, its digest, the bytes of its golden decisions, if any."""

    spec: ModelSpec
    policy: ActorCritic
    digest: str
    golden_bytes: bytes | None

    @cached_property
    def golden(self) -> Golden | None:
        """The golden decisions; None in an unproven model. IntegrityError if they are unreadable or another spec's."""
        if self.golden_bytes is None:
            return None
        try:
            golden = Golden.from_tensors(load(self.golden_bytes))
        except (SafetensorError, ValueError) as error:
            raise IntegrityError(f"{GOLDEN}: {error}: {_TAMPERED}") from error
        if golden.spec.fingerprint != self.spec.fingerprint:
            found, expected = golden.spec.fingerprint, f"that of the model {self.spec.fingerprint}"
            raise IntegrityError(f"{GOLDEN}: found the spec {found}, expected {expected}: {_TAMPERED}")
        return golden


def write_model(root: Path, policy: ActorCritic, spec: ModelSpec, golden: Golden | None) -> dict[str, Any]:
    """Write a model's files below `root`; returns the flavor's entry in MLmodel: format, spec, architecture, files.

    SpecError for weights that aren't finite.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in policy.state_dict().items()}
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise SpecError(f"policy_state_dict.{name}", "NaN or infinity", "finite weights", "training has diverged")
    contents = {SPEC: canonical_json(spec.to_dict()), POLICY: save(weights)}
    if golden is not None:
        contents[GOLDEN] = save(golden.to_tensors())
    for name, content in contents.items():
        (root / name).write_bytes(content)
    return {
        "format": FORMAT,
        "spec": spec.to_dict(),
        "architecture": policy.architecture,
        "files": {name: sha256_hex(content) for name, content in sorted(contents.items())},
    }


def read_model(root: Path) -> StoredModel:
    """Read a model's folder; every listed file is read once, and what was hashed is what is parsed.

    IntegrityError, naming the file, for one that is missing or altered, for code beside the model, a spec.json that
    differs from MLmodel and an MLmodel that can't be read; UnknownFormat for another format; SpecError for a spec or
    architecture that can't be read, and weights that aren't theirs.
    """
    flavors = read_flavors(root)
    entry = _entry(flavors)
    contents = {name: _verified(root, name, digest) for name, digest in entry["files"].items()}
    _refuse_code(root, contents, flavors)
    for name in (SPEC, POLICY):
        if name not in contents:
            raise IntegrityError(f"{root / MLMODEL}: flavors.ppo.files: {name} isn't listed, expected it: {_TAMPERED}")
    spec = ModelSpec.from_dict(entry["spec"], "flavors.ppo.spec")
    if _json(contents[SPEC], root / SPEC) != entry["spec"]:
        raise IntegrityError(f"{root / SPEC}: found another spec, expected that of {MLMODEL}: {_TAMPERED}")
    try:
        weights = load(contents[POLICY])
    except SafetensorError as error:
        raise IntegrityError(f"{root / POLICY}: {error}: {_TAMPERED}") from error
    policy = ActorCritic.from_architecture(spec, entry["architecture"], weights)
    return StoredModel(spec, policy, _digest(flavors, root / MLMODEL), contents.get(GOLDEN))


def read_flavors(root: Path) -> Mapping[str, Any]:
    """`flavors` of a model's MLmodel, whose digest is the model's. IntegrityError for an MLmodel that can't be read,
    nests too deep or unfolds to more than a model's values.
    """
    path = root / MLMODEL
    # ten times as fast as yaml.SafeLoader and as safe
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = path.read_bytes()
        check_events(yaml.parse(text, Loader=loader), str(path))
        content = yaml.load(text, Loader=loader)  # noqa: S506 it is a safe loader
        check_values(content, str(path))
    except SpecError as error:
        raise IntegrityError(f"{error}: {_TAMPERED}") from error
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise IntegrityError(f"{path}: {error}: expected the MLmodel of a logged model: {_TAMPERED}") from error
    flavors = content.get("flavors") if isinstance(content, dict) else None
    if not isinstance(flavors, dict) or FLAVOR_NAME not in flavors:
        found = ", ".join(map(str, flavors)) if isinstance(flavors, dict) else "none"
        raise IntegrityError(
            f"{path}: found flavors {found}, expected {FLAVOR_NAME}: it wasn't logged with this flavor"
        )
    return flavors


def _digest(flavors: Mapping[str, Any], path: Path) -> str:
    try:
        return model_digest(flavors)
    except (TypeError, ValueError) as error:
        raise IntegrityError(f"{path}: flavors: {error}: expected values that JSON can say: {_TAMPERED}") from error


def _entry(flavors: Mapping[str, Any]) -> Mapping[str, Any]:
    """The flavor's entry, of a format that this code knows; its files are plain names."""
    path, entry = f"flavors.{FLAVOR_NAME}", flavors[FLAVOR_NAME]
    if isinstance(entry, Mapping) and (type(entry.get("format")) is not int or entry["format"] != FORMAT):
        found = parsing.show(entry.get("format"))
        raise UnknownFormat(f"{path}.format", found, str(FORMAT), "upgrade mlflow-ppo-flavor to read this model")
    read = parsing.mapping(entry, path, _KEYS)
    for key in _KEYS:
        if not isinstance(read.get(key), int if key == "format" else Mapping):
            raise SpecError(f"{path}.{key}", parsing.show(read.get(key)), "a mapping")
    for name, digest in read["files"].items():
        parts = PurePosixPath(str(name)).parts
        if (
            not isinstance(name, str)
            or len(parts) != 1
            or parts[0] in ("..", "/", MLMODEL)
            or not isinstance(digest, str)
        ):
            raise SpecError(
                f"{path}.files", parsing.show({name: digest}), "the name of a file beside MLmodel: its sha256"
            )
    return read


def _verified(root: Path, name: str, digest: str) -> bytes:
    path = root / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise IntegrityError(
            f"{path}: {error.strerror}, expected the file that {MLMODEL} lists: {_TAMPERED}"
        ) from error
    found = sha256_hex(content)
    if found != digest:
        raise IntegrityError(f"{path}: found sha256 {found}, expected {digest} as {MLMODEL} lists: {_TAMPERED}")
    return content


def _refuse_code(root: Path, listed: Mapping[str, bytes], flavors: Mapping[str, Any]) -> None:
    """Refuse what MLflow or another loader would execute or read in the model's name without it being listed."""
    pyfunc = flavors.get("python_function", {"loader_module": LOADER_MODULE})
    strange = [key for key in pyfunc if key not in _PYFUNC_KEYS] if isinstance(pyfunc, Mapping) else ["python_function"]
    if strange or pyfunc.get("loader_module") != LOADER_MODULE:
        found = f"the key {strange[0]}" if strange else f"the loader {pyfunc.get('loader_module', 'nothing')}"
        raise IntegrityError(
            f"{root / MLMODEL}: python_function: found {found}, expected {LOADER_MODULE} alone: {_TAMPERED}"
        )
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if name not in listed and (name == "code" or path.suffix.lower() in _LOADABLE):
            raise IntegrityError(
                f"{path}: found a file that {MLMODEL} doesn't list, expected no code there: {_TAMPERED}"
            )


def _json(content: bytes, path: Path) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{path}: {error}: {_TAMPERED}") from error
