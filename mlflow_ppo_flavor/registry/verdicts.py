"""Verdicts: what each protected reference has been allowed to load, in order, in the guard's own append-only table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import and_, func, insert, select
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.seal import SealedVerdict
from mlflow_ppo_flavor.registry import chain, sealed
from mlflow_ppo_flavor.registry.candidates import Origin
from mlflow_ppo_flavor.registry.history import Occasion
from mlflow_ppo_flavor.registry.mlflow_tables import STAGE_DELETED, VERSIONS
from mlflow_ppo_flavor.registry.retreat import Ran
from mlflow_ppo_flavor.registry.setting import Setting
from mlflow_ppo_flavor.registry.tables import VERDICTS

_SAME_VERSION = and_(
    VERSIONS.c.workspace == VERDICTS.c.workspace,
    VERSIONS.c.name == VERDICTS.c.model,
    VERSIONS.c.version == VERDICTS.c.version,
    func.coalesce(VERSIONS.c.creation_time, 0) == VERDICTS.c.created,
    VERSIONS.c.current_stage != STAGE_DELETED,
)


@dataclass(frozen=True, slots=True)
class Loading:
    """What a reference loads from now on: a version with a digest, or nothing."""

    reference: Reference
    origin: Origin | None = None
    digest: str = ""


def append(
    session: Session,
    occasion: Occasion,
    setting: Setting,
    loadings: Sequence[Loading],
    sequences: Mapping[Reference, int],
) -> None:
    """A row for each, the next in its reference's sequence, sealed where the setting has a key.

    `sequences`: the last of each reference, read in this transaction.
    """
    rows = [_row(occasion, setting, loading, sequences.get(loading.reference, 0) + 1) for loading in loadings]
    if rows:
        session.execute(insert(VERDICTS), rows)


def ran(session: Session, workspace: str, reference: Reference, setting: Setting) -> list[Ran]:
    """What a reference was allowed to load, the oldest first. A later version of the same number isn't what ran; nor,
    where there is a key, is what a row says that contradicts its seal, or that neither seal nor history vouch for.
    """
    table = VERDICTS.c
    query = select(table.sequence, table.version, table.digest, table.at, table.seal, VERSIONS.c.version.is_(None))
    query = query.select_from(VERDICTS.outerjoin(VERSIONS, _SAME_VERSION)).where(
        VERDICTS.c.workspace == workspace,
        VERDICTS.c.model == reference.model,
        VERDICTS.c.label == reference.label,
    )
    found = session.execute(query.order_by(VERDICTS.c.sequence)).all()
    doubts = _doubts(session, workspace, reference, setting, [sealed.Row(*row[:-1]) for row in found])
    return [
        Ran(row.version, row.digest, gone=row.version is not None and bool(row[-1]), doubt=doubts.get(row.sequence))
        for row in found
    ]


def _doubts(
    session: Session, workspace: str, reference: Reference, setting: Setting, rows: Sequence[sealed.Row]
) -> dict[int, Finding]:
    """{sequence: why its row isn't believed}, the first reason of each."""
    if setting.signer is None:
        return {}
    told = chain.read_chains(session, workspace, [reference.model]).of(reference)
    wrong = sealed.older_findings(reference, rows, sealed.Notary.of(setting, workspace), told)
    return {row.sequence: replace(finding, kind="safety") for row, finding in reversed(list(wrong))}


def _row(occasion: Occasion, setting: Setting, loading: Loading, sequence: int) -> dict[str, Any]:
    origin, reference = loading.origin, loading.reference
    return {
        "workspace": occasion.workspace,
        "model": reference.model,
        "label": reference.label,
        "sequence": sequence,
        "version": None if origin is None else origin.key.version,
        "created": 0 if origin is None else origin.created,
        "location": "" if origin is None else origin.location,
        "digest": loading.digest,
        "at": occasion.at,
        "seal": _seal(occasion, setting, loading, sequence),
    }


def _seal(occasion: Occasion, setting: Setting, loading: Loading, sequence: int) -> str | None:
    if setting.signer is None or loading.origin is None:
        return None
    verdict = SealedVerdict(
        registry=setting.registry_id,
        workspace=occasion.workspace,
        model=loading.reference.model,
        label=loading.reference.label,
        version=loading.origin.key.version,
        digest=loading.digest,
        sequence=sequence,
        at=datetime.fromtimestamp(occasion.at / 1000, UTC).isoformat(timespec="milliseconds"),
    )
    return canonical_json(setting.signer.seal(verdict).to_dict()).decode("utf-8")
