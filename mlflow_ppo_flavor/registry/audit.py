"""Audit: what is wrong with what stands. Judged again by today's fleet and policy, read again, its verdicts checked.

The guard's own rows are part of what is audited: an audit believes them as far as a digest or a seal binds them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.request import Question
from mlflow_ppo_flavor.registry import chain, records, sealed
from mlflow_ppo_flavor.registry.differences import artifact_findings
from mlflow_ppo_flavor.registry.kept import LostTrader
from mlflow_ppo_flavor.registry.rejudging import findings_of
from mlflow_ppo_flavor.registry.reread import Reread, read_again
from mlflow_ppo_flavor.registry.resolution import VersionKey
from mlflow_ppo_flavor.registry.setting import Setting
from mlflow_ppo_flavor.registry.shown import Shown, model_findings, notice_findings, shown
from mlflow_ppo_flavor.registry.snapshot import Held, Snapshot, Version, snapshots
from mlflow_ppo_flavor.registry.tables import HISTORY, VERDICTS
from mlflow_ppo_flavor.registry.unmet import Known, gather


@dataclass(frozen=True, slots=True)
class AuditedReference:
    """One protected reference, what it loads, and all that is wrong with that."""

    held: Held
    findings: tuple[Finding, ...]

    def to_dict(self) -> dict[str, Any]:
        """The reference as JSON values."""
        version = self.held.version
        contract = None if version is None else version.contract
        return {
            "reference": str(self.held.reference),
            "label": self.held.reference.label,
            "version": None if version is None else version.key.version,
            "digest": "" if contract is None else contract.digest,
            "allowed": is_fine(self.findings),
            "findings": [finding.to_dict() for finding in self.findings],
        }


@dataclass(frozen=True, slots=True)
class AuditedModel:
    """One model: its references, what is wrong with its other rows, and the label to go on after."""

    model: str
    references: tuple[AuditedReference, ...]
    findings: tuple[Finding, ...]
    next: str | None

    def to_dict(self) -> dict[str, Any]:
        """The model as JSON values."""
        return {
            "model": self.model,
            "references": [reference.to_dict() for reference in self.references],
            "findings": [finding.to_dict() for finding in self.findings],
            "next": self.next,
        }


@dataclass(frozen=True, slots=True)
class _Desk:
    """What lies before the auditor. `strict`: verdicts are kept in this registry, and one that is missing was taken.

    `past`: what is wrong with the verdicts on a reference beside what stands.
    """

    setting: Setting
    notary: sealed.Notary
    strict: bool
    reread: Mapping[str, Reread]
    pages: Mapping[VersionKey, Shown]
    known: Known
    past: Mapping[Reference, Sequence[Finding]]


def is_fine(findings: Iterable[Finding]) -> bool:
    """Whether there is nothing but warnings."""
    return all(finding.kind == "warning" for finding in findings)


def audit(
    question: Question, session: Session, workspace: str, models: Sequence[str], setting: Setting
) -> list[AuditedModel]:
    """Every guarded one of these models, in their order; each location is read once, however many versions share it."""
    found = snapshots(session, workspace, models, setting.policy, question, whole=True)
    pages, shown_of = shown(session, workspace, found), model_findings(session, workspace, models)
    told = records.history_findings(session, workspace, found)
    strict = setting.signer is not None or _adopted(session, workspace)
    reread = read_again(_versions(found))
    held = [held for each in found for held in each.held]
    known = gather(session, workspace, held, setting.policy)
    chains = chain.read_chains(session, workspace, [each.model for each in found])
    notary = sealed.Notary.of(setting, workspace)
    past = _past(session, workspace, held, chains, notary)
    desk = _Desk(setting, notary, strict, reread, pages, known, past)
    return [
        AuditedModel(
            each.model,
            tuple(AuditedReference(held, tuple(dict.fromkeys(_findings(desk, held)))) for held in each.held),
            tuple(dict.fromkeys((*told[each.model], *chains.damages.get(each.model, ()), *shown_of[each.model]))),
            each.next,
        )
        for each in found
        if told[each.model] or _is_guarded(each, setting, reread)
    ]


def _versions(found: Iterable[Snapshot]) -> list[Version]:
    return [held.version for each in found for held in each.held if held.version is not None]


def _past(
    session: Session, workspace: str, held: Sequence[Held], chains: chain.Chains, notary: sealed.Notary
) -> dict[Reference, list[Finding]]:
    """The verdicts held against the history and, the older ones, against their seals."""
    older = sealed.audit_older(session, notary, held, chains)
    for reference, finding in chain.chain_findings(session, workspace, held, chains).items():
        older.setdefault(reference, []).insert(0, finding)
    return older


def _adopted(session: Session, workspace: str) -> bool:
    """Whether this registry keeps verdicts: then one that is missing was taken away. All of them may be: the history
    tells of moves, each of which had one.
    """
    moved = select(HISTORY.c.model).where(HISTORY.c.workspace == workspace, HISTORY.c.allowed, HISTORY.c.moves != "[]")
    queries = select(VERDICTS.c.model).filter_by(workspace=workspace), moved
    return any(session.execute(query.limit(1)).first() is not None for query in queries)


def _is_guarded(snapshot: Snapshot, setting: Setting, reread: Mapping[str, Reread]) -> bool:
    """As the gate has it; what lies in the artifact store counts too: rows can be deleted."""
    if setting.policy.names(snapshot.model) or any(held.said or held.last for held in snapshot.held):
        return True
    here = [held.version for held in snapshot.held if held.version is not None]
    flavored = any(version.contract is not None and version.contract.flavored for version in here)
    return flavored or any(reread[version.location].contract.flavored for version in here)


def _findings(desk: _Desk, held: Held) -> Iterator[Finding]:
    label, version, setting = held.reference.label, held.version, desk.setting
    yield from records.verdict_findings(held, strict=desk.strict)
    yield from sealed.last_findings(held, desk.notary)
    yield from desk.past.get(held.reference, ())
    yield from (trader.damage for trader in (a.trader for a in held.fleet) if isinstance(trader, LostTrader))
    if version is None:
        return
    yield from desk.known.damaged.get(version.key, ())
    yield from findings_of(held, version, setting.policy, desk.known)
    yield from artifact_findings(label, version, desk.reread[version.location])
    if version.contract is not None and version.contract.damage is None:
        yield from notice_findings(held, version, version.contract, desk.pages[version.key])
