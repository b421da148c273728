"""Approvals: which users let a version into a reference, in the guard's own table."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.registry.candidates import Origin
from mlflow_ppo_flavor.registry.history import Occasion
from mlflow_ppo_flavor.registry.tables import APPROVALS


def put(session: Session, occasion: Occasion, reference: Reference, origin: Origin, digest: str) -> None:
    """Keep the asking user's approval of a version with this digest; a later one replaces it."""
    key = {**_of(occasion.workspace, reference, origin.key.version), "who": occasion.who}
    session.execute(delete(APPROVALS).filter_by(**key))
    bound = {"created": origin.created, "location": origin.location, "digest": digest}
    session.execute(insert(APPROVALS), {**key, **bound, "at": occasion.at})


def approvers(session: Session, workspace: str, reference: Reference, origin: Origin, digest: str) -> frozenset[str]:
    """The users who approved that this very version, with this digest, enters a reference."""
    query = select(APPROVALS.c.who).filter_by(**_of(workspace, reference, origin.key.version))
    query = query.filter_by(created=origin.created, location=origin.location, digest=digest)
    return frozenset(session.execute(query).scalars())


def use(session: Session, workspace: str, reference: Reference, version: int) -> None:
    """Drop those of a version that has entered a reference: each lets it in once."""
    session.execute(delete(APPROVALS).filter_by(**_of(workspace, reference, version)))


def forget(session: Session, workspace: str, model: str, version: int | None = None) -> None:
    """Drop those of a model that was deleted or renamed, or of one version that was deleted."""
    here = {"workspace": workspace, "model": model} | ({} if version is None else {"version": version})
    session.execute(delete(APPROVALS).filter_by(**here))


def _of(workspace: str, reference: Reference, version: int) -> dict[str, Any]:
    return {"workspace": workspace, "model": reference.model, "label": reference.label, "version": version}
