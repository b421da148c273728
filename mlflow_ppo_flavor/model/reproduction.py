"""Reproduction: what came of replaying golden decisions. A value; it needs no torch to be read or sent."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mlflow_ppo_flavor.contract.compatibility import Finding

STAGES = ("spec", "bars", "features", "observations", "logits", "actions", "quantities")
"""The stages in the order in which they are replayed; the first that differs ends it."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage that came out equal: how many things were compared, and what they are."""

    name: str
    compared: int
    what: str

    @property
    def text(self) -> str:
        """The stage in words: `1,020 rows of 53 features`."""
        return f"{self.compared:,} {self.what}"


@dataclass(frozen=True, slots=True)
class Reproduction:
    """The replay of the golden decisions of the model with this digest: stages that came out equal, and all findings.

    A replay that reproduced everything may still have a finding: a weak proof.
    """

    digest: str
    stages: tuple[Stage, ...]
    findings: tuple[Finding, ...]

    @property
    def reproduced(self) -> bool:
        """Whether every stage came out equal."""
        return tuple(stage.name for stage in self.stages) == STAGES

    @property
    def differs(self) -> str:
        """The first stage that differs; empty where none does."""
        return "" if self.reproduced else STAGES[len(self.stages)]

    @property
    def decisions(self) -> int:
        """How many decisions were compared, down to their quantities."""
        return self.stages[-1].compared if self.reproduced else 0

    def to_dict(self) -> dict[str, Any]:
        """The reproduction as JSON values."""
        return {
            "digest": self.digest,
            "reproduced": self.reproduced,
            "differs": self.differs or None,
            "stages": [asdict(stage) for stage in self.stages],
            "findings": [finding.to_dict() for finding in self.findings],
        }
