"""Vouch: somebody takes responsibility for a model that has no golden decisions. It is stored with the model."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from mlflow_ppo_flavor.contract import parsing

LONGEST_REASON, LONGEST_NAME = 500, 100


@dataclass(frozen=True, slots=True)
class Vouch:
    """Why a model may run without golden decisions, who answers for that, and since when (ISO 8601 with zone)."""

    reason: str
    by: str
    at: str

    @property
    def text(self) -> str:
        """The vouch in one line, as pages and findings show it: `vouched by Ann: trained by the old trainer`."""
        return f"vouched by {self.by}: {self.reason}"

    def to_dict(self) -> dict[str, Any]:
        """The vouch as JSON values."""
        return {member.name: getattr(self, member.name) for member in fields(self)}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> Vouch:
        """Read a vouch; SpecError with its dotted path for anything else."""
        read = parsing.mapping(data, path, [member.name for member in fields(cls)])
        return cls(
            reason=parsing.take(read, "reason", path, parsing.line, longest=LONGEST_REASON),
            by=parsing.take(read, "by", path, parsing.line, longest=LONGEST_NAME),
            at=parsing.take(read, "at", path, parsing.time),
        )
