"""Petitions: what traders and users put before the guard that moves no reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.request import Approve, OverrideRequest, Retire
from mlflow_ppo_flavor.contract.trader import Announcement, Attestation
from mlflow_ppo_flavor.registry import approvals, attestations, candidates, fleet, history, overrides, pleas
from mlflow_ppo_flavor.registry.adoption import Adoption, judge_standing
from mlflow_ppo_flavor.registry.artifacts import read_contract
from mlflow_ppo_flavor.registry.case import Answer, Case, unguarded
from mlflow_ppo_flavor.registry.claims import rule_announcement, rule_attestation
from mlflow_ppo_flavor.registry.clerk import Clerk
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.fact import cut
from mlflow_ppo_flavor.registry.gate import Ruling
from mlflow_ppo_flavor.registry.guard import Guard
from mlflow_ppo_flavor.registry.hearing import Hearing
from mlflow_ppo_flavor.registry.notices import Notices
from mlflow_ppo_flavor.registry.resolution import VersionKey
from mlflow_ppo_flavor.registry.write_lock import settle_writes

_LONGEST_NAME = 30
Require = Callable[[Session], Any]
"""Raises MLflow's own error where the model or the version isn't registered."""


class Petitions:
    """Petitions put before one guard."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def announce(self, announcement: Announcement, require: Require) -> None:
        """Keep a trader's announcement; 409 with every finding while its reference loads what it can't run."""
        reference = announcement.reference

        def decide(hearing: Hearing) -> Answer:
            require(hearing.session)
            case = hearing.open((reference.model,))
            present = case.standing.models[reference.model].resolve(reference)
            case = hearing.call(case, set() if present is None else {VersionKey(reference.model, present)})
            adoption = self._adoption(hearing, announcement, case)
            lack = case.lack or (adoption.case.lack if adoption is not None else case.lack)
            if lack:
                return Answer(lack=lack)
            owner = self._owner(hearing, announcement.trader.trader_id)
            policy, who = self._guard.setting.policy, hearing.occasion.who
            models = case.standing.models
            ruling = rule_announcement(announcement, models, case.contracts, policy=policy, owner=owner, requester=who)
            self._record(hearing, reference.model, {"kind": "announce", **history.told(announcement)}, ruling, case)
            if ruling.allowed:
                self._enlist(hearing, announcement, case, adoption)
            return Answer(None, ruling)

        self._guard.settle((reference.model, _lock(announcement.trader.trader_id)), decide)

    def attest(self, key: VersionKey, attestation: Attestation, require: Require) -> None:
        """Keep a trader's attestation; 409 with the finding where the version's contract isn't what it replayed."""

        def decide(hearing: Hearing) -> Answer:
            require(hearing.session)
            case = hearing.call(hearing.open((key.model,)), {key})
            if case.lack:
                return Answer(lack=case.lack)
            _require_guarded(case, key)
            owner, who = self._owner(hearing, attestation.trader_id), hearing.occasion.who
            policy, contract = self._guard.setting.policy, case.contracts[key]
            ruling = rule_attestation(key, attestation, contract, policy=policy, owner=owner, requester=who)
            if ruling.allowed:
                attestations.put(hearing.session, hearing.occasion, case.candidates[key].origin, attestation)
                self._introduce(hearing, key, contract)
            told = {"kind": "attest", "version": key.version, **history.attested(attestation)}
            self._record(hearing, key.model, told, ruling, case)
            return Answer(None, ruling)

        self._guard.settle((key.model, _lock(attestation.trader_id)), decide)

    def retire(self, model: str, asked: Retire, require: Require) -> None:
        """Forget a trader's announcements; 404 where it has none there."""

        def decide(hearing: Hearing) -> Answer:
            require(hearing.session)
            case = hearing.open((model,))
            if not any(_is_meant(asked, each) for each in case.standing.fleet):
                known = sorted({f"{each.trader.trader_id} for {each.reference.label}" for each in case.standing.fleet})
                raise MlflowException(
                    f"{asked.tag}: found {asked.trader_id} for {asked.reference or 'any reference'}, expected a trader "
                    f"that announced for {model}: {', '.join(known) or 'nobody did'}",
                    error_code=RESOURCE_DOES_NOT_EXIST,
                )
            owner = self._owner(hearing, asked.trader_id)
            ruling = pleas.rule_retirement(model, asked, owner, hearing.occasion.who, admin=history.is_admin())
            self._record(hearing, model, {"kind": "retire", "reference": None, **asked.to_dict()}, ruling, case)
            if ruling.allowed:
                fleet.retire(hearing.session, hearing.occasion.workspace, model, asked.trader_id, asked.reference)
            return Answer(None, ruling)

        self._guard.settle((model, _lock(asked.trader_id)), decide)

    def approve(self, key: VersionKey, asked: Approve, require: Require) -> None:
        """Keep the asking user's approval; 409 from whom nobody has authenticated."""
        reference = Reference(key.model, asked.reference)

        def keep(hearing: Hearing, case: Case) -> None:
            origin, digest = case.candidates[key].origin, case.contracts[key].digest
            approvals.put(hearing.session, hearing.occasion, reference, origin, digest)

        def judge(hearing: Hearing, contract: Contract) -> Ruling:
            return pleas.rule_approval(key, reference, contract, hearing.occasion.who)

        told = {"kind": "approve", "version": key.version, **asked.to_dict()}
        self._plead(key, told, require, judge, keep)

    def override(self, key: VersionKey, asked: OverrideRequest, require: Require) -> None:
        """Keep the asking user's override."""
        reference = Reference(key.model, asked.reference)

        def keep(hearing: Hearing, case: Case) -> None:
            origin, digest = case.candidates[key].origin, case.contracts[key].digest
            overrides.put(hearing.session, hearing.occasion, reference, origin, digest, asked)

        def judge(hearing: Hearing, contract: Contract) -> Ruling:
            return pleas.rule_override(key, reference, asked, contract, hearing.occasion.who)

        self._plead(key, {"kind": "override", "version": key.version, **asked.to_dict()}, require, judge, keep)

    def reverify(self, key: VersionKey, require: Require) -> None:
        """Read a version's contract again; 409 where it is another than the one that was read before."""
        with self._guard.hearing((key.model,)) as hearing:
            require(hearing.session)
            before = candidates.candidates(hearing.session, hearing.occasion.workspace, {key})[key]
        found = read_contract(before.origin.location)

        def decide(hearing: Hearing) -> Answer:
            require(hearing.session)
            case = hearing.open((key.model,))
            now = candidates.candidates(hearing.session, hearing.occasion.workspace, {key})[key]
            case = replace(case, candidates={key: now}, contracts={key: now.contract or found})
            if now.contract is not None and not found.flavored:
                _require_guarded(case, key)
            ruling = pleas.rule_reverification(key, now.contract, found, same=now.origin == before.origin)
            if ruling.allowed and found.known:
                if found.flavored and not case.standing.flavored:
                    Notices(hearing.session, hearing.occasion.workspace).clear_model(key.model)
                candidates.keep(hearing.session, hearing.occasion.workspace, now.origin, found)
                self._introduce(hearing, key, found)
            self._record(hearing, key.model, {"kind": "reverify", "version": key.version}, ruling, case)
            return Answer(None, ruling)

        self._guard.settle((key.model,), decide)
        settle_writes()

    def _adoption(self, hearing: Hearing, announcement: Announcement, case: Case) -> Adoption | None:
        """The ruling on what an alias loads that the announcement makes a protected one; None for other references."""
        reference, known = announcement.reference, case.standing
        protected = {*self._guard.setting.policy.protects(reference.model), *(each.reference for each in known.fleet)}
        loads_nothing = known.models[reference.model].resolve(reference) is None
        if not reference.is_alias or reference in protected or loads_nothing or case.lack:
            return None
        joined = replace(known, fleet=(*known.fleet, announcement))
        return judge_standing(hearing, replace(case, standing=joined), reference)

    def _enlist(self, hearing: Hearing, announcement: Announcement, case: Case, adoption: Adoption | None) -> None:
        """Keep an allowed announcement."""
        fleet.put(hearing.session, hearing.occasion, announcement)
        if not case.guarded:
            Notices(hearing.session, hearing.occasion.workspace).clear_model(announcement.reference.model)
        if adoption is not None:
            adoption.file(hearing)

    def _plead(
        self,
        key: VersionKey,
        told: Mapping[str, Any],
        require: Require,
        judge: Callable[[Hearing, Contract], Ruling],
        keep: Callable[[Hearing, Case], None],
    ) -> None:
        def decide(hearing: Hearing) -> Answer:
            require(hearing.session)
            case = hearing.call(hearing.open((key.model,)), {key})
            if case.lack:
                return Answer(lack=case.lack)
            _require_guarded(case, key)
            ruling = judge(hearing, case.contracts[key])
            if ruling.allowed:
                keep(hearing, case)
            self._record(hearing, key.model, told, ruling, case)
            return Answer(None, ruling)

        self._guard.settle((key.model,), decide)

    def _introduce(self, hearing: Hearing, key: VersionKey, contract: Contract) -> None:
        """Write anew what a version's page shows, with the attestations that there are by now."""
        session, workspace = hearing.session, hearing.occasion.workspace
        Notices(session, workspace).introduce(candidates.candidates(session, workspace, {key})[key], contract)

    def _owner(self, hearing: Hearing, trader_id: str) -> str:
        return fleet.owner_of(hearing.session, hearing.occasion.workspace, trader_id)

    def _record(self, hearing: Hearing, model: str, told: Mapping[str, Any], ruling: Ruling, case: Case) -> None:
        Clerk(hearing.session, hearing.occasion, self._guard.setting).record(model, told, ruling, case)


def _is_meant(asked: Retire, announcement: Announcement) -> bool:
    return announcement.trader.trader_id == asked.trader_id and asked.reference in (None, announcement.reference.label)


def _require_guarded(case: Case, key: VersionKey) -> None:
    """MLflow's error about a version of a model that isn't guarded. One that can't be read may have the flavor."""
    if not case.guarded and case.contracts[key].known:
        raise unguarded(f"{cut(key.model, _LONGEST_NAME)} version {key.version}")


def _lock(trader_id: str) -> str:
    """No model's name: those of traders are looked up across models."""
    return f"trader/{trader_id}"
