"""The append-only history: what was asked of protected references, by whom, and what the gate said."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import current_app, g, has_request_context
from sqlalchemy import insert
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.contract.trader import Announcement, Attestation
from mlflow_ppo_flavor.registry.evidence import UNAUTHENTICATED
from mlflow_ppo_flavor.registry.gate import Contracts, Ruling
from mlflow_ppo_flavor.registry.judgement import Fleet
from mlflow_ppo_flavor.registry.tables import HISTORY


@dataclass(frozen=True, slots=True)
class Occasion:
    """When (ms since 1970), in which workspace and by whom an operation was asked for; the store supplies all three."""

    at: int
    workspace: str
    who: str


def record(
    session: Session,
    occasion: Occasion,
    model: str,
    operation: Mapping[str, Any],
    ruling: Ruling,
    fleet: Fleet,
    contracts: Contracts,
) -> None:
    """Append one row, within the transaction of the operation that it tells of."""
    digests = {f"{key.model}/{key.version}": contract.digest for key, contract in contracts.items()}
    row = {
        "at": occasion.at,
        "workspace": occasion.workspace,
        "who": occasion.who,
        "model": model,
        "operation": _json(dict(operation)),
        "allowed": ruling.allowed,
        "fact": ruling.fact,
        "moves": _json([move.to_dict() for move in ruling.moves]),
        "fleet": _json([told(a) for a in fleet]),
        "findings": _json([finding.to_dict() for finding in ruling.verdict.findings]),
        "digests": _json(digests),
    }
    session.execute(insert(HISTORY), row)


def told(announcement: Announcement) -> dict[str, Any]:
    """An announced trader in short, without the features that it listed."""
    trader = announcement.trader
    return {
        "reference": announcement.reference.label,
        "trader_id": trader.trader_id,
        "version": trader.version,
        "paper": trader.paper,
    }


def attested(attestation: Attestation) -> dict[str, Any]:
    """An attestation in short, without the package versions."""
    kept = ("trader_id", "trader_version", "digest", "attested_at")
    return {name: getattr(attestation, name) for name in kept}


def requester() -> str:
    """The user of the request in hand whom MLflow's basic-auth has authenticated, else `unauthenticated`.

    MLflow says so itself: what a client writes into a request's headers proves nothing on a server without basic-auth.
    """
    found = g.get("mlflow_authenticated_user") if has_request_context() else None
    return found if isinstance(found, str) and found else UNAUTHENTICATED


def is_admin() -> bool:
    """Whether the request in hand is an administrator's, as MLflow's basic-auth knows them."""
    auth = sys.modules.get("mlflow.server.auth")
    if auth is None or requester() == UNAUTHENTICATED:
        return False
    # loaded isn't asked: the application in hand must be one before which it checks who asks
    checks = current_app.before_request_funcs.get(None, ())
    return auth._before_request in checks and bool(auth.sender_is_admin())  # noqa: SLF001 what MLflow registers


def _json(value: Any) -> str:
    return canonical_json(value).decode("utf-8")
