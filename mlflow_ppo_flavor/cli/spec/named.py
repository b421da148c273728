"""The spec that a user names: a released version, an own spec, a file, a model's folder, or a URI."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from mlflow_ppo_flavor.contract.releases import MODEL_SPECS, known_specs, spec_named
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.errors import SpecError

_OWN = re.compile(r"[a-z][a-z0-9_-]*:[0-9][^/\\]*")


@dataclass(frozen=True, slots=True)
class NamedSpec:
    """A spec; of a model also the model's digest, whether it is proven, and in words how or why not."""

    spec: ModelSpec
    digest: str | None = None
    proven: bool | None = None
    proof: str = ""


def read_named(which: str, tracking_uri: str | None, registry_uri: str | None) -> NamedSpec:
    """The spec of `2.7.0`, `acme:1.0.0`, a spec's JSON file, a model's folder, runs:/… or models:/….

    SpecError for what is no spec or can't be found; RegistryError where there is no model or nobody answers.
    """
    family, _, version = which.rpartition(":")
    if which in MODEL_SPECS or (family, version) in known_specs():
        return NamedSpec(spec_named(which) if which in MODEL_SPECS else known_specs()[family, version])
    path = Path(which)
    if path.suffix == ".json" and path.is_file():
        return NamedSpec(_read_file(path))
    if _OWN.fullmatch(which) and not path.exists():
        return NamedSpec(spec_named(which))
    if ":" not in which and not path.exists():
        released = ", ".join(MODEL_SPECS)
        raise SpecError(which, "no model there", f"a released version ({released}), a model's folder or its URI")
    from mlflow_ppo_flavor.cli.model_uri import read_readable

    contract = read_readable(which, tracking_uri, registry_uri)
    return NamedSpec(contract.spec, contract.digest, contract.proven, contract.proof)


def _read_file(path: Path) -> ModelSpec:
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise SpecError(str(path), f"a file that can't be read ({error.strerror})", "a spec's JSON") from None
    except (ValueError, RecursionError) as error:
        raise SpecError(str(path), f"no JSON ({error})", "a spec's JSON") from None
    try:
        return ModelSpec.from_dict(data)
    except SpecError as error:
        raise type(error)(f"{path}: {error.path}", error.found, error.expected, error.remedy) from None
