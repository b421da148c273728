"""Hearing: one attempt at settling a request, in the guard's transaction: it gathers what the gate has to know."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.registry import approvals, attestations, overrides
from mlflow_ppo_flavor.registry.candidates import Candidate, candidates
from mlflow_ppo_flavor.registry.case import Case, InHand, Lack
from mlflow_ppo_flavor.registry.evidence import NO_EVIDENCE, Evidence
from mlflow_ppo_flavor.registry.history import Occasion
from mlflow_ppo_flavor.registry.mlflow_tables import TAGS
from mlflow_ppo_flavor.registry.resolution import Move, VersionKey
from mlflow_ppo_flavor.registry.setting import Setting
from mlflow_ppo_flavor.registry.standing import read_standing
from mlflow_ppo_flavor.registry.terms import Terms


@dataclass(frozen=True, slots=True)
class Hearing:
    """`in_hand`: what earlier attempts fetched outside their transactions."""

    session: Session
    occasion: Occasion
    setting: Setting
    in_hand: InHand

    def open(self, names: Sequence[str], versions: Sequence[int] = ()) -> Case:
        """The case of these models as they stand."""
        standing = read_standing(self.session, self.occasion.workspace, names, versions)
        named = any(self.setting.policy.names(name) for name in names)
        return Case(standing.flavored or bool(standing.fleet) or named, standing)

    def call(self, case: Case, needed: Collection[VersionKey]) -> Case:
        """The case with these versions and their contracts, or with what is lacking of them."""
        found = candidates(self.session, self.occasion.workspace, needed, bound=True)
        contracts, missing = {}, []
        for key, candidate in found.items():
            contract = candidate.contract or self.in_hand.contracts.get(candidate.origin)
            if contract is None:
                missing.append(candidate.origin)
            else:
                contracts[key] = contract
        return replace(case, candidates=found, contracts=contracts, lack=Lack(contracts=missing))

    def examine(self, case: Case, moves: Iterable[Move]) -> Case:
        """The case with the evidence that the policy asks for of each version that enters a reference."""
        evidence, runs = dict(case.evidence), []
        for move in moves:
            candidate = case.candidates.get(move.after) if move.after is not None else None
            terms = self.setting.policy.terms(move.reference)
            if move.after is None or candidate is None or not _asks(terms):
                continue
            if terms.metrics and candidate.run_id and candidate.run_id not in self.in_hand.metrics:
                runs.append(candidate.run_id)
            digest = case.contracts[move.after].digest
            evidence[move.reference, move.after] = self._evidence(move, terms, candidate, digest)
        return replace(case, evidence=evidence, lack=Lack(runs=runs))

    def plead(self, case: Case, moves: Iterable[Move]) -> Case | None:
        """The case with the overrides that were given for these moves; None where there is none."""
        evidence, any_found = dict(case.evidence), False
        for move in moves:
            candidate = case.candidates.get(move.after) if move.after is not None else None
            if move.after is None or candidate is None:
                continue
            digest = case.contracts[move.after].digest
            override = overrides.find(self.session, self.occasion, move.reference, candidate.origin, digest)
            if override is not None:
                known = evidence.get((move.reference, move.after), NO_EVIDENCE)
                evidence[move.reference, move.after] = replace(known, override=override)
                any_found = True
        return replace(case, evidence=evidence) if any_found else None

    def _evidence(self, move: Move, terms: Terms, candidate: Candidate, digest: str) -> Evidence:
        session, workspace, origin = self.session, self.occasion.workspace, candidate.origin
        approved = attested = frozenset[str]()
        if terms.approvals:
            approved = approvals.approvers(session, workspace, move.reference, origin, digest)
        if terms.require_attestation:
            attested = attestations.trader_versions(session, workspace, origin, digest, self.setting.policy)
        tags = self._tags(origin.key) if terms.required_tags else {}
        metrics = self.in_hand.metrics.get(candidate.run_id, {}) if terms.metrics else {}
        return Evidence(metrics, tags, attested, approved)

    def _tags(self, key: VersionKey) -> dict[str, str]:
        here = {"workspace": self.occasion.workspace, "name": key.model, "version": key.version}
        return {
            key: value or "" for key, value in self.session.execute(select(TAGS.c.key, TAGS.c.value).filter_by(**here))
        }


def _asks(terms: Terms) -> bool:
    """Whether terms ask for anything that isn't in the contract."""
    return bool(terms.metrics or terms.required_tags or terms.require_attestation or terms.approvals)
