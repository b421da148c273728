"""A registry's signatures for tests: seals made as the gate makes them, and answered as a trader asks for them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from live.seal_check import SealCheck, SealTerms
from mlflow_ppo_flavor.contract.keys import SigningKey, VerifyingKeys
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.seal import Seal, SealedVerdict
from mlflow_ppo_flavor.errors import RegistryError
from tests.live.trading import MODEL

REFERENCE = Reference.parse(MODEL, "Production")
VERDICT = SealedVerdict(
    registry="7a5c1f0e-3b7d-4a6f-9a43-0d6f1c2b3e4f",
    workspace="default",
    model=MODEL,
    label="Production",
    version=1,
    digest="0f" * 32,
    sequence=1,
    at="2026-01-31T14:30:00+00:00",
)


@dataclass
class Signatory:
    """Signs verdicts and answers with the last one of each reference; `asked` counts the questions."""

    key: SigningKey = field(default_factory=SigningKey.generate)
    seals: dict[Reference, Seal | Exception] = field(default_factory=dict)
    asked: int = 0

    def sign(self, **values: Any) -> Seal:
        """Sign VERDICT with these values instead; the answer from now on."""
        seal = self.key.seal(replace(VERDICT, **values))
        self.seals[seal.verdict.reference] = seal
        return seal

    def fetch(self, reference: Reference) -> Seal | None:
        """What is answered for a reference."""
        self.asked += 1
        found = self.seals.get(reference)
        if isinstance(found, Exception):
            raise found
        return found

    def unreachable(self) -> None:
        """Answer nothing from now on."""
        self.seals[REFERENCE] = RegistryError("no verdict fetched")

    @property
    def keys(self) -> VerifyingKeys:
        """The public key, as a trader is given it."""
        return VerifyingKeys((self.key.public,))

    def check(self, *known: SealedVerdict, required: bool = True, **terms: Any) -> SealCheck:
        """The check of a trader that knows this key, and these verdicts from before."""
        return SealCheck(SealTerms(self.keys, required, **terms), known, self.fetch)
