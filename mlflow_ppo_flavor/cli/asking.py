"""Asking: what commands ask of the registry's gate: its reports, and the requests that travel as tags."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlflow_ppo_flavor.cli.connection import answering
from mlflow_ppo_flavor.contract.request import GUARD_MODEL, Question, Request
from mlflow_ppo_flavor.errors import RegistryError

if TYPE_CHECKING:
    from mlflow import MlflowClient

Report = dict[str, Any]


def guard_report() -> Report | None:
    """What the gate says of itself; None where the registry has none."""
    # MLflow takes a second to import: not for --help
    from mlflow_ppo_flavor.announcement import ask

    told = ask(Question("guard")).get(GUARD_MODEL)
    return told if isinstance(told, dict) else None


def require_gate() -> Report:
    """What the gate says of itself; RegistryError where the registry has none: nobody would read a request."""
    told = guard_report()
    if told is None:
        raise RegistryError("registry: found no gate before it, expected one: run mlflow-ppo doctor, it says how")
    return told


def reports(question: Question, model: str | None = None, *, page_size: int = 100) -> Iterator[tuple[str, Report]]:
    """(model, report) of every model, or of one, request by request; a model of many references comes in parts."""
    from mlflow_ppo_flavor.announcement import answers, ask

    for name, first in answers(question, model, page_size=page_size):
        told = first
        yield name, told
        while told.get("next") and question.report != "history":
            told = ask(replace(question, after=told["next"]), name).get(name, {})
            yield name, told


def model_names(client: MlflowClient) -> Iterator[str]:
    """The names of all registered models, page by page."""
    token = None
    while True:
        page = client.search_registered_models(page_token=token)
        yield from (model.name for model in page)
        token = page.token
        if not token:
            return


def send(client: MlflowClient, request: Request, model: str, version: str | None = None) -> None:
    """Send a request to the gate. PromotionRefused where it refuses; RegistryError where it can't be asked."""
    with answering():
        if version is None:
            client.set_registered_model_tag(model, request.tag, request.value)
        else:
            client.set_model_version_tag(model, version, request.tag, request.value)


def last_fact(model: str, kind: str) -> str:
    """What the gate said to the last operation of this kind on a model, from its history."""
    from mlflow_ppo_flavor.announcement import ask

    told = ask(Question("history", limit=20), model).get(model, {})
    rows = told.get("rows", []) if isinstance(told, dict) else []
    return next((str(row["fact"]) for row in rows if row["operation"].get("kind") == kind), "Allowed")
