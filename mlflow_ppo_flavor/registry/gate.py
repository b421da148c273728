"""Pure: moved references + contracts + fleet → a ruling. May each fleet run the version that it would load?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from packaging.version import Version

from mlflow_ppo_flavor.contract.compatibility import Finding, Verdict, judge
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.releases import CURRENT_TRADER_VERSION
from mlflow_ppo_flavor.contract.trader import Announcement, Attestation, Trader
from mlflow_ppo_flavor.registry import fact
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.fact import DEFAULT_TRADER, describe
from mlflow_ppo_flavor.registry.resolution import (
    Models,
    Move,
    Operation,
    Transition,
    VersionKey,
    moves,
    stage_references,
    without_effect,
)

_MOST_TOLD = 20
Contracts = Mapping[VersionKey, Contract]
Fleet = Sequence[Announcement]


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the gate says to one operation: the fact in one line, the verdict, and the references that move."""

    fact: str
    verdict: Verdict
    moves: tuple[Move, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the operation may be carried out."""
        return self.verdict.allowed

    @property
    def message(self) -> str:
        """The fact, then the blocking findings one a line (the first 20 of them), version findings first."""
        blocking = sorted(self.verdict.blocking, key=_version_first)
        lines = [f"[{finding.kind}] {finding.message}" for finding in blocking[:_MOST_TOLD]]
        if len(blocking) > _MOST_TOLD:
            lines.append(f"and {len(blocking) - _MOST_TOLD} more findings, all of them in the answer's JSON")
        return "\n".join([self.fact, *lines])


def moved_references(operation: Operation, models: Models, fleet: Fleet) -> tuple[Move, ...]:
    """The protected references that an operation on guarded models moves: both stages, and what traders announced."""
    announced = {a.reference for a in fleet if a.reference.model in operation.models}
    return moves(models, operation, stage_references(operation.models) | announced)


def rule(operation: Operation, models: Models, contracts: Contracts, fleet: Fleet) -> Ruling:
    """May this operation on guarded models be done? `contracts` holds every version that a reference moves to."""
    moved = moved_references(operation, models, fleet)
    stays = without_effect(models, operation)
    if stays is not None and isinstance(operation, Transition):
        return _no_effect(operation, stays)
    told: list[Finding] = []
    refused = ""
    for move in moved:
        findings, why = _judge_move(operation, move, contracts, fleet)
        told.extend(findings)
        refused = refused or why
    verdict = Verdict(tuple(told), strict=True)
    return Ruling(refused or _allowed_fact(moved, fleet), verdict, moved)


def rule_unknown(operation: Operation, models: Models, contracts: Contracts) -> Ruling | None:
    """The ruling on models of which no version is known to have the flavor, and nobody announced for; None: no matter.

    Nobody can tell whether they are guarded while the contract of a version isn't known. A version that is known to
    lack the flavor passes as if they weren't; one that isn't known enters no protected stage, as if they were.
    """
    moved = moved_references(operation, models, ())
    entering = [move for move in moved if move.after is not None and not contracts[move.after].known]
    if not entering:
        return None
    findings = tuple(_judge_contract(contracts[move.after], move.reference.label) for move in entering if move.after)
    first = entering[0]
    reason = "" if first.after is None else contracts[first.after].reason
    return Ruling(fact.refused_as(operation, first, reason), Verdict(findings, strict=True), moved)


def rule_announcement(announcement: Announcement, models: Models, contracts: Contracts) -> Ruling:
    """May this trader announce itself? Not while its reference loads a version that it can't run."""
    reference, trader = announcement.reference, announcement.trader
    model = models.get(reference.model)
    present = None if model is None else model.resolve(reference)
    if present is None:
        empty = f"{describe(trader)} announced for {reference}, which loads nothing yet"
        return Ruling(empty, Verdict((), strict=True))
    verdict = judge_trader(contracts[VersionKey(reference.model, present)], trader, reference.label)
    if verdict.allowed:
        return Ruling(f"{describe(trader)} announced for {reference}: it runs version {present}", verdict)
    return Ruling(fact.refused_announcement(trader, reference, present, _why(verdict)), verdict)


def rule_attestation(key: VersionKey, attestation: Attestation, contract: Contract) -> Ruling:
    """May this trader attest a version with this contract? Only one with golden decisions, and the digest that it has.

    Whether the trader may run it is another question: it replays what may be promoted one day.
    """
    trader = attestation.trader_id
    finding = _judge_attestation(key, attestation, contract)
    if finding is None:
        told = f"trader {trader} ({attestation.trader_version}) reproduced {key.model} version {key.version}"
        return Ruling(told, Verdict((), strict=True))
    why = contract.reason if contract.spec is None else f"{finding.found}, {finding.expected}"
    return Ruling(fact.refused_attestation(key, trader, why), Verdict((finding,), strict=True))


def judge_fleet(reference: Reference, contract: Contract, fleet: Fleet) -> list[tuple[Trader, Verdict]]:
    """The verdict of every trader that announced for a reference on a version with this contract, the weakest first.

    Where nobody announced, the released trader of CURRENT_TRADER_VERSION stands for them, with a warning that says so.
    """
    traders = weakest_first(reference, fleet)
    if traders:
        return [(trader, judge_trader(contract, trader, reference.label)) for trader in traders]
    verdict = judge_trader(contract, DEFAULT_TRADER, reference.label)
    return [(DEFAULT_TRADER, replace(verdict, findings=(_nobody(reference), *verdict.findings)))]


def weakest_first(reference: Reference, fleet: Fleet) -> list[Trader]:
    """The traders announced for a reference, the lowest version first: the weakest member decides."""
    traders = [a.trader for a in fleet if a.reference == reference]
    return sorted(traders, key=lambda trader: (Version(trader.version), trader.trader_id))


def _judge_move(operation: Operation, move: Move, contracts: Contracts, fleet: Fleet) -> tuple[list[Finding], str]:
    """The findings of one moved reference, and the fact of its refusal (empty where it isn't refused)."""
    if move.after is None:
        return [_emptied(move, fleet)], ""
    contract = contracts[move.after]
    judged = judge_fleet(move.reference, contract, fleet)
    findings = list(dict.fromkeys(finding for _, verdict in judged for finding in verdict.findings))
    refusing = [(trader, verdict) for trader, verdict in judged if not verdict.allowed]
    if not refusing:
        return findings, ""
    if contract.spec is None:
        return findings, fact.refused_as(operation, move, contract.reason)
    trader, verdict = refusing[0]
    return findings, fact.refused_for(operation, move, trader, _why(verdict))


def judge_trader(contract: Contract, trader: Trader, place: str = "") -> Verdict:
    """May this trader run a version with this contract? `place` goes before the findings' own places."""
    if contract.spec is None:
        return Verdict((_judge_contract(contract, place),), strict=True)
    verdict = judge(contract.spec, trader, proven=contract.golden, strict=True, vouched=contract.vouched)
    where = f"{place}, {describe(trader)}, " if place else ""
    return replace(verdict, findings=tuple(replace(f, place=f"{where}{f.place}") for f in verdict.findings))


def _judge_contract(contract: Contract, place: str) -> Finding:
    """The finding of a contract that can't be read."""
    code, remedy = "no_contract", "log it with mlflow_ppo_flavor.log_model and register that"
    if not contract.known:
        code, remedy = "unknown_contract", f"try again once it can be read, or {remedy}"
    expected = "a trader needs a contract that can be read"
    return Finding(code, "safety", place or "model", contract.reason, expected, remedy)


def _judge_attestation(key: VersionKey, attestation: Attestation, contract: Contract) -> Finding | None:
    """What is wrong with an attestation; None where nothing is."""
    place = f"version {key.version}"
    if contract.spec is None:
        return _judge_contract(contract, place)
    if not contract.golden:
        remedy = "record golden decisions with the code that trained it, and register that"
        return Finding("unproven", "safety", place, "no golden decisions", "there is nothing to reproduce", remedy)
    if attestation.digest != contract.digest:
        found, expected = f"digest {attestation.digest[:12]}…", f"the version has {contract.digest[:12]}…"
        return Finding("digest", "safety", place, found, expected, "fetch the version, replay that and attest it")
    return None


def _why(verdict: Verdict) -> str:
    """The reason that says most in one line: the version rule explains the features that are missing."""
    first = min(verdict.blocking, key=_version_first)
    return first.expected if first.kind == "version" else f"{first.found}: {first.expected}"


def _version_first(finding: Finding) -> bool:
    return finding.kind != "version"


def _no_effect(operation: Transition, stays: int) -> Ruling:
    finding = Finding(
        "without_effect",
        "safety",
        operation.stage,
        f"version {operation.version} below version {stays}",
        f"{operation.stage} loads the highest version in it",
        "archive the existing versions in the same call, or the higher one first",
    )
    return Ruling(fact.refused_without_effect(operation, stays), Verdict((finding,), strict=True))


def _allowed_fact(moved: Sequence[Move], fleet: Fleet) -> str:
    return fact.allowed([(move, len(weakest_first(move.reference, fleet))) for move in moved])


def _nobody(reference: Reference) -> Finding:
    expected = f"so the released trader {CURRENT_TRADER_VERSION} stands for it"
    remedy = "let each trader announce itself before it loads"
    return Finding("nobody_announced", "warning", reference.label, "no trader announced", expected, remedy)


def _emptied(move: Move, fleet: Fleet) -> Finding:
    ids = ", ".join(trader.trader_id for trader in weakest_first(move.reference, fleet))
    before = "" if move.before is None else f"version {move.before.version}"
    remedy = f"{ids} will find no model there" if ids else "nobody announced for it"
    return Finding("emptied", "warning", move.reference.label, f"{before} leaving", "nothing takes its place", remedy)
