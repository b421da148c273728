"""Report: what the guard knows, as JSON values, for the commands, the page and traders. Reads the database alone, but
for `audit`, which reads artifacts too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from flask import current_app, has_app_context
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract.reference import PROTECTED_STAGES
from mlflow_ppo_flavor.contract.request import GUARD_MODEL, Question
from mlflow_ppo_flavor.registry import kept
from mlflow_ppo_flavor.registry.audit import audit
from mlflow_ppo_flavor.registry.candidates import SAME_VERSION
from mlflow_ppo_flavor.registry.display import proof_of
from mlflow_ppo_flavor.registry.folders import freezes
from mlflow_ppo_flavor.registry.mlflow_tables import ALIASES, MODELS, STAGE_DELETED, VERSIONS
from mlflow_ppo_flavor.registry.policy import Policy
from mlflow_ppo_flavor.registry.rejudging import Judged, judge_held
from mlflow_ppo_flavor.registry.setting import Setting
from mlflow_ppo_flavor.registry.snapshot import Held, Ruled, Said, Snapshot, Version, chunks, snapshots
from mlflow_ppo_flavor.registry.tables import ANNOUNCEMENTS, CONTRACTS, HISTORY, VERDICTS
from mlflow_ppo_flavor.version import VERSION

Report = dict[str, Any]
# rows of the history looked through at once for those of one reference
_LOOKED_THROUGH = 500


def names(report: str, session: Session, workspace: str, policy: Policy) -> list[str]:
    """The models that have something to say in a report, sorted.

    A history may be that of a model that isn't guarded: what was refused there, while nobody could tell. An audit
    doesn't believe the guard's own rows alone: it is asked of every model with a history, and of every one that a
    trader could load by a stage or a protected alias.
    """
    if report == "guard":
        return [GUARD_MODEL]
    found = _with_rows(session, workspace, HISTORY) if report in ("history", "audit") else set()
    if report != "history":
        found |= _guarded(session, workspace, policy)
    if report == "audit":
        found |= _loadable(session, workspace, policy)
    return sorted(found)


def report(
    question: Question, session: Session, workspace: str, models: Sequence[str], *, setting: Setting
) -> dict[str, Report]:
    """The answers to one question, {model: report}: any number of models in few queries, in a session that reads.

    `guard` is answered for GUARD_MODEL alone. The formats are those of docs/protocol.md.
    """
    if question.report == "guard":
        return {GUARD_MODEL: _guard(session, workspace, setting)}
    return _REPORTS[question.report](question, session, workspace, models, setting)


def _guard(session: Session, workspace: str, setting: Setting) -> Report:
    """What this server is set to, and how much of it is known."""
    verdicts = select(VERDICTS.c.model).where(VERDICTS.c.workspace == workspace).limit(1)
    return {
        "guarded": True,
        "version": VERSION,
        "registry_id": setting.registry_id,
        "public_key": None if setting.signer is None else setting.signer.public.pem,
        "policy": setting.policy.to_dict(),
        "database": setting.database,
        "artifacts": "frozen" if freezes() else "not frozen",
        "page": _has_page(),
        "unread": unread(session, workspace),
        "adopted": session.execute(verdicts).first() is not None,
    }


def unread(session: Session, workspace: str) -> int:
    """How many versions the guard hasn't read the contract of."""
    v, c = VERSIONS.c, CONTRACTS.c
    query = select(func.count()).select_from(VERSIONS.outerjoin(CONTRACTS, SAME_VERSION))
    here = (v.workspace == workspace, v.current_stage != STAGE_DELETED, c.version.is_(None))
    return session.execute(query.where(*here)).scalar_one()


def _has_page() -> bool:
    return has_app_context() and any(str(rule).startswith("/ppo/") for rule in current_app.url_map.iter_rules())


def _standing(
    question: Question, session: Session, workspace: str, models: Sequence[str], setting: Setting
) -> dict[str, Report]:
    """References × versions × traders, judged now."""
    found = snapshots(session, workspace, models, setting.policy, question)
    return {each.model: _stands(each, setting.policy) for each in found}


def _stands(snapshot: Snapshot, policy: Policy) -> Report:
    shown = {held.version.key.version: held.version for held in snapshot.held if held.version is not None}
    shown |= {version.key.version: version for version in snapshot.newest}
    return {
        "model": snapshot.model,
        "references": [_reference(held, snapshot.newest, policy) for held in snapshot.held],
        "versions": [_version(shown[number]) for number in sorted(shown, reverse=True)],
        "next": snapshot.next,
    }


def _reference(held: Held, newest: Sequence[Version], policy: Policy) -> Report:
    present = [] if held.version is None else [held.version]
    others = [version for version in newest if version not in present]
    return {
        "reference": str(held.reference),
        "label": held.reference.label,
        "mode": policy.terms(held.reference).mode,
        "version": None if held.version is None else held.version.key.version,
        "cells": [_cell(v, judged) for v in [*present, *others] for judged in judge_held(held, v, policy)],
        "traders": [_trader(said) for said in held.said],
        "verdict": None if held.last is None else _verdict(held.last),
    }


def _cell(version: Version, judged: Judged) -> Report:
    return {
        "version": version.key.version,
        "stage": version.stage,
        "trader_id": judged.trader.trader_id,
        "trader_version": judged.trader.version,
        "paper": judged.trader.paper,
        "default": judged.default,
        "allowed": judged.verdict.allowed,
        "findings": [finding.to_dict() for finding in judged.verdict.findings],
    }


def _trader(said: Said) -> Report:
    trader = said.announcement.trader
    return {
        "trader_id": trader.trader_id,
        "version": trader.version,
        "paper": trader.paper,
        "announced_at": said.announcement.announced_at,
        "received_at": iso(said.received_at),
        "owner": said.owner,
    }


