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
from mlflow_ppo_flavor.contract.mlmodel import MOST_BYTES, check_events, check_values
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.contract.unlisted import is_refused, leads_out
from mlflow_ppo_flavor.contract.vouch import Vouch
from mlflow_ppo_flavor.errors import IntegrityError, SpecError, UnknownFormat
from mlflow_ppo_flavor.model import onnx_policy
from mlflow_ppo_flavor.model.architecture import CLASS as ARCHITECTURE
from mlflow_ppo_flavor.model.hashed_file import Bytes, read_hashed
from mlflow_ppo_flavor.model.inference import Policy
from mlflow_ppo_flavor.model.onnx_policy import OnnxPolicy
from mlflow_ppo_flavor.model.policy import ActorCritic
from mlflow_ppo_flavor.model.proof import Golden
from mlflow_ppo_flavor.model.weight_file import best_shift, read_weights

FORMAT = 1
FLAVOR_NAME = "ppo"
LOADER_MODULE = "mlflow_ppo_flavor.flavor"
MLMODEL, SPEC, GOLDEN = "MLmodel", "spec.json", "golden.safetensors"
POLICY, ONNX = "policy.safetensors", "policy.onnx"
_KEYS = ("format", "spec", "architecture", "files")
_VOUCHED = "vouched"
_PYFUNC_KEYS = ("loader_module", "env", "python_version")
_TAMPERED = "don't use this copy: fetch it again, or log the model again"


@dataclass(frozen=True, eq=False)
class StoredModel:
    """A verified model: its spec, its policy for inference, its digest, the bytes of its golden decisions, if any, and
    who vouches for it, if somebody does.
    """

    spec: ModelSpec
    policy: ActorCritic | OnnxPolicy
    digest: str
    golden_bytes: bytes | None
    vouch: Vouch | None = None

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


def write_model(
    root: Path, policy: Policy, spec: ModelSpec, golden: Golden | None, vouch: Vouch | None = None
) -> dict[str, Any]:
    """Write a model's files below `root`; returns the flavor's entry in MLmodel: format, spec, architecture, files and,
    where given, vouched.

    SpecError for weights that aren't finite, and for a policy that has no file format.
    """
    name, content = _policy_file(policy)
    contents = {SPEC: canonical_json(spec.to_dict()), name: content}
    if golden is not None:
        contents[GOLDEN] = save(golden.to_tensors())
    for name, content in contents.items():
        (root / name).write_bytes(content)
    return {
        "format": FORMAT,
        "spec": spec.to_dict(),
        "architecture": policy.architecture,
        "files": {name: sha256_hex(content) for name, content in sorted(contents.items())},
        **({} if vouch is None else {_VOUCHED: vouch.to_dict()}),
    }


def _policy_file(policy: Policy) -> tuple[str, bytes]:
    """The name and the bytes of the file that holds a policy's weights."""
    if isinstance(policy, OnnxPolicy):
        return ONNX, policy.content
    if not isinstance(policy, ActorCritic):
        raise SpecError("policy", type(policy).__qualname__, "an ActorCritic or an OnnxPolicy")
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in policy.state_dict().items()}
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise SpecError(f"policy_state_dict.{name}", "NaN or infinity", "finite weights", "training has diverged")
    return POLICY, save(weights)


def read_model(root: Path) -> StoredModel:
    """Read a model's folder; every listed file is read once, and what was hashed is what is parsed.

    IntegrityError, naming the file, for one that is missing or altered, for code beside the model, a spec.json that
    differs from MLmodel, an MLmodel or a policy's file that can't be read; UnknownFormat for another format; SpecError
    for a spec or architecture that can't be read, and weights that aren't theirs.
    """
    flavors = read_flavors(root)
    entry = _entry(flavors)
    contents = {name: _verified(root, name, digest) for name, digest in entry["files"].items()}
    _refuse_code(root, contents, flavors)
    spec = ModelSpec.from_dict(entry["spec"], "flavors.ppo.spec")
    if _json(_listed(contents, SPEC, root).tobytes(), root / SPEC) != entry["spec"]:
        raise IntegrityError(f"{root / SPEC}: found another spec, expected that of {MLMODEL}: {_TAMPERED}")
    policy = _read_policy(root, contents, spec, entry["architecture"])
    golden, vouched = contents.get(GOLDEN), entry.get(_VOUCHED)
    return StoredModel(
        spec,
        policy,
        _digest(flavors, root / MLMODEL),
        None if golden is None else golden.tobytes(),
        None if vouched is None else Vouch.from_dict(vouched, f"flavors.{FLAVOR_NAME}.{_VOUCHED}"),
    )


