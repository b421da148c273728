"""The guarded stores: a mixin over MLflow's SQL registry stores. What can move a reference goes to the guard."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import urlparse

from mlflow.entities.model_registry import RegisteredModelTag
from mlflow.entities.model_registry.model_version_stages import get_canonical_stage
from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST
from mlflow.store.model_registry import SEARCH_REGISTERED_MODEL_MAX_RESULTS_DEFAULT
from mlflow.store.model_registry.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore
from mlflow.utils.uri import extract_db_type_from_uri
from mlflow.utils.validation import (
    _validate_model_version,
    _validate_model_version_tag,
    _validate_registered_model_tag,
)
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract.request import Question
from mlflow_ppo_flavor.registry import answers
from mlflow_ppo_flavor.registry.artifacts import check_source
from mlflow_ppo_flavor.registry.candidates import Origin
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.display import is_reserved, own_text
from mlflow_ppo_flavor.registry.fleet import FLEET_TAG, fleet_of, fleet_tag
from mlflow_ppo_flavor.registry.guard import Guard
from mlflow_ppo_flavor.registry.inbox import Inbox, as_invalid, refuse_reserved
from mlflow_ppo_flavor.registry.keyed_reads import KeyedReads
from mlflow_ppo_flavor.registry.petitions import Petitions
from mlflow_ppo_flavor.registry.recall import Recall
from mlflow_ppo_flavor.registry.resolution import (
    DeleteAlias,
    DeleteModel,
    DeleteVersion,
    RegisteredModel,
    Rename,
    SetAlias,
    Transition,
    VersionKey,
)
from mlflow_ppo_flavor.registry.schema import upgrade
from mlflow_ppo_flavor.registry.session import JoiningSessionMaker
from mlflow_ppo_flavor.registry.setting import read_setting
from mlflow_ppo_flavor.registry.tables import DATABASES

SCHEME = "ppo:"
# of the integers in MLflow's columns
_HIGHEST = 2**31 - 1


class GuardMixin(KeyedReads):
    """Guards a SQL registry store. Signatures are MLflow's; so are errors, besides 409 for what the gate refuses."""

    def __init__(self, db_uri: str, read_db_uri: str | None = None) -> None:
        super().__init__(db_uri, read_db_uri=read_db_uri)
        upgrade(self.engine)
        self.setting = read_setting(self.engine)
        self.ManagedSessionMaker = JoiningSessionMaker(self.ManagedSessionMaker)
        self._guard = Guard(self.ManagedSessionMaker, self._get_active_workspace, self.setting)
        self._inbox = Inbox(Petitions(self._guard), Recall(self._guard, self._enact))

    @property
    def _mlflow(self) -> Any:
        """MLflow's own methods, which the gate's stand before; they carry no types."""
        return super()

    def transition_model_version_stage(
        self, name: str, version: Any, stage: str, archive_existing_versions: bool
    ) -> Any:
        """Move a version in or out of a stage, if every fleet whose reference moves may run what it gets."""
        number = _number(name, version)
        archive = bool(archive_existing_versions)
        operation = Transition(name, number, get_canonical_stage(stage), archive)
        write = self._mlflow.transition_model_version_stage
        return self._guard.carry_out(operation, partial(write, name, number, stage, archive))

    def set_registered_model_alias(self, name: str, alias: str, version: Any) -> None:
        """Set an alias, if the fleet that announced for it may run the version."""
        number = _number(name, version)
        write = partial(self._mlflow.set_registered_model_alias, name, alias, number)
        self._guard.carry_out(SetAlias(name, alias, number), write)

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Delete an alias: emptying a reference is always allowed, and recorded."""
        write = partial(self._mlflow.delete_registered_model_alias, name, alias)
        self._guard.carry_out(DeleteAlias(name, alias), write)

    def delete_model_version(self, name: str, version: Any) -> None:
        """Delete a version, if the fleet may run what surfaces in its place."""
        number = _number(name, version)
        write = partial(self._mlflow.delete_model_version, name, number)
        self._guard.carry_out(DeleteVersion(name, number), write)

    def delete_registered_model(self, name: str) -> None:
        """Delete a model: emptying references is always allowed, and recorded. Its announcements stay."""
        self._guard.carry_out(DeleteModel(name), partial(self._mlflow.delete_registered_model, name))

    def rename_registered_model(self, name: str, new_name: str) -> Any:
        """Rename a model, if the fleet of the new name may run what it gets."""
        write = partial(self._mlflow.rename_registered_model, name, new_name)
        return self._guard.carry_out(Rename(name, new_name), write)

    def create_registered_model(
        self, name: str, tags: Any = None, description: str | None = None, deployment_job_id: Any = None
    ) -> Any:
        """Create a model; tags that only the gate writes are refused, and what reads as its block is left out."""
        for tag in tags or ():
            refuse_reserved(tag.key)
        text = self._guard.own_text(name, description)
        write = partial(self._mlflow.create_registered_model, name, tags, text, deployment_job_id)
        return self._guard.create_model(name, write)

    def update_registered_model(self, name: str, description: str | None, deployment_job_id: Any = None) -> Any:
        """Set a model's description; what reads as the gate's block is left out."""
        write = self._mlflow.update_registered_model
        return self._guard.describe_model(name, description, lambda text: write(name, text, deployment_job_id))

    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str | None = None,
        tags: Any = None,
        run_link: str | None = None,
        description: str | None = None,
        local_model_path: str | None = None,
        model_id: str | None = None,
    ) -> Any:
        """Register a version and read its contract. It enters no stage and gets no alias: no reference moves.

        A copy brings its source's tags and block: the gate writes its own anew.
        """
        check_source(source, run_id, model_id)
        kept = [tag for tag in tags or () if not is_reserved(tag.key)]
        copied = urlparse(source).scheme == "models"
        if len(kept) < len(tags or ()) and not copied:
            refuse_reserved(next(tag.key for tag in tags if is_reserved(tag.key)))
        text = own_text(description) if description and copied else self._guard.own_text(name, description)
        write = self._mlflow.create_model_version
        given = (name, source, run_id, kept, run_link, text, local_model_path, model_id)
        made = self._guard.create_version(name, partial(write, *given))
        self._guard.learn(name, int(made.version))
        return self._again(made)

    def update_model_version(self, name: str, version: Any, description: str | None = None) -> Any:
        """Set a version's description; the gate's block of it stays what it is."""
        key = VersionKey(name, _number(name, version))
        write = partial(self._mlflow.update_model_version, name, key.version)
        return self._guard.describe(key, description, write)

    def get_registered_model(self, name: str) -> Any:
        """A model as MLflow gives it, with its announced traders in the read-only tag `ppo.fleet`."""
        with self.ManagedSessionMaker.reading() as session:
            model = self._mlflow.get_registered_model(name)
            fleet = fleet_of(session, self._get_active_workspace(), name)
        if fleet:
            model._add_tag(RegisteredModelTag(FLEET_TAG, fleet_tag(fleet)))  # noqa: SLF001 the only way in
        return model

    def search_registered_models(
        self,
        filter_string: str | None = None,
        max_results: int = SEARCH_REGISTERED_MODEL_MAX_RESULTS_DEFAULT,
        order_by: Any = None,
        page_token: str | None = None,
    ) -> Any:
        """MLflow's search; one for the tag `ppo.report` is answered by the guard, with a report on each model."""
        with as_invalid():
            search = answers.parse_search(filter_string)
        if search is None:
            return self._mlflow.search_registered_models(filter_string, max_results, order_by, page_token)
        with self.ManagedSessionMaker() as session:
            return answers.page(search, session, self._get_active_workspace(), self.setting, max_results, page_token)

    def report(self, name: str, model: str | None = None, **options: Any) -> dict[str, dict[str, Any]]:
        """A report on each guarded model, or on one: {model: report}. `options` are those of Question."""
        question = Question(name, **options)
        with self.ManagedSessionMaker() as session:
            known = (session, self._get_active_workspace(), self.setting)
            names = answers.named(answers.Search(question, model), *known)
            return answers.answered(question, *known, names)

    def keep_contracts(self, known: Mapping[Origin, Contract]) -> None:
        """Keep contracts that were read elsewhere, each of a version that is still there, and show them."""
        self._guard.keep_contracts(known)

    def set_registered_model_tag(self, name: str, tag: RegisteredModelTag) -> None:
        """Set a tag. The gate's own are refused, but for those that are requests to it: they aren't kept."""
        if isinstance(tag.value, str):
            _validate_registered_model_tag(tag.key, tag.value)
        if not self._inbox.take_model_tag(name, tag, partial(self._require_model, name)):
            self._mlflow.set_registered_model_tag(name, tag)

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        """Delete a tag that isn't the gate's."""
        refuse_reserved(key)
        self._mlflow.delete_registered_model_tag(name, key)

    def set_model_version_tag(self, name: str, version: Any, tag: Any) -> None:
        """Set a tag. The gate's own are refused, but for those that are requests to it: they aren't kept."""
        if isinstance(tag.value, str):
            _validate_model_version_tag(tag.key, tag.value)
        key = VersionKey(name, _number(name, version))
        if not self._inbox.take_version_tag(key, tag, partial(self._require_version, key)):
            self._mlflow.set_model_version_tag(name, version, tag)

    def delete_model_version_tag(self, name: str, version: Any, key: str) -> None:
        """Delete a version's tag that isn't the gate's."""
        refuse_reserved(key)
        self._mlflow.delete_model_version_tag(name, _number(name, version), key)

    def _enact(self, before: RegisteredModel, after: RegisteredModel) -> None:
        """Let MLflow make of a registered model what it is to be, within the guard's transaction."""
        for version, stage in after.stages.items():
            if before.stages[version] != stage:
                self._mlflow.transition_model_version_stage(before.name, version, stage, False)
        for alias in before.aliases.keys() - after.aliases.keys():
            self._mlflow.delete_registered_model_alias(before.name, alias)
        for alias, version in after.aliases.items():
            if before.aliases.get(alias) != version:
                self._mlflow.set_registered_model_alias(before.name, alias, version)

    def _again(self, made: Any) -> Any:
        """A version just registered, with the tags and the description that the gate wrote; as it was made, where it
        has been deleted or renamed since, even if another has its name and number by now.
        """
        try:
            found = self._mlflow.get_model_version(made.name, made.version)
        except MlflowException:
            return made
        same = (found.creation_timestamp, found.source) == (made.creation_timestamp, made.source)
        return found if same else made

    def _require_version(self, key: VersionKey, session: Session) -> None:
        """MLflow's own error where the version isn't there."""
        self._mlflow._get_sql_model_version(session, key.model, key.version)  # noqa: SLF001 its own method

    def _require_model(self, name: str, session: Session) -> None:
        """MLflow's own error where the model isn't registered."""
        self._mlflow._get_registered_model(session, name)  # noqa: SLF001 its own method


