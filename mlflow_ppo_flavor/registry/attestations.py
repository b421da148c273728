"""Attestations: which traders reproduced a version's golden decisions, in the guard's own table."""

from __future__ import annotations

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.contract.trader import Attestation
from mlflow_ppo_flavor.registry import kept
from mlflow_ppo_flavor.registry.candidates import Origin
from mlflow_ppo_flavor.registry.history import Occasion
from mlflow_ppo_flavor.registry.policy import Policy
from mlflow_ppo_flavor.registry.tables import ATTESTATIONS

ATTEST_TAG = "ppo.attest"


def parse_attestation(value: object) -> Attestation:
    """The attestation in the tag's value; SpecError with its dotted path for anything else."""
    data = parsing.json_text(value, ATTEST_TAG, expected="the canonical JSON of an attestation")
    return Attestation.from_dict(data, ATTEST_TAG)


def put(session: Session, occasion: Occasion, origin: Origin, attestation: Attestation) -> None:
    """Keep an attestation of a version; a trader's later one replaces it."""
    values = {
        "workspace": occasion.workspace,
        "model": origin.key.model,
        "version": origin.key.version,
        "trader_id": attestation.trader_id,
    }
    session.execute(delete(ATTESTATIONS).filter_by(**values))
    text = canonical_json(attestation.to_dict()).decode("utf-8")
    row = {"created": origin.created, "location": origin.location, "attestation": text}
    session.execute(insert(ATTESTATIONS), {**values, **row, "received_at": occasion.at, "who": occasion.who})


def trader_versions(session: Session, workspace: str, origin: Origin, digest: str, policy: Policy) -> frozenset[str]:
    """The versions of the traders that attested this very version, with this digest, and that the policy lists today;
    one that can't be read is none.
    """
    here = {"workspace": workspace, "model": origin.key.model, "version": origin.key.version}
    query = select(ATTESTATIONS).filter_by(**here, created=origin.created, location=origin.location)
    told = map(kept.attestation, session.execute(query).mappings())
    return frozenset(
        each.trader_version
        for each in told
        if isinstance(each, Attestation) and each.digest == digest and policy.lets_announce(each.trader_id)
    )


def rename(session: Session, workspace: str, name: str, new_name: str) -> None:
    """Attestations go along with a model's new name."""
    forget(session, workspace, new_name)
    here = {"workspace": workspace, "model": name}
    session.execute(update(ATTESTATIONS).filter_by(**here).values(model=new_name))


def forget(session: Session, workspace: str, name: str, version: int | None = None) -> None:
    """Drop those of a model, or of one version, that was deleted."""
    here = {"workspace": workspace, "model": name} | ({} if version is None else {"version": version})
    session.execute(delete(ATTESTATIONS).filter_by(**here))