def _version(version: Version) -> Report:
    contract = version.contract
    spec = None if contract is None else contract.spec
    return {
        "version": version.key.version,
        "stage": version.stage,
        "spec": None if spec is None else spec.label,
        "requires_trader": None if spec is None else spec.requires_trader,
        "digest": "" if contract is None else contract.digest,
        "proof": "" if contract is None or spec is None else proof_of(contract),
        "reason": "not read yet" if contract is None else contract.reason,
    }


def _verdict(last: Ruled) -> Report:
    seal = None if last.seal is None else kept.seal(last.seal)
    signed = seal if isinstance(seal, dict) else None
    return {
        "sequence": last.sequence,
        "version": last.version,
        "digest": last.digest,
        "at": iso(last.at),
        "sealed": signed is not None,
        "key_id": None if signed is None else signed.get("key_id"),
    }


def _history(
    question: Question, session: Session, workspace: str, models: Sequence[str], _: Setting
) -> dict[str, Report]:
    """Each model's rows, the newest first."""
    found = {}
    for model in models:
        rows, following = _rows(question, session, workspace, model)
        found[model] = {"model": model, "rows": rows, "next": following}
    return found


def _rows(question: Question, session: Session, workspace: str, model: str) -> tuple[list[Report], int | None]:
    """So many rows, and the id to go on before where others may follow."""
    query = select(HISTORY).where(HISTORY.c.workspace == workspace, HISTORY.c.model == model)
    query = query.order_by(HISTORY.c.id.desc())
    told: list[Report] = []
    before = question.before
    most = question.limit if question.reference is None else _LOOKED_THROUGH
    while True:
        page = query if before is None else query.where(HISTORY.c.id < before)
        rows = [dict(row) for row in session.execute(page.limit(most)).mappings()]
        for row in rows:
            before = row["id"]
            read = _row(row)
            if question.reference is None or question.reference in _labels(read):
                told.append(read)
            if len(told) == question.limit:
                return told, before
        if len(rows) < most:
            return told, None


def _row(row: Mapping[str, Any]) -> Report:
    told = {key: row[key] for key in ("id", "who", "model", "allowed", "fact")}
    return {**told, "at": iso(row["at"]), **kept.told_entry(row)}


def _labels(row: Report) -> set[str]:
    """The labels of this model's references that a row of the history speaks of."""
    model, operation = row["model"], row["operation"]
    moved = {str(move["reference"]).removeprefix(model).removeprefix("/") for move in row["moves"]}
    alias = operation.get("alias")
    named = {operation.get("reference"), operation.get("label"), operation.get("stage"), alias and f"@{alias}"}
    return moved | {label for label in named if label} | set(operation.get("references", ()))


def _verdicts(
    question: Question, session: Session, workspace: str, models: Sequence[str], _: Setting
) -> dict[str, Report]:
    """{label: seal} of the last verdicts: what each reference is to load."""
    found: dict[str, Report] = {model: {} for model in models}
    for part in chunks(models):
        for model, label, seal in session.execute(last_seals(workspace, part, question.reference)):
            if seal is not None:
                found[model][label] = kept.seal(seal)
    return found


def last_seals(workspace: str, names: Sequence[str], label: str | None) -> Any:
    """The query of (model, label, seal) of each reference's last verdict."""
    table = VERDICTS.c
    here = [table.workspace == workspace, table.model.in_(names), *([table.label == label] if label else [])]
    top = select(table.model, table.label, func.max(table.sequence).label("top"))
    last = top.where(*here).group_by(table.model, table.label).subquery()
    same = (table.model == last.c.model) & (table.label == last.c.label) & (table.sequence == last.c.top)
    return select(table.model, table.label, table.seal).join(last, same).where(table.workspace == workspace)


def _audit(
    question: Question, session: Session, workspace: str, models: Sequence[str], setting: Setting
) -> dict[str, Report]:
    """What is wrong with what stands: judged again, read again, its verdicts and seals checked."""
    return {found.model: found.to_dict() for found in audit(question, session, workspace, models, setting)}


_REPORTS: Mapping[str, Callable[..., dict[str, Report]]] = {
    "history": _history,
    "standing": _standing,
    "audit": _audit,
    "verdict": _verdicts,
}


def _with_rows(session: Session, workspace: str, table: Any) -> set[str]:
    query = select(table.c.model).where(table.c.workspace == workspace).distinct()
    return set(session.execute(query).scalars())


def _guarded(session: Session, workspace: str, policy: Policy) -> set[str]:
    """Guarded models: of the flavor, announced for, ruled on, or named by the policy."""
    flavored = select(CONTRACTS.c.model).where(CONTRACTS.c.workspace == workspace, CONTRACTS.c.flavored).distinct()
    found = set(session.execute(flavored).scalars())
    for table in (ANNOUNCEMENTS, VERDICTS):
        found |= _with_rows(session, workspace, table)
    registered = session.execute(select(MODELS.c.name).where(MODELS.c.workspace == workspace)).scalars()
    return found | {model for model in registered if policy.names(model)}


def _loadable(session: Session, workspace: str, policy: Policy) -> set[str]:
    """Models with a version in a protected stage, or with a protected alias."""
    v, alias = VERSIONS.c, ALIASES.c
    staged = select(v.name).where(v.workspace == workspace, v.current_stage.in_(PROTECTED_STAGES)).distinct()
    aliased = select(alias.name).where(alias.workspace == workspace, alias.alias.in_(policy.protected_aliases))
    return set(session.execute(staged).scalars()) | set(session.execute(aliased).scalars())


def iso(milliseconds: int) -> str:
    """A time of the database (ms since 1970) as ISO 8601 with zone."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
