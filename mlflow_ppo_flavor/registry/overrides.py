"""Overrides: a user's word that a version may enter a reference once, in the guard's own table; none is deleted."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import case, insert, select, update
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.request import OverrideRequest
from mlflow_ppo_flavor.registry.candidates import Origin
from mlflow_ppo_flavor.registry.evidence import UNAUTHENTICATED, Override
from mlflow_ppo_flavor.registry.history import Occasion
from mlflow_ppo_flavor.registry.tables import OVERRIDES


def put(
    session: Session, occasion: Occasion, reference: Reference, origin: Origin, digest: str, asked: OverrideRequest
) -> None:
    """Keep the asking user's override of a version with this digest."""
    row = {
        "workspace": occasion.workspace,
        "model": reference.model,
        "label": reference.label,
        "version": origin.key.version,
        "created": origin.created,
        "location": origin.location,
        "digest": digest,
        "who": occasion.who,
        "reason": asked.reason,
        "at": occasion.at,
        "expires_at": occasion.at + asked.expires_seconds * 1000,
    }
    session.execute(insert(OVERRIDES), row)


def find(session: Session, occasion: Occasion, reference: Reference, origin: Origin, digest: str) -> Override | None:
    """The newest override of this very version, with this digest, that is neither used nor expired.

    Another user's goes first, whatever the requester gave: it covers all that the requester's own does, and approvals.
    """
    query = select(OVERRIDES.c.id, OVERRIDES.c.who, OVERRIDES.c.reason, OVERRIDES.c.expires_at).filter_by(
        workspace=occasion.workspace,
        model=reference.model,
        label=reference.label,
        version=origin.key.version,
        created=origin.created,
        location=origin.location,
        digest=digest,
    )
    alive = (OVERRIDES.c.used_at.is_(None), OVERRIDES.c.expires_at > occasion.at)
    own = case((OVERRIDES.c.who.in_((occasion.who, UNAUTHENTICATED)), 1), else_=0)
    found = session.execute(query.where(*alive).order_by(own, OVERRIDES.c.id.desc()).limit(1)).first()
    return None if found is None else Override(*found)


def use(session: Session, occasion: Occasion, ids: Sequence[int]) -> None:
    """Mark those that an operation used: each serves once."""
    session.execute(update(OVERRIDES).where(OVERRIDES.c.id.in_(ids)).values(used_at=occasion.at))
