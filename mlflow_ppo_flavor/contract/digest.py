"""Canonical JSON and digests: what binds a contract to bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def canonical_json(value: Any) -> bytes:
    """The one byte string of a JSON value: keys sorted, no spaces, UTF-8, floats as the shortest repr.

    Raises ValueError for NaN and infinity, TypeError for what JSON can't say. The idea is RFC 8785's.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def sha256_hex(data: bytes | memoryview) -> str:
    """sha256 of bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_digest(flavors: Mapping[str, Any]) -> str:
    """The digest of a model: sha256 over the canonical JSON of MLmodel's `flavors`, which list every file's sha256."""
    return sha256_hex(canonical_json(flavors))