class GuardedStore(GuardMixin):
    """MLflow's SQL registry store, guarded."""


class GuardedWorkspaceStore(GuardMixin, WorkspaceAwareSqlAlchemyStore):
    """MLflow's SQL registry store with workspaces, guarded."""


def _number(name: str, version: Any) -> int:
    """The number of a version; where MLflow's columns can't hold it there is no such version, as MLflow says it."""
    number = int(_validate_model_version(version))
    if not -_HIGHEST <= number <= _HIGHEST:
        raise MlflowException(f"Model Version (name={name}, version={number}) not found", RESOURCE_DOES_NOT_EXIST)
    return number


def open_store(store_uri: str) -> GuardMixin:
    """The guarded store of `ppo:<database URI>`; MlflowException for a database that the gate can't lock."""
    db_uri = store_uri.removeprefix(SCHEME)
    database = extract_db_type_from_uri(db_uri)
    if database not in DATABASES:
        raise MlflowException(
            f"registry store: found {SCHEME}{database}, expected one of "
            f"{', '.join(SCHEME + name for name in DATABASES)}: the gate can't lock others",
            error_code=INVALID_PARAMETER_VALUE,
        )
    kind = GuardedWorkspaceStore if MLFLOW_ENABLE_WORKSPACES.get() else GuardedStore
    return kind(db_uri, read_db_uri=os.environ.get("_MLFLOW_SERVER_READ_REPLICA_BACKEND_STORE"))
