"""The registry as it stands: what resolution and the gate need of a few models, in one query of the transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, bindparam, exists, func, literal_column, select, union_all
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract.reference import PROTECTED_STAGES, Reference
from mlflow_ppo_flavor.contract.trader import Announcement
from mlflow_ppo_flavor.registry import fleet
from mlflow_ppo_flavor.registry.mlflow_tables import ALIASES, MODELS, STAGE_DELETED, VERSIONS
from mlflow_ppo_flavor.registry.resolution import Models, RegisteredModel
from mlflow_ppo_flavor.registry.tables import ANNOUNCEMENTS, APPROVALS, CONTRACTS, VERDICTS


@dataclass(frozen=True, slots=True)
class Standing:
    """Registered models with their versions in protected stages and those named, and all their aliases; who announced.

    `flavored`: a version of one of them, deleted or not, is known to have the ppo flavor. `sequences`: the last verdict
    of each reference. `approved`: the references and versions that somebody approved of.
    """

    models: Models
    fleet: tuple[Announcement, ...] = ()
    flavored: bool = False
    sequences: Mapping[Reference, int] = field(default_factory=dict)
    approved: frozenset[tuple[Reference, int]] = frozenset()


def read_standing(session: Session, workspace: str, names: Sequence[str], versions: Sequence[int] = ()) -> Standing:
    """The standing of these models in a workspace; `versions`: also of these numbers, whatever stage they are in."""
    given = {"workspace": workspace, "names": list(names), "versions": list(versions)}
    rows: dict[str, list[tuple[str, str, int]]] = {}
    for kind, name, label, number in session.execute(_STANDING, given):
        rows.setdefault(kind, []).append((name, label, number))
    stages = _grouped((name, (number, stage)) for name, stage, number in rows.get("version", ()))
    aliases = _grouped((name, (alias, number)) for name, alias, number in rows.get("alias", ()))
    missing = _grouped((name, (number, None)) for name, _, number in rows.get("missing", ()))
    registered = sorted(name for name, _, _ in rows.get("model", ()))
    return Standing(
        models={
            name: RegisteredModel(name, stages.get(name, {}), aliases.get(name, {}), frozenset(missing.get(name, ())))
            for name in registered
        },
        fleet=fleet.read_fleet(session, workspace, names, [text for _, text, _ in rows.get("announced", ())]),
        flavored="flavored" in rows,
        sequences={Reference(name, label): number for name, label, number in rows.get("sequence", ())},
        approved=frozenset((Reference(name, label), number) for name, label, number in rows.get("approved", ())),
    )


def next_version(session: Session, workspace: str, name: str) -> int:
    """The number that MLflow gives the next version of a model: those of deleted versions don't come back."""
    highest = select(func.max(_V.version)).where(_V.workspace == workspace, _V.name == name)
    return (session.execute(highest).scalar() or 0) + 1


def _grouped(pairs: Any) -> dict[str, dict[Any, Any]]:
    found: dict[str, dict[Any, Any]] = {}
    for name, (key, value) in pairs:
        found.setdefault(name, {})[key] = value
    return found


# A statement costs more than its rows: this is one, made once. Its rows: kind, model, text, number.
_WORKSPACE: Any = bindparam("workspace")
_NAMES: Any = bindparam("names", expanding=True)
_NUMBERS: Any = bindparam("versions", expanding=True)
_NO_TEXT: Any = literal_column("''")
_NO_NUMBER: Any = literal_column("0")


def _rows(kind: str, name: Any, text: Any, number: Any, *where: Any) -> Select[Any]:
    return select(literal_column(f"'{kind}'").label("kind"), name, text, number).where(*where)


def _here(table: Any, name: str) -> tuple[Any, Any]:
    return table.workspace == _WORKSPACE, table[name].in_(_NAMES)


_V, _A, _M, _VERDICT = VERSIONS.c, ALIASES.c, MODELS.c, VERDICTS.c
_IN_STAGE = _V.current_stage.in_(PROTECTED_STAGES)
_THERE = exists().where(
    _V.workspace == _A.workspace, _V.name == _A.name, _V.version == _A.version, _V.current_stage != STAGE_DELETED
)
_FLAVORED = exists().where(
    CONTRACTS.c.workspace == _M.workspace, CONTRACTS.c.model == _M.name, CONTRACTS.c.flavored.is_(True)
)
_STANDING = union_all(
    _rows("model", _M.name, _NO_TEXT, _NO_NUMBER, *_here(_M, "name")),
    # MLflow has no index on the stage: what most rows fail comes first, and versions that are named are found by key
    _rows("version", _V.name, _V.current_stage, _V.version, _IN_STAGE, *_here(_V, "name")),
    _rows(
        "version",
        _V.name,
        _V.current_stage,
        _V.version,
        *_here(_V, "name"),
        _V.version.in_(_NUMBERS),
        _V.current_stage.not_in((*PROTECTED_STAGES, STAGE_DELETED)),
    ),
    _rows("alias", _A.name, _A.alias, _A.version, *_here(_A, "name")),
    _rows("missing", _A.name, _A.alias, _A.version, *_here(_A, "name"), ~_THERE),
    _rows(
        "announced", ANNOUNCEMENTS.c.model, ANNOUNCEMENTS.c.announcement, _NO_NUMBER, *_here(ANNOUNCEMENTS.c, "model")
    ),
    _rows("flavored", _M.name, _NO_TEXT, _NO_NUMBER, *_here(_M, "name"), _FLAVORED),
    _rows("sequence", _VERDICT.model, _VERDICT.label, func.max(_VERDICT.sequence), *_here(_VERDICT, "model")).group_by(
        _VERDICT.model, _VERDICT.label
    ),
    _rows("approved", APPROVALS.c.model, APPROVALS.c.label, APPROVALS.c.version, *_here(APPROVALS.c, "model")),
)
