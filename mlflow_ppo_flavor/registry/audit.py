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
from mlflow_ppo_flavor.contract.keys import VerifyingKeys
from mlflow_ppo_flavor.contract.request import Question
from mlflow_ppo_flavor.registry import records
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.kept import LostTrader
from mlflow_ppo_flavor.registry.rejudging import findings_of
from mlflow_ppo_flavor.registry.reread import Reread, read_again
from mlflow_ppo_flavor.registry.resolution import VersionKey
from mlflow_ppo_flavor.registry.setting import Setting
from mlflow_ppo_flavor.registry.snapshot import Held, Snapshot, Version, snapshots
from mlflow_ppo_flavor.registry.tables import HISTORY, VERDICTS
from mlflow_ppo_flavor.registry.unmet import Known, gather

RESTORE = "register the model anew and promote that"


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
    """What lies before the auditor. `strict`: verdicts are kept in this registry, and one that is missing was taken."""

    setting: Setting
    workspace: str
    strict: bool
    reread: Mapping[str, Reread]
    shown: Mapping[VersionKey, Mapping[str, str]]
    known: Known


def is_fine(findings: Iterable[Finding]) -> bool:
    """Whether there is nothing but warnings."""
    return all(finding.kind == "warning" for finding in findings)


def audit(
    question: Question, session: Session, workspace: str, models: Sequence[str], setting: Setting
) -> list[AuditedModel]:
    """Every guarded one of these models, in their order; each location is read once, however many versions share it."""
    found = snapshots(session, workspace, models, setting.policy, question, whole=True)
    shown = records.shown_tags(session, workspace, [v.key for v in _versions(found)])
    told = records.history_findings(session, workspace, found)
    strict = setting.signer is not None or _adopted(session, workspace)
    reread = read_again(_versions(found))
    known = gather(session, workspace, (held for each in found for held in each.held), setting.policy)
    desk = _Desk(setting, workspace, strict, reread, shown, known)
    return [
        AuditedModel(
            each.model,
            tuple(AuditedReference(held, tuple(dict.fromkeys(_findings(desk, held)))) for held in each.held),
            told[each.model],
            each.next,
        )
        for each in found
        if _is_guarded(each, setting, reread)
    ]


def _versions(found: Iterable[Snapshot]) -> list[Version]:
    return [held.version for each in found for held in each.held if held.version is not None]


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
    yield from records.seal_findings(held, _keys(setting), setting.registry_id, desk.workspace)
    yield from (trader.damage for trader in (a.trader for a in held.fleet) if isinstance(trader, LostTrader))
    if version is None:
        return
    yield from desk.known.damaged.get(version.key, ())
    yield from findings_of(held, version, setting.policy, desk.known)
    yield from artifact_findings(label, version, desk.reread[version.location])
    if version.contract is not None and version.contract.damage is None:
        yield from records.tag_findings(label, version, version.contract, desk.shown.get(version.key, {}))


def _keys(setting: Setting) -> VerifyingKeys:
    return VerifyingKeys() if setting.signer is None else VerifyingKeys((setting.signer.public,))


def artifact_findings(label: str, version: Version, now: Reread) -> Iterator[Finding]:
    """How what lies in the artifact store differs from what was registered."""
    place, registered = f"{label}, version {version.key.version}", version.contract
    if not now.contract.known:
        yield Finding("unread", "safety", place, now.contract.reason, "a trader reads it there too", RESTORE)
        return
    if registered is not None and registered.known:
        yield from _contract_findings(place, registered, now.contract)
    for name, why in now.changed:
        yield Finding("file", "safety", f"{place}, {name}", why, "MLmodel lists another", RESTORE)


def _contract_findings(place: str, registered: Contract, now: Contract) -> Iterator[Finding]:
    if now.digest != registered.digest:
        found = f"digest {now.digest[:12]}…" if now.digest else now.reason
        expected = (
            f"{registered.digest[:12]}… was registered" if registered.digest else "it had none when it was registered"
        )
        yield Finding("digest", "safety", place, found, expected, RESTORE)
    elif registered.damage is None and now != registered:
        found, expected = "a contract that differs from its digest's", "the guard's own row was changed"
        yield Finding("record_changed", "safety", place, found, expected, "run mlflow-ppo reverify on the version")
