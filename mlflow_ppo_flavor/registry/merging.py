"""Merging a workspace into the default one: MLflow deletes it that way beside the registry's store, unjudged."""

from __future__ import annotations

from typing import Any

from flask import Flask, request
from mlflow.entities.workspace import WorkspaceDeletionMode
from mlflow.server import handlers
from mlflow.utils.workspace_utils import DEFAULT_WORKSPACE_NAME
from sqlalchemy import select, union
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract.compatibility import Finding, Verdict
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.registry import fact
from mlflow_ppo_flavor.registry.case import refusal
from mlflow_ppo_flavor.registry.gate import Ruling
from mlflow_ppo_flavor.registry.mlflow_tables import MODELS
from mlflow_ppo_flavor.registry.policy import Policy
from mlflow_ppo_flavor.registry.resolution import stage_references
from mlflow_ppo_flavor.registry.standing import read_standing
from mlflow_ppo_flavor.registry.store import GuardMixin
from mlflow_ppo_flavor.registry.tables import ANNOUNCEMENTS, CONTRACTS


def guard_merging(app: Flask) -> None:
    """Let a server refuse to merge a workspace while protected references would load its versions in the default one.

    To be called after whatever checks who asks. MLflow moves the rows in a transaction of its own, after this check.
    """

    def check() -> Any:
        workspace = (request.view_args or {}).get("workspace_name")
        merges = request.args.get("mode") == WorkspaceDeletionMode.SET_DEFAULT.value
        if request.method != "DELETE" or not merges or not workspace or workspace == DEFAULT_WORKSPACE_NAME:
            return None
        return _answer(workspace)

    app.before_request(check)


@handlers.catch_mlflow_exception  # type: ignore[untyped-decorator]
def _answer(workspace: str) -> None:
    """None, or the refusal as MLflow answers errors."""
    store = handlers._get_model_registry_store()  # noqa: SLF001 as MLflow's own handlers do
    if not isinstance(store, GuardMixin):
        return
    with store.ManagedSessionMaker(read_only=True) as session:
        entering = entering_by_merging(session, workspace, store.setting.policy)
    if entering:
        raise refusal(rule_merging(workspace, entering))


def entering_by_merging(session: Session, workspace: str, policy: Policy) -> dict[Reference, int]:
    """The protected references of the default workspace that would load versions of a workspace merged into it."""
    flavored = select(CONTRACTS.c.model).where(CONTRACTS.c.workspace == workspace, CONTRACTS.c.flavored.is_(True))
    announced = select(ANNOUNCEMENTS.c.model).where(ANNOUNCEMENTS.c.workspace == DEFAULT_WORKSPACE_NAME)
    guarded = set(session.execute(union(flavored, announced)).scalars())
    registered = session.execute(select(MODELS.c.name).where(MODELS.c.workspace == workspace)).scalars()
    names = sorted(name for name in registered if name in guarded or policy.names(name))
    models = read_standing(session, workspace, names).models
    fleet = read_standing(session, DEFAULT_WORKSPACE_NAME, names).fleet
    protected = stage_references(names) | {each.reference for each in fleet}
    protected |= {reference for name in names for reference in policy.protects(name)}
    loads = {reference: models[reference.model].resolve(reference) for reference in sorted(protected)}
    return {reference: version for reference, version in loads.items() if version is not None}


def rule_merging(workspace: str, entering: dict[Reference, int]) -> Ruling:
    """The refusal to merge a workspace whose versions would enter protected references."""
    findings = tuple(
        Finding(
            "merged",
            "safety",
            str(reference),
            f"version {version} in workspace {workspace}",
            f"nothing of another workspace enters {reference} unjudged",
            f"withdraw {reference.label} in {workspace}, delete it then, and promote again in the default workspace",
        )
        for reference, version in entering.items()
    )
    first, version = next(iter(entering.items()))
    told = f"Refused: merging {workspace} would make {fact.short_reference(first)} load its version {version} unjudged"
    return Ruling(told, Verdict(findings, strict=True))
