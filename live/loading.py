"""Loading: verified files through mlflow.pyfunc, from a folder that holds nothing else; tried once before they act."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import mlflow
import numpy as np
import pandas as pd
import yaml
from mlflow.pyfunc import PyFuncModel

from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.contract.digest import model_digest
from mlflow_ppo_flavor.errors import IntegrityError, RegistryError
from mlflow_ppo_flavor.model.inference import Float32, infer
from mlflow_ppo_flavor.model.replay import LOGIT_TOLERANCE
from mlflow_ppo_flavor.model.storage import FLAVOR_NAME, MLMODEL, StoredModel, read_flavors

_REMEDY = "don't trade it with this code: log it again, and look which packages are installed"


def load_verified(root: Path, folder: Path, stored: StoredModel) -> PyFuncModel:
    """The model that was verified in `root`, through mlflow.pyfunc, from a new `folder` of the same file system.

    It holds the listed files, which the flavor hashes again, and an MLmodel of the verified flavors alone: MLflow reads
    no signature, requirements or examples, which nobody has checked. `root` stays as it is. IntegrityError where what
    it reads isn't what was verified, RegistryError where the folder can't be made; else whatever MLflow raises.
    """
    flavors = read_flavors(root)
    _check_same(root, flavors, stored)
    try:
        _prepare(root, flavors, folder)
    except OSError as error:
        raise RegistryError(f"{folder}: {error}: look whether this machine has room for another copy") from error
    pyfunc: PyFuncModel = mlflow.pyfunc.load_model(str(folder))
    _check_same(folder, pyfunc.metadata.flavors, stored)
    return pyfunc


def try_out(pyfunc: PyFuncModel, stored: StoredModel) -> tuple[Finding, ...]:
    """What is wrong with one decision of a loaded model: of its first golden observation, else of zeros.

    Logits must be finite and of the spec's shape, golden ones within LOGIT_TOLERANCE of the recorded, and the table
    that decides must say the likeliest action. Raises what the model raises.
    """
    golden = stored.golden
    proven = golden is not None and len(golden.samples) > 0
    observation = golden.samples[:1] if golden and proven else np.zeros((1, stored.spec.obs_dim), np.float32)
    logits, values = infer(pyfunc.get_raw_model(), observation)
    found = list(_unusable(logits, stored.spec.n_actions))
    if found:
        return tuple(found)
    if golden and proven:
        found += _differs("logits", logits, golden.logits[:1])
        found += _differs("value", values, golden.values[:1]) if golden.has_values else ()
    row = cast("pd.DataFrame", pyfunc.predict(observation)).iloc[0]
    if int(row["action"]) != int(logits.argmax()):
        found.append(_finding("action", str(row["action"]), f"the likeliest one, {int(logits.argmax())}"))
    return tuple(found)


def _check_same(root: Path, flavors: Mapping[str, Any], stored: StoredModel) -> None:
    read = model_digest(flavors)
    if read != stored.digest:
        found = f"{root / MLMODEL}: found digest {read} when it was loaded, expected {stored.digest} as it was verified"
        raise IntegrityError(f"{found}: somebody changes this trader's own files, don't trade")


def _prepare(root: Path, flavors: Mapping[str, Any], folder: Path) -> None:
    """Make the folder: an MLmodel with these flavors, and the files that they list."""
    folder.mkdir()
    # many times as fast as yaml.SafeDumper
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    (folder / MLMODEL).write_text(yaml.dump({"flavors": dict(flavors)}, Dumper=dumper), encoding="ascii")
    for name in flavors[FLAVOR_NAME]["files"]:
        source = (root / name).resolve()
        try:
            os.link(source, folder / name)
        except OSError:
            # a file system without hard links
            shutil.copyfile(source, folder / name)


def _unusable(logits: Float32, n_actions: int) -> Iterator[Finding]:
    if logits.shape != (1, n_actions):
        yield _finding("logits", f"the shape {logits.shape}", f"{(1, n_actions)}")
    elif not np.isfinite(logits).all():
        yield _finding("logits", f"{logits[0].tolist()}", "finite numbers")


def _differs(name: str, found: Float32, recorded: Float32) -> Iterator[Finding]:
    allowed = LOGIT_TOLERANCE * np.maximum(1.0, np.abs(recorded))
    # written so that NaN differs
    if not (np.abs(found.astype(np.float64) - recorded) <= allowed).all():
        yield _finding(name, str(found.ravel().tolist()), f"as recorded {recorded.ravel().tolist()}")


def _finding(place: str, found: str, expected: str) -> Finding:
    return Finding("first_decision", "safety", f"first_decision.{place}", found, f"expected {expected}", _REMEDY)
