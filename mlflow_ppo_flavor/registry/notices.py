"""Notices: what the gate writes on MLflow's pages, the tags of a version and the block in its description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import and_, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.registry.candidates import Candidate
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.display import (
    VERDICT_TAG,
    describe_version,
    is_reserved,
    own_text,
    tags_of,
)
from mlflow_ppo_flavor.registry.mlflow_tables import MODEL_TAGS, MODELS, TAGS, VERSIONS
from mlflow_ppo_flavor.registry.resolution import VersionKey

_INSERTS: Mapping[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_UPSERTS = {
    name: insert(TAGS).on_conflict_do_update(
        index_elements=list(TAGS.primary_key), set_={"value": insert(TAGS).excluded.value}
    )
    for name, insert in _INSERTS.items()
}


class Notices:
    """The notices of one workspace, written through one session."""

    def __init__(self, session: Session, workspace: str) -> None:
        self._session = session
        self._workspace = workspace

    def introduce(self, candidate: Candidate, contract: Contract, verdict: str | None = None) -> None:
        """Write what a version's page shows of its contract. `verdict`: the gate's last word; None: as it stands."""
        key = candidate.origin.key
        told = self.verdict_of(key) if verdict is None else verdict
        self._put_tags(key, tags_of(contract, told, candidate.attested))
        self._put_block(key, candidate, contract, told)

    def tell(self, key: VersionKey, candidate: Candidate, contract: Contract, verdict: str) -> None:
        """Write the gate's last word on a version, which by now may have another name than it had as a candidate."""
        self._put_tags(key, tags_of(Contract(flavored=False), verdict))
        self._put_block(key, candidate, contract, verdict)

    def verdict_of(self, key: VersionKey) -> str:
        """The gate's last word on a version; empty where there is none."""
        query = select(TAGS.c.value).filter_by(
            workspace=self._workspace, name=key.model, version=key.version, key=VERDICT_TAG
        )
        return self._session.execute(query).scalar() or ""

    def clear_verdict(self, key: VersionKey) -> None:
        """Drop what anybody wrote as the gate's last word on a version of which the gate knew nothing."""
        here = {"workspace": self._workspace, "name": key.model, "version": key.version, "key": VERDICT_TAG}
        self._session.execute(delete(TAGS).filter_by(**here))

    def clear_model(self, model: str) -> None:
        """Drop what anybody wrote in the gate's name before the model was a guarded one."""
        for table in (TAGS, MODEL_TAGS):
            self._clear_tags(table, model)
        for table in (MODELS, VERSIONS):
            self._clear_texts(table, model)

    def _clear_texts(self, table: Any, model: str) -> None:
        """What reads as the gate's can be spelled in too many ways for SQL: each description is read, once."""
        number = table.c.version if table is VERSIONS else table.c.name
        here = and_(table.c.workspace == self._workspace, table.c.name == model)
        described = select(number, table.c.description).where(here, table.c.description != "")
        forged = [
            {"which": which, "own": own}
            for which, text in self._session.execute(described)
            if (own := own_text(text)) != text
        ]
        if forged:
            cleared = update(table).where(here, number == bindparam("which")).values(description=bindparam("own"))
            self._session.connection().execute(cleared, forged)

    def _clear_tags(self, table: Any, model: str) -> None:
        here = and_(table.c.workspace == self._workspace, table.c.name == model)
        keys = self._session.execute(select(table.c.key).where(here).distinct()).scalars()
        forged = [key for key in keys if is_reserved(key)]
        if forged:
            self._session.execute(delete(table).where(here, table.c.key.in_(forged)))

    def _put_tags(self, key: VersionKey, tags: Mapping[str, str]) -> None:
        identity = {"workspace": self._workspace, "name": key.model, "version": key.version}
        rows = [{**identity, "key": name, "value": value} for name, value in tags.items()]
        if rows:
            self._session.execute(_UPSERTS[self._session.get_bind().dialect.name], rows)

    def _put_block(self, key: VersionKey, candidate: Candidate, contract: Contract, verdict: str) -> None:
        """A contract that can't be read has no block, and whoever wrote one there forged it."""
        text = candidate.description or ""
        unread = contract.spec is None
        described = own_text(text) if unread else describe_version(text, contract, verdict, candidate.attested)
        if described != text:
            here = and_(
                VERSIONS.c.workspace == self._workspace,
                VERSIONS.c.name == key.model,
                VERSIONS.c.version == key.version,
            )
            self._session.execute(update(VERSIONS).where(here).values(description=described))
