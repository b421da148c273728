"""The demo's promotions: what an operator sees when the registry allows one, and when it refuses."""

from __future__ import annotations

import json
from dataclasses import dataclass

import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from mlflow_ppo_flavor.announcement import announce_trader
from mlflow_ppo_flavor.cli.demo.learning import MODEL
from mlflow_ppo_flavor.errors import RegistryError

TRADER = "live-1"
STAGE = "Production"
REFUSED = 409
TRANSITION = "/api/2.0/mlflow/model-versions/transition-stage"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the registry answered to one transition: `command` is how an operator asks the same."""

    command: str
    status: int
    body: str


def announce(trader_version: str) -> None:
    """Say that the demo's trader loads Production with this trader version."""
    announce_trader(MODEL, trader_id=TRADER, trader_version=trader_version, reference=STAGE, paper=True)


def promote(version: int) -> None:
    """Move a version to Production with MLflow's own client; MlflowException where the gate refuses."""
    MlflowClient().transition_model_version_stage(MODEL, str(version), STAGE, archive_existing_versions=True)


def promote_by_rest(url: str, version: int) -> Answer:
    """The same over HTTP."""
    asked = {"name": MODEL, "version": str(version), "stage": STAGE, "archive_existing_versions": True}
    answer = requests.post(url + TRANSITION, json=asked, timeout=30)
    data = f'{{"name": "{MODEL}", "version": "{version}", "stage": "{STAGE}", "archive_existing_versions": true}}'
    command = f"curl -X POST {url}{TRANSITION} -H 'Content-Type: application/json' -d '{data}'"
    return Answer(command, answer.status_code, answer.text)


def told(answer: Answer) -> str:
    """A refusal's body as JSON: the message, and of what stands beside it how many findings."""
    body = json.loads(answer.body)
    body["findings"] = f"({len(body['findings'])} findings: code, kind, place, found, expected, remedy)"
    return json.dumps({key: body[key] for key in ("error_code", "message", "findings")}, indent=2)


def refused_by_client(version: int) -> str:
    """What MLflow's client raises for a version that must be refused; RegistryError if the gate let it through."""
    try:
        promote(version)
    except MlflowException as refusal:
        return str(refusal)
    raise RegistryError(f"{MODEL} version {version}: found it promoted, expected a refusal: the gate isn't on")