def _listed(contents: Mapping[str, Bytes], name: str, root: Path) -> Bytes:
    """The verified bytes of a file that every model of its kind has."""
    if name not in contents:
        raise IntegrityError(f"{root / MLMODEL}: flavors.ppo.files: {name} isn't listed, expected it: {_TAMPERED}")
    return contents[name]


def _read_policy(
    root: Path, contents: Mapping[str, Bytes], spec: ModelSpec, architecture: Mapping[str, Any]
) -> ActorCritic | OnnxPolicy:
    path = "flavors.ppo.architecture"
    kinds = (ARCHITECTURE, onnx_policy.CLASS)
    if parsing.take(architecture, "class", path, parsing.choice, of=kinds) == ARCHITECTURE:
        content = _listed(contents, POLICY, root)
        try:
            weights = read_weights(content, str(root / POLICY))
        except SpecError as error:
            raise IntegrityError(f"{error}: {_TAMPERED}") from error
        try:
            return ActorCritic.from_architecture(spec, architecture, weights)
        except SpecError as error:
            if error.path.startswith("architecture"):
                raise SpecError(f"flavors.ppo.{error.path}", error.found, error.expected, error.remedy) from error
            raise
    onnx_policy.read_architecture(architecture, path)
    content = _listed(contents, ONNX, root)
    try:
        return OnnxPolicy(spec, content.tobytes(), str(root / ONNX))
    except SpecError as error:
        raise IntegrityError(f"{error}: {_TAMPERED}") from error


def read_flavors(root: Path) -> Mapping[str, Any]:
    """`flavors` of a model's MLmodel, whose digest is the model's. IntegrityError for an MLmodel that can't be read,
    nests too deep or unfolds to more than a model's values.
    """
    path = root / MLMODEL
    # ten times as fast as yaml.SafeLoader and as safe
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise SpecError(str(path), f"more than {MOST_BYTES} bytes", "a model's few kilobytes")
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
    read = parsing.mapping(entry, path, (*_KEYS, _VOUCHED))
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


def _verified(root: Path, name: str, digest: str) -> Bytes:
    path = root / name
    try:
        content, found = read_hashed(path, best_shift(path) if name == POLICY else 0)
    except OSError as error:
        raise IntegrityError(
            f"{path}: {error.strerror}, expected the file that {MLMODEL} lists: {_TAMPERED}"
        ) from error
    if found != digest:
        raise IntegrityError(f"{path}: found sha256 {found}, expected {digest} as {MLMODEL} lists: {_TAMPERED}")
    return content


def _refuse_code(root: Path, listed: Mapping[str, Bytes], flavors: Mapping[str, Any]) -> None:
    """Refuse what MLflow or another loader would execute or read in the model's name without it being listed, and links
    to what isn't the model's.
    """
    pyfunc = flavors.get("python_function", {"loader_module": LOADER_MODULE})
    strange = [key for key in pyfunc if key not in _PYFUNC_KEYS] if isinstance(pyfunc, Mapping) else ["python_function"]
    if strange or pyfunc.get("loader_module") != LOADER_MODULE:
        found = f"the key {strange[0]}" if strange else f"the loader {pyfunc.get('loader_module', 'nothing')}"
        raise IntegrityError(
            f"{root / MLMODEL}: python_function: found {found}, expected {LOADER_MODULE} alone: {_TAMPERED}"
        )
    for path in sorted(root.rglob("*")):
        if path.is_symlink() and leads_out(path, root):
            raise IntegrityError(
                f"{path}: found a link that leads out of the model, expected its own files: {_TAMPERED}"
            )
        if is_refused(path.relative_to(root).as_posix(), listed):
            raise IntegrityError(
                f"{path}: found a file that {MLMODEL} doesn't list, expected no code there: {_TAMPERED}"
            )


def _json(content: bytes, path: Path) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{path}: {error}: {_TAMPERED}") from error
