"""Seal: an allowed verdict on one reference, signed, so that a trader knows it from a forged one. Values; `keys` signs
and verifies.

The signed bytes are the canonical JSON of the verdict's fields with `format`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.contract.reference import Reference, parse_label
from mlflow_ppo_flavor.errors import SpecError, UnknownFormat

SEAL_FORMAT = 1
SIGNATURE_BYTES = 64
LONGEST_WORKSPACE = 63
_MOST = 2**63 - 1
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEY_ID = re.compile(r"[0-9a-f]{16}")
# what MLflow registers, also where no reference can name it: a seal says what the registry holds
_MODEL = re.compile(r"(?=.*\S)[^/:\ud800-\udfff]+", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SealedVerdict:
    """What is signed: which registry allowed this reference of a workspace to load this version with this digest.

    `sequence` counts what the reference has loaded, from 1, and never falls; `at` is ISO 8601 with zone.
    """

    registry: str
    workspace: str
    model: str
    label: str
    version: int
    digest: str
    sequence: int
    at: str

    @property
    def reference(self) -> Reference:
        """The reference that it speaks of."""
        return Reference(self.model, self.label)

    @property
    def signed_bytes(self) -> bytes:
        """The bytes that are signed."""
        return canonical_json({"format": SEAL_FORMAT, **self.to_dict()})

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON values."""
        return {member.name: getattr(self, member.name) for member in fields(self)}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> SealedVerdict:
        """Read a verdict; SpecError with its dotted path for anything else."""
        read = parsing.mapping(data, path, [member.name for member in fields(cls)])
        reference = _reference(read, path)
        number = {"low": 1, "high": _MOST}
        return cls(
            registry=parsing.take(read, "registry", path, parsing.name, pattern=_UUID, expected="a registry's UUID"),
            workspace=parsing.take(read, "workspace", path, parsing.line, longest=LONGEST_WORKSPACE),
            model=reference.model,
            label=reference.label,
            version=parsing.take(read, "version", path, parsing.integer, **number),
            digest=parsing.take(read, "digest", path, parsing.name, pattern=_SHA256, expected="a sha256"),
            sequence=parsing.take(read, "sequence", path, parsing.integer, **number),
            at=parsing.take(read, "at", path, parsing.time),
        )


@dataclass(frozen=True, slots=True)
class Seal:
    """A verdict with its signature (base64 of 64 bytes) and the id of the key that made it."""

    verdict: SealedVerdict
    key_id: str
    signature: str

    def to_dict(self) -> dict[str, Any]:
        """The seal as JSON values."""
        verdict = self.verdict.to_dict()
        return {"format": SEAL_FORMAT, "verdict": verdict, "key_id": self.key_id, "signature": self.signature}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> Seal:
        """Read a seal, without verifying it. UnknownFormat for another format, SpecError with its dotted path for
        anything else.
        """
        read = parsing.mapping(data, path, ("format", "verdict", "key_id", "signature"))
        found = read.get("format")
        if type(found) is not int or found != SEAL_FORMAT:
            place, remedy = parsing.join(path, "format"), "upgrade mlflow-ppo-flavor to read this seal"
            raise UnknownFormat(place, parsing.show(found), str(SEAL_FORMAT), remedy)
        return cls(
            verdict=parsing.take(read, "verdict", path, SealedVerdict.from_dict),
            key_id=parsing.take(read, "key_id", path, parsing.name, pattern=_KEY_ID, expected="a key's id"),
            signature=parsing.take(read, "signature", path, _signature),
        )


def _reference(data: Mapping[str, Any], path: str) -> Reference:
    """The reference in its one spelling: another would be another text under the same signature's meaning."""
    model = parsing.take(data, "model", path, parsing.name, pattern=_MODEL, expected="a model name without / and :")
    given = parsing.take(data, "label", path, parsing.text)
    label = parse_label(given, parsing.join(path, "label"))
    if label != given:
        raise SpecError(parsing.join(path, "label"), parsing.show(given), label)
    return Reference(model, label)


def _signature(value: object, path: str) -> str:
    """64 bytes in base64's one canonical spelling, so that no other text is the same signature."""
    text = parsing.text(value, path)
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raw = b""
    if len(raw) != SIGNATURE_BYTES or base64.b64encode(raw).decode("ascii") != text:
        raise SpecError(path, parsing.show(text), f"{SIGNATURE_BYTES} bytes in base64")
    return text
