"""Evidence: what is known of a version beside its contract, when it is to enter a reference. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.registry.resolution import VersionKey

UNAUTHENTICATED = "unauthenticated"
"""The requester of whom nobody has checked who it is: it approves nothing and owns nothing."""


@dataclass(frozen=True, slots=True)
class Override:
    """A user's word that a version may enter a reference once, whatever isn't about safety; `expires_at` in ms."""

    id: int
    who: str
    reason: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one version that enters one reference; all of it about the digest that the version has now.

    `metrics`: those of the run that made it. `tags`: the version's own. `attested`: the trader versions whose traders
    reproduced it. `approved_by`: the users who approved of it there. `override`: one that is neither used nor expired.
    """

    metrics: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    attested: frozenset[str] = frozenset()
    approved_by: frozenset[str] = frozenset()
    override: Override | None = None

    def approvals(self, requester: str) -> frozenset[str]:
        """The approvals that count where `requester` asks: those of other users, each of them authenticated."""
        return self.approved_by - {requester, UNAUTHENTICATED, ""}


Entering = tuple[Reference, VersionKey]
"""A version, by the name that its model has before the operation, and the reference that would load it."""
EvidenceOf = Mapping[Entering, Evidence]
NO_EVIDENCE = Evidence()
