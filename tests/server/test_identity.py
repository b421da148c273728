"""Who asked: the user that MLflow's basic-auth has checked, and nobody's word otherwise."""

import base64
import json
import urllib.request
from pathlib import Path

import pytest
import sqlalchemy

from mlflow_ppo_flavor.registry.tables import HISTORY
from tests.registry.model_folders import announce_value, announcement
from tests.server.servers import ADMIN_PASSWORD, Server, serving

pytest.importorskip("flask_wtf", reason="MLflow's basic-auth: install mlflow-ppo-flavor[dev]")
pytestmark = pytest.mark.server
ADMIN = ("admin", ADMIN_PASSWORD)


def post(url: str, body: dict[str, str], user: tuple[str, str]) -> int:
    """One request with basic authentication; its status."""
    token = base64.b64encode(":".join(user).encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {token}"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return int(answer.status)


def requesters(database: str) -> list[str]:
    engine = sqlalchemy.create_engine(database)
    with engine.connect() as connection:
        found = list(connection.execute(sqlalchemy.select(HISTORY.c.who).order_by(HISTORY.c.id)).scalars())
    engine.dispose()
    return found


def announcers(folder: Path, *options: str) -> list[str]:
    """Who the history names after an announcement by a request that says it comes from `admin`."""
    with serving(folder, *options) as server:
        root = f"{server.url}/api/2.0/mlflow/registered-models"
        assert post(f"{root}/create", {"name": "m"}, ADMIN) == 200
        told = {"name": "m", "key": "ppo.announce", "value": announce_value(announcement("m"))}
        assert post(f"{root}/set-tag", told, ADMIN) == 200
        return requesters(server.database)


def test_a_name_that_nobody_checked_is_not_believed(server: Server) -> None:
    assert post(f"{server.url}/api/2.0/mlflow/registered-models/create", {"name": "who"}, ADMIN) == 200
    assert server.announce("who").status == 200
    assert set(requesters(server.database)) == {"unauthenticated"}


def test_with_basic_auth_the_history_names_the_user(tmp_path: Path) -> None:
    assert announcers(tmp_path, "--app-name", "basic-auth") == ["admin"]
