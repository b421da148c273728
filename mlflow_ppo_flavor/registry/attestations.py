"""Attestations: which traders reproduced a version's golden decisions, in the guard's own table."""

from __future__ import annotations

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.contract.trader import Attestation
from mlflow_ppo_flavor.registry.history import Occasion
from mlflow_ppo_flavor.registry.resolution import VersionKey
from mlflow_ppo_flavor.registry.tables import ATTESTATIONS

ATTEST_TAG = "ppo.attest"


def parse_attestation(value: object) -> Attestation:
    """The attestation in the tag's value; SpecError with its dotted path for anything else."""
    data = parsing.json_text(value, ATTEST_TAG, expected="the canonical JSON of an attestation")
    return Attestation.from_dict(data, ATTEST_TAG)


def put(
    session: Session, occasion: Occasion, key: VersionKey, origin: tuple[int, str], attestation: Attestation
) -> None:
    """Keep an attestation of the version that was created then and lies there; a trader's later one replaces it."""
    values = {
        "workspace": occasion.workspace,
        "model": key.model,
        "version": key.version,
        "trader_id": attestation.trader_id,
    }
    session.execute(delete(ATTESTATIONS).filter_by(**values))
    created, location = origin
    text = canonical_json(attestation.to_dict()).decode("utf-8")
    row = {"created": created, "location": location, "attestation": text}
    session.execute(insert(ATTESTATIONS), {**values, **row, "received_at": occasion.at, "who": occasion.who})


def count(session: Session, workspace: str, key: VersionKey, origin: tuple[int, str]) -> int:
    """How many traders attested the version that was created then and lies there."""
    created, location = origin
    query = select(func.count()).select_from(ATTESTATIONS)
    here = {"workspace": workspace, "model": key.model, "version": key.version}
    return session.execute(query.filter_by(**here, created=created, location=location)).scalar_one()


def rename(session: Session, workspace: str, name: str, new_name: str) -> None:
    """Attestations go along with a model's new name."""
    forget(session, workspace, new_name)
    here = {"workspace": workspace, "model": name}
    session.execute(update(ATTESTATIONS).filter_by(**here).values(model=new_name))


def forget(session: Session, workspace: str, name: str, version: int | None = None) -> None:
    """Drop those of a model, or of one version, that was deleted."""
    here = {"workspace": workspace, "model": name} | ({} if version is None else {"version": version})
    session.execute(delete(ATTESTATIONS).filter_by(**here))
