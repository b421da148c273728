"""Claims: announcements and attestations, and whether the gate takes a trader's word for them. Pure."""

from __future__ import annotations

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.compatibility import Finding, Verdict
from mlflow_ppo_flavor.contract.trader import Announcement, Attestation
from mlflow_ppo_flavor.registry import fact
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.evidence import UNAUTHENTICATED
from mlflow_ppo_flavor.registry.fact import describe
from mlflow_ppo_flavor.registry.gate import Contracts, Ruling, why
from mlflow_ppo_flavor.registry.judgement import judge_contract, judge_trader, softened
from mlflow_ppo_flavor.registry.policy import DEFAULT_POLICY, Policy
from mlflow_ppo_flavor.registry.resolution import Models, VersionKey


def rule_announcement(
    announcement: Announcement,
    models: Models,
    contracts: Contracts,
    *,
    policy: Policy = DEFAULT_POLICY,
    owner: str = "",
    requester: str = UNAUTHENTICATED,
) -> Ruling:
    """May this trader announce itself? Not while its reference loads a version that it can't run, not where the
    policy's `traders` don't list it, and not as an id that belongs to another user than the requester.

    `owner`: the user who first announced that id, empty where nobody did who was authenticated.
    """
    reference, trader = announcement.reference, announcement.trader
    model = models.get(reference.model)
    present = None if model is None else model.resolve(reference)
    findings = [
        *judge_owner(trader.trader_id, owner, requester, "announce it as that user, or choose another trader id"),
        *_judge_listed(trader.trader_id, policy, "announce"),
    ]
    verdict = Verdict((), strict=True)
    if present is not None:
        verdict = judge_trader(contracts[VersionKey(reference.model, present)], trader, reference.label)
        verdict = softened(verdict) if policy.terms(reference).warns(announced=True) else verdict
    whole = Verdict((*findings, *verdict.findings), strict=True)
    if findings:
        return Ruling(_unheard(announcement, owner, findings[0]), whole)
    if present is None:
        return Ruling(f"{describe(trader)} announced for {reference}, which loads nothing yet", whole)
    if verdict.allowed:
        return Ruling(f"{describe(trader)} announced for {reference}: it runs version {present}", whole)
    return Ruling(fact.refused_announcement(trader, reference, present, why(verdict)), whole)


def rule_attestation(
    key: VersionKey,
    attestation: Attestation,
    contract: Contract,
    *,
    policy: Policy = DEFAULT_POLICY,
    owner: str = "",
    requester: str = UNAUTHENTICATED,
) -> Ruling:
    """May this trader attest a version with this contract? Only one with golden decisions, and the digest that it has;
    and not as an id that the policy's `traders` don't list, or that belongs to another user than the requester
    (`owner`, as in `rule_announcement`).

    Whether the trader may run it is another question: it replays what may be promoted one day.
    """
    trader = attestation.trader_id
    owned = judge_owner(trader, owner, requester, "attest as that user, or choose another trader id")
    unlisted = _judge_listed(trader, policy, "attest")
    finding = _judge_attestation(key, attestation, contract)
    whole = Verdict((*owned, *unlisted, *([] if finding is None else [finding])), strict=True)
    if owned:
        return Ruling(fact.refused_owned(trader, owner, "nobody else may attest as it"), whole)
    if unlisted:
        return Ruling(fact.refused_attestation(key, trader, "the policy's traders don't list it"), whole)
    if finding is None:
        told = f"trader {trader} ({attestation.trader_version}) reproduced {key.model} version {key.version}"
        return Ruling(told, whole)
    reason = contract.reason if contract.spec is None else f"{finding.found}, {finding.expected}"
    return Ruling(fact.refused_attestation(key, trader, reason), whole)


def judge_owner(trader_id: str, owner: str, requester: str, remedy: str) -> list[Finding]:
    """What is wrong where `requester` speaks for a trader id that belongs to `owner`: nothing where nobody owns it.

    `remedy`: what to do about it, which differs with what was to be done.
    """
    if not owner or requester == owner:
        return []
    who = "a user whom nobody has authenticated" if requester == UNAUTHENTICATED else f"user {requester}"
    return [Finding("trader_owned", "policy", f"trader {trader_id}", who, f"it belongs to {owner}", remedy)]


def _judge_listed(trader_id: str, policy: Policy, doing: str) -> list[Finding]:
    if policy.lets_announce(trader_id):
        return []
    listed = ", ".join(policy.traders or ()) or "none"
    expected, remedy = f"the policy lets {listed} {doing}", "list it under the policy's traders, or use a listed id"
    return [Finding("trader_not_listed", "policy", "traders", parsing.show(trader_id), expected, remedy)]


def _unheard(announcement: Announcement, owner: str, finding: Finding) -> str:
    trader = announcement.trader
    if finding.code == "trader_owned":
        return fact.refused_owned(trader.trader_id, owner, "nobody else may announce it")
    return fact.refused_not_listed(trader, announcement.reference)


def _judge_attestation(key: VersionKey, attestation: Attestation, contract: Contract) -> Finding | None:
    """What is wrong with an attestation; None where nothing is."""
    place = f"version {key.version}"
    if contract.spec is None:
        return judge_contract(contract, place)
    if not contract.golden:
        remedy = "record golden decisions with the code that trained it, and register that"
        return Finding("unproven", "safety", place, "no golden decisions", "there is nothing to reproduce", remedy)
    if attestation.digest != contract.digest:
        found, expected = f"digest {attestation.digest[:12]}…", f"the version has {contract.digest[:12]}…"
        return Finding("digest", "safety", place, found, expected, "fetch the version, replay that and attest it")
    return None
