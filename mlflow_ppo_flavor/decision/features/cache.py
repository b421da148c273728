"""Feature matrices kept on disk, under a digest of what they were computed from."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlflow_ppo_flavor.contract.digest import canonical_json, sha256_hex
from mlflow_ppo_flavor.contract.packages import code_digest
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.decision.features.compute import compute_features, lookback_of, own_packages_of

_FORMAT = 1
_SHA_BYTES = 32


def cached_features(bars: Bars, features: Sequence[str], store_dir: Path) -> npt.NDArray[np.float32]:
    """`compute_features(bars, features)`, from a file in `store_dir` where one was stored before.

    A file that is missing, truncated or altered is computed and written again. Writers don't disturb each other or a
    reader: a file appears whole under its name or not at all. BarsError and SpecError as `compute_features`; OSError
    where `store_dir` can't be written.
    """
    path = store_dir / cache_name(bars, features)
    shape = (len(bars) - lookback_of(features) + 1, len(features))
    try:
        stored = unpack(path.read_bytes())
    except FileNotFoundError:
        stored = None
    if stored is not None and stored.shape == shape:
        return stored
    values = compute_features(bars, features)
    _write(path, pack(values))
    return values


def cache_name(bars: Bars, features: Sequence[str]) -> str:
    """The file's name: a digest over the bars, the features' references in their order, and own packages' code."""
    key: dict[str, Any] = {"format": _FORMAT, "bars": bars.digest, "features": list(features)}
    packages = own_packages_of(features)
    if packages:
        key["own"] = {f"{package} {package.place}": code_digest(package) for package in packages}
    return f"{sha256_hex(canonical_json(key))}.features"


def pack(values: npt.NDArray[np.float32]) -> bytes:
    """A matrix as the bytes of a file: sha256 of what follows (32 bytes), then NumPy's .npy format."""
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    content = buffer.getvalue()
    return hashlib.sha256(content).digest() + content


def unpack(data: bytes) -> npt.NDArray[np.float32] | None:
    """The matrix of a file's bytes; None if they aren't what `pack` made."""
    content = data[_SHA_BYTES:]
    if hashlib.sha256(content).digest() != data[:_SHA_BYTES]:
        return None
    values: npt.NDArray[np.float32] = np.load(io.BytesIO(content), allow_pickle=False)
    return values


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
