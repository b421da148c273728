"""Resolution: which version a reference names; numbers come again, when a registered model is deleted or renamed."""

from __future__ import annotations

from dataclasses import dataclass

from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True, slots=True)
class Resolution:
    """A version, and what tells it from another one of its number: when it was created (ms), and from where."""

    version: int
    created: int | None
    source: str | None

    @classmethod
    def of(cls, found: ModelVersion) -> Resolution:
        """The one of a version as the registry tells it."""
        return cls(int(found.version), found.creation_timestamp, found.source)
