"""Pleas: retirements, approvals, overrides and contracts read again, and whether the gate grants them. Pure."""

from __future__ import annotations

from mlflow_ppo_flavor.contract.compatibility import Finding, Verdict
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.request import OverrideRequest, Retire
from mlflow_ppo_flavor.registry.claims import judge_owner
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.evidence import UNAUTHENTICATED
from mlflow_ppo_flavor.registry.fact import cut, short_reference
from mlflow_ppo_flavor.registry.gate import Ruling
from mlflow_ppo_flavor.registry.judgement import judge_contract
from mlflow_ppo_flavor.registry.resolution import VersionKey

_LONGEST_NAME, _LONGEST_ID = 30, 20


def rule_retirement(model: str, asked: Retire, owner: str, requester: str, *, admin: bool) -> Ruling:
    """May this user retire a trader? Its owner may, an administrator, and everybody where nobody owns the id."""
    where = f"{model}/{asked.reference}" if asked.reference else f"all references of {model}"
    remedy = "let that user or an administrator retire it"
    findings = [] if admin else judge_owner(asked.trader_id, owner, requester, remedy)
    if not findings:
        return _granted(f"{requester} retired trader {asked.trader_id} from {where}")
    short = cut(asked.trader_id, _LONGEST_ID)
    fact = f"Refused: {short} belongs to {cut(owner, _LONGEST_NAME)}: nobody else but an administrator may retire it"
    return Ruling(fact, Verdict(tuple(findings), strict=True))


def rule_approval(key: VersionKey, reference: Reference, contract: Contract, requester: str) -> Ruling:
    """May this user approve of a version? Whoever is authenticated may, of a contract that can be read."""
    what = f"{_version(key)} for {short_reference(reference).label}"
    if requester == UNAUTHENTICATED:
        found, expected = "a user whom nobody has authenticated", "an approval is a known user's word"
        remedy = "approve over a server with basic-auth"
        return _refused(f"{what} isn't approved", Finding("unauthenticated", "policy", "user", found, expected, remedy))
    if contract.spec is None:
        return _refused(f"{what} isn't approved", judge_contract(contract, f"version {key.version}"))
    return _granted(f"{requester} approved {what}")


def rule_override(
    key: VersionKey, reference: Reference, asked: OverrideRequest, contract: Contract, requester: str
) -> Ruling:
    """May this user override the gate for a version? Never for one whose contract can't be read."""
    what = f"{_version(key)} for {short_reference(reference).label}"
    if contract.spec is None:
        return _refused(f"no override of {what}", judge_contract(contract, f"version {key.version}"))
    return _granted(f"{requester} overrides the gate once for {what}, for {asked.expires_seconds} s: {asked.reason}")


def rule_reverification(key: VersionKey, kept: Contract | None, found: Contract, *, same: bool) -> Ruling:
    """May what was found take the place of the contract that is kept? Never of one that could be read.

    `same`: the version is still the one that was read.
    """
    place = f"version {key.version}"
    if not same:
        remedy = "ask again"
        finding = Finding("gone", "safety", place, "another version by now", "the one that was read", remedy)
        return _refused(f"{_version(key)} can't be read again", finding)
    if not found.known:
        return _refused(f"{_version(key)} can't be read", judge_contract(found, place))
    if kept is not None and kept.digest and found.digest != kept.digest:
        shown = f"digest {found.digest[:12]}…" if found.digest else found.reason
        expected = f"it was registered with digest {kept.digest[:12]}…"
        finding = Finding("digest", "safety", place, shown, expected, "register what lies there as a new version")
        return _refused(f"{_version(key)} isn't what was registered", finding)
    if found.spec is None:
        return _granted(f"{_version(key)} was read again: {found.reason}")
    changed = "as it was" if kept is not None and kept.spec is not None else f"digest {found.digest[:12]}…"
    return _granted(f"{_version(key)} was read again: {changed}")


def _version(key: VersionKey) -> str:
    return f"{cut(key.model, _LONGEST_NAME)} version {key.version}"


def _granted(fact: str) -> Ruling:
    return Ruling(fact, Verdict((), strict=True))


def _refused(what: str, finding: Finding) -> Ruling:
    return Ruling(f"Refused: {what}: {finding.found}: {finding.expected}", Verdict((finding,), strict=True))
