"""The registry as it stands, in MLflow's tables and the guard's own: read within the guard's transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mlflow.entities.model_registry.model_version_stages import STAGE_DELETED_INTERNAL
from mlflow.store.model_registry.dbmodels.models import (
    SqlModelVersion,
    SqlModelVersionTag,
    SqlRegisteredModel,
    SqlRegisteredModelAlias,
)
from sqlalchemy import ColumnElement, and_, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.contract.reference import PROTECTED_STAGES
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.contract.trader import Attestation
from mlflow_ppo_flavor.registry import attestations
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.display import VERDICT_TAG, describe_version, tags_of
from mlflow_ppo_flavor.registry.history import Occasion
from mlflow_ppo_flavor.registry.resolution import Models, RegisteredModel, VersionKey
from mlflow_ppo_flavor.registry.tables import CONTRACTS

# MLflow's tables, without its objects: they carry no types, and its objects double a query's time
_VERSIONS: Any = SqlModelVersion.__table__
_TAGS: Any = SqlModelVersionTag.__table__
_ALIASES: Any = SqlRegisteredModelAlias.__table__
_MODELS: Any = SqlRegisteredModel.__table__
_V, _ALIAS, _MODEL = _VERSIONS.c, _ALIASES.c, _MODELS.c
_LOCATION: Any = func.coalesce(_V.storage_location, _V.source, "")


@dataclass(frozen=True, slots=True)
class Unread:
    """A version whose contract the guard hasn't read; `created` and `location` tell it from another of that number."""

    key: VersionKey
    created: int
    location: str


