"""Candidates: registered versions with the contracts that were read of them, kept in the guard's own table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, bindparam, delete, func, insert, select, update
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.registry import kept
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.mlflow_tables import LOCATION, STAGE_DELETED, VERSIONS
from mlflow_ppo_flavor.registry.resolution import VersionKey
from mlflow_ppo_flavor.registry.tables import ATTESTATIONS, CONTRACTS


@dataclass(frozen=True, slots=True)
class Origin:
    """A registered version; `created` (ms) and `location` tell it from another that had its name and number."""

    key: VersionKey
    created: int
    location: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A registered version, what its page says, by how many traders it is attested, and its contract once it is read.

    `run_id`: the run that made it, empty where MLflow knows none.
    """

    origin: Origin
    description: str | None
    run_id: str
    attested: int
    contract: Contract | None


def candidates(
    session: Session, workspace: str, keys: Collection[VersionKey], *, bound: bool = False
) -> dict[VersionKey, Candidate]:
    """These versions; one that isn't registered is missing. `bound`: with contracts that their digests bind alone, for
    what is ruled on (`_bound`).
    """
    if not keys:
        return {}
    names, numbers = {key.model for key in keys}, {key.version for key in keys}
    given = {"workspace": workspace, "names": sorted(names), "versions": sorted(numbers)}
    query, read = (_BOUND, _bound) if bound else (_CANDIDATES, _contract)
    found = (_candidate(row, read) for row in session.execute(query, given).mappings())
    return {each.origin.key: each for each in found if each.origin.key in keys}


def unread(session: Session, workspace: str, names: Sequence[str], most: int) -> list[Origin]:
    """The newest versions of these models whose contracts haven't been read."""
    query = select(_V.name, _V.version, func.coalesce(_V.creation_time, 0), LOCATION).where(
        _V.workspace == workspace, _V.name.in_(names), _V.current_stage != STAGE_DELETED, CONTRACTS.c.version.is_(None)
    )
    query = query.select_from(VERSIONS.outerjoin(CONTRACTS, SAME_VERSION)).order_by(_V.version.desc()).limit(most)
    return [Origin(VersionKey(name, v), created, location) for name, v, created, location in session.execute(query)]


def is_flavored(session: Session, workspace: str, model: str) -> bool:
    """Whether any version of a model, deleted or not, is known to have the ppo flavor."""
    query = select(CONTRACTS.c.version).where(*_of(workspace, model), CONTRACTS.c.flavored.is_(True)).limit(1)
    return session.execute(query).first() is not None


def keep(session: Session, workspace: str, origin: Origin, contract: Contract) -> None:
    """Keep what was read, in place of what an earlier version of that number left. A version whose row has no flavors
    keeps the digest that it was registered with: where another lies there by now, the row binds no contract any more.
    """
    key = {"workspace": workspace, "model": origin.key.model, "version": origin.key.version}
    this = {**key, "created": origin.created, "location": origin.location}
    older = select(CONTRACTS.c.digest).filter_by(**this, flavors="").where(CONTRACTS.c.spec.is_not(None))
    digest = session.execute(older).scalar()
    if digest and digest != contract.digest:
        session.execute(update(CONTRACTS).filter_by(**this).values(flavors=contract.flavors or "{}"))
        return
    session.execute(delete(CONTRACTS).filter_by(**key))
    values = {"created": origin.created, "location": origin.location, **_row(contract)}
    session.execute(insert(CONTRACTS), {**key, **values})


def rename(session: Session, workspace: str, name: str, new_name: str) -> None:
    """Contracts go along with a model's new name."""
    forget(session, workspace, new_name)
    session.execute(update(CONTRACTS).where(*_of(workspace, name)).values(model=new_name))


def forget(session: Session, workspace: str, name: str) -> None:
    """Drop those of a model that was deleted. A deleted version's stays: it still says that its model is guarded."""
    session.execute(delete(CONTRACTS).where(*_of(workspace, name)))


def _of(workspace: str, model: str) -> tuple[Any, Any]:
    return CONTRACTS.c.workspace == workspace, CONTRACTS.c.model == model


_V = VERSIONS.c
_CREATED: Any = func.coalesce(_V.creation_time, 0)
SAME_VERSION = and_(
    CONTRACTS.c.workspace == _V.workspace,
    CONTRACTS.c.model == _V.name,
    CONTRACTS.c.version == _V.version,
    CONTRACTS.c.created == _CREATED,
    CONTRACTS.c.location == LOCATION,
)
ATTESTED = (
    select(func.count())
    .where(
        ATTESTATIONS.c.workspace == _V.workspace,
        ATTESTATIONS.c.model == _V.name,
        ATTESTATIONS.c.version == _V.version,
        ATTESTATIONS.c.created == _CREATED,
        ATTESTATIONS.c.location == LOCATION,
    )
    .correlate(VERSIONS)
    .scalar_subquery()
)
# what a ruling needs of a contract: its flavors are large
_READ = ("flavored", "spec", "digest", "golden", "reason", "vouched", "root")
_KEPT = (*_READ, "mlmodel", "flavors", "beside")


def _query(*more: str) -> Select[Any]:
    own = (_V.name, _V.version, _CREATED.label("created"), LOCATION.label("location"), _V.description, _V.run_id)
    read = [CONTRACTS.c[name] for name in (*_READ, *more)]
    query = select(*own, ATTESTED.label("attested"), CONTRACTS.c.model.label("kept"), *read)
    query = query.select_from(VERSIONS.outerjoin(CONTRACTS, SAME_VERSION))
    return query.where(
        _V.workspace == bindparam("workspace"),
        _V.name.in_(bindparam("names", expanding=True)),
        _V.version.in_(bindparam("versions", expanding=True)),
        _V.current_stage != STAGE_DELETED,
    )


_CANDIDATES, _BOUND = _query(), _query("flavors")


def _candidate(row: Any, read: Callable[[Any], Contract | None]) -> Candidate:
    origin = Origin(VersionKey(row["name"], row["version"]), row["created"], row["location"])
    contract = None if row["kept"] is None else read(row)
    return Candidate(origin, row["description"], row["run_id"] or "", row["attested"], contract)


def _row(contract: Contract) -> dict[str, Any]:
    spec = None if contract.spec is None else canonical_json(contract.spec.to_dict()).decode("utf-8")
    return {name: getattr(contract, name) for name in _KEPT} | {"spec": spec}


def _bound(row: Any) -> Contract | None:
    """The contract in a row, held against the flavors that its digest was made from; None where an older row has none:
    it has to be read again.
    """
    contract, flavors = _contract(row), row["flavors"]
    if contract.spec is None:
        return contract
    return kept.bound(row["name"], row["version"], contract, flavors) if flavors else None


def _contract(row: Any) -> Contract:
    read = {name: row[name] for name in _READ if name != "spec"}
    return kept.contract(row["name"], row["version"], row["spec"], read)