class Standing:
    """One workspace's part of the registry, through one session."""

    def __init__(self, session: Session, workspace: str) -> None:
        self._session = session
        self._workspace = workspace

    def models(self, names: Sequence[str], versions: Sequence[int]) -> Models:
        """What resolution needs of the registered ones: versions in a protected stage or named, and all aliases."""
        query = select(_MODEL.name).where(_MODEL.workspace == self._workspace, _MODEL.name.in_(names))
        found = sorted(self._session.execute(query).scalars())
        query = select(_V.name, _V.version, _V.current_stage).where(
            self._versions_of(names), or_(_V.current_stage.in_(PROTECTED_STAGES), _V.version.in_(versions))
        )
        stages: dict[str, dict[int, str]] = {}
        for name, version, stage in self._session.execute(query):
            stages.setdefault(name, {})[version] = stage
        query = select(_ALIAS.name, _ALIAS.alias, _ALIAS.version).where(
            _ALIAS.workspace == self._workspace, _ALIAS.name.in_(names)
        )
        aliases: dict[str, dict[str, int]] = {}
        for name, label, version in self._session.execute(query):
            aliases.setdefault(name, {})[label] = version
        return {name: RegisteredModel(name, stages.get(name, {}), aliases.get(name, {})) for name in found}

    def contracts(self, keys: Iterable[VersionKey]) -> dict[VersionKey, Contract]:
        """The contracts of these versions; one that hasn't been read is missing."""
        found = {}
        for model, versions in _by_model(keys).items():
            query = select(CONTRACTS).join(_VERSIONS, self._same_version())
            query = query.where(self._versions_of([model]), _V.version.in_(versions))
            for row in self._session.execute(query).mappings():
                found[VersionKey(model, row["version"])] = _contract(row)
        return found

    def is_flavored(self, names: Sequence[str]) -> bool:
        """Whether any version of these models, deleted or not, is known to have the ppo flavor."""
        query = select(CONTRACTS.c.version).where(self._contracts_of(names), CONTRACTS.c.flavored)
        return self._session.execute(query.limit(1)).first() is not None

    def unread(self, names: Sequence[str], versions: Sequence[int] | None = None) -> list[Unread]:
        """The versions whose contracts haven't been read, the newest first."""
        query = select(_V.name, _V.version, _V.creation_time, _LOCATION)
        query = query.select_from(_VERSIONS.outerjoin(CONTRACTS, self._same_version()))
        query = query.where(self._versions_of(names), CONTRACTS.c.version.is_(None))
        if versions is not None:
            query = query.where(_V.version.in_(versions))
        rows = self._session.execute(query.order_by(_V.version.desc())).all()
        return [Unread(VersionKey(name, v), created or 0, location) for name, v, created, location in rows]

    def keep(self, unread: Unread, contract: Contract) -> None:
        """Keep what was read, in place of what an earlier version of that number left."""
        key = {"workspace": self._workspace, "model": unread.key.model, "version": unread.key.version}
        self._session.execute(delete(CONTRACTS).filter_by(**key))
        values = {"created": unread.created, "location": unread.location, **_row(contract)}
        self._session.execute(insert(CONTRACTS), {**key, **values})

    def rename(self, name: str, new_name: str) -> None:
        """Contracts and attestations go along with a model's new name; announcements stay: traders go on loading the
        old one.
        """
        self.forget(new_name)
        self._session.execute(update(CONTRACTS).where(self._contracts_of([name])).values(model=new_name))
        attestations.rename(self._session, self._workspace, name, new_name)

    def forget(self, name: str, version: int | None = None) -> None:
        """Drop what is kept of a model that was deleted; of one deleted version its attestations alone, since its
        contract still says that the model is guarded.
        """
        if version is None:
            self._session.execute(delete(CONTRACTS).where(self._contracts_of([name])))
        attestations.forget(self._session, self._workspace, name, version)

    def attest(self, occasion: Occasion, key: VersionKey, attestation: Attestation) -> None:
        """Keep a trader's attestation of a version that is there."""
        origin = self._origin(key)
        if origin is not None:
            attestations.put(self._session, occasion, key, origin, attestation)

    def verdict_of(self, key: VersionKey) -> str:
        """The gate's last word on a version; empty where there is none."""
        query = select(_TAGS.c.value).filter_by(
            workspace=self._workspace, name=key.model, version=key.version, key=VERDICT_TAG
        )
        return self._session.execute(query).scalar() or ""

    def introduce(self, key: VersionKey, contract: Contract) -> None:
        """Write what a version's page shows of its contract."""
        self._put_tags(key, tags_of(contract, self.verdict_of(key), self._attested(key)))
        self._put_block(key, contract)

    def tell(self, key: VersionKey, contract: Contract, verdict: str) -> None:
        """Write the gate's last word on a version."""
        self._put_tags(key, tags_of(Contract(flavored=False), verdict))
        self._put_block(key, contract)

    def describe(self, key: VersionKey, contract: Contract, text: str | None) -> str:
        """A version's description: this text, and the block of the gate's."""
        return describe_version(text, contract, self.verdict_of(key), self._attested(key))

    def _attested(self, key: VersionKey) -> int:
        """How many traders attested a version."""
        origin = self._origin(key)
        return 0 if origin is None else attestations.count(self._session, self._workspace, key, origin)

    def _origin(self, key: VersionKey) -> tuple[int, str] | None:
        """When a version was created and where it lies, which tells it from another of that number."""
        query = select(func.coalesce(_V.creation_time, 0), _LOCATION)
        found = self._session.execute(query.where(self._versions_of([key.model]), _V.version == key.version)).first()
        return None if found is None else (found[0], found[1])

    def _put_tags(self, key: VersionKey, tags: Mapping[str, str]) -> None:
        identity = {"workspace": self._workspace, "name": key.model, "version": key.version}
        self._session.execute(delete(_TAGS).filter_by(**identity).where(_TAGS.c.key.in_(tags)))
        rows = [{**identity, "key": name, "value": value} for name, value in tags.items()]
        if rows:
            self._session.execute(insert(_TAGS), rows)

    def _put_block(self, key: VersionKey, contract: Contract) -> None:
        if contract.spec is None:
            return
        here = and_(_V.workspace == self._workspace, _V.name == key.model, _V.version == key.version)
        text = self._session.execute(select(_V.description).where(here)).scalar()
        described = self.describe(key, contract, text)
        if described != text:
            self._session.execute(update(_VERSIONS).where(here).values(description=described))

    def _versions_of(self, names: Sequence[str]) -> ColumnElement[bool]:
        return and_(_V.workspace == self._workspace, _V.name.in_(names), _V.current_stage != STAGE_DELETED_INTERNAL)

    def _contracts_of(self, names: Sequence[str]) -> ColumnElement[bool]:
        return and_(CONTRACTS.c.workspace == self._workspace, CONTRACTS.c.model.in_(names))

    def _same_version(self) -> ColumnElement[bool]:
        return and_(
            CONTRACTS.c.workspace == _V.workspace,
            CONTRACTS.c.model == _V.name,
            CONTRACTS.c.version == _V.version,
            CONTRACTS.c.created == func.coalesce(_V.creation_time, 0),
            CONTRACTS.c.location == _LOCATION,
        )


def _by_model(keys: Iterable[VersionKey]) -> dict[str, list[int]]:
    grouped: dict[str, list[int]] = {}
    for key in keys:
        grouped.setdefault(key.model, []).append(key.version)
    return grouped


def _row(contract: Contract) -> dict[str, Any]:
    spec = None if contract.spec is None else canonical_json(contract.spec.to_dict()).decode("utf-8")
    return {
        "flavored": contract.flavored,
        "spec": spec,
        "digest": contract.digest,
        "golden": contract.golden,
        "reason": contract.reason,
        "vouched": contract.vouched,
    }


def _contract(row: Any) -> Contract:
    spec = None if row["spec"] is None else _spec(row["spec"])
    return Contract(row["flavored"], spec, row["digest"], row["golden"], row["reason"], vouched=row["vouched"])


@lru_cache(maxsize=256)
def _spec(text: str) -> ModelSpec:
    return ModelSpec.from_dict(json.loads(text))
