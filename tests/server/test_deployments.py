"""The gate where MLflow is really deployed: databases, workers, authentication, the registry apart or together.

Six rows hold every pair of these choices; each is a real server, asked as curl would ask it.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Any

import pytest
import sqlalchemy

from mlflow_ppo_flavor.registry.tables import HISTORY
from tests import tiers
from tests.registry import databases, postgresql
from tests.server.servers import ADMIN_PASSWORD, Answer, Server, serving

pytestmark = [pytest.mark.server, pytest.mark.filterwarnings("ignore:XDG_RUNTIME_DIR is not set")]
ADMIN, ANN = ("admin", ADMIN_PASSWORD), ("ann", ADMIN_PASSWORD[::-1])


@dataclass(frozen=True)
class Deployment:
    """One way to run an MLflow server."""

    database: str
    workers: str
    auth: bool
    apart: bool

    def __str__(self) -> str:
        auth = "basic-auth" if self.auth else "no auth"
        return f"{self.database}, {self.workers}, {auth}, registry {'apart' if self.apart else 'together'}"

    @property
    def options(self) -> list[str]:
        """What `mlflow-ppo server` is told beside its databases."""
        gunicorn = ["--gunicorn-opts", "--log-level warning"] if self.workers == "gunicorn" else []
        return [*gunicorn, *(["--app-name", "basic-auth"] if self.auth else [])]


CHOICES: dict[str, tuple[Any, ...]] = {
    "database": ("SQLite", "PostgreSQL"),
    "workers": ("1 worker", "4 workers", "gunicorn"),
    "auth": (True, False),
    "apart": (True, False),
}
ROWS = (
    Deployment("SQLite", "gunicorn", auth=False, apart=True),
    Deployment("PostgreSQL", "4 workers", auth=True, apart=True),
    Deployment("SQLite", "4 workers", auth=False, apart=False),
    Deployment("PostgreSQL", "gunicorn", auth=True, apart=False),
    Deployment("PostgreSQL", "1 worker", auth=False, apart=True),
    Deployment("SQLite", "1 worker", auth=True, apart=False),
)


def test_the_rows_hold_every_pair_of_choices() -> None:
    for one, other in combinations(CHOICES, 2):
        seen = {(getattr(row, one), getattr(row, other)) for row in ROWS}
        assert seen == set(product(CHOICES[one], CHOICES[other])), (one, other)


@pytest.fixture(scope="module")
def postgres() -> Iterator[postgresql.Server]:
    with postgresql.serving() as server:
        yield server


@pytest.fixture(scope="module", params=ROWS[: tiers.DEPLOYMENTS], ids=str)
def deployment(request: pytest.FixtureRequest) -> Deployment:
    return request.param


@pytest.fixture(scope="module")
def deployed(
    deployment: Deployment, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server of this row; where it authenticates, asked by ann, who is no administrator."""
    if deployment.auth:
        pytest.importorskip("flask_wtf", reason="MLflow's basic-auth: install mlflow-ppo-flavor[dev]")
    folder = tmp_path_factory.mktemp("deployed")
    if deployment.database == "PostgreSQL":
        postgres = request.getfixturevalue("postgres")
        uri, other = postgres.fresh(), postgres.fresh() if deployment.apart else None
    else:
        uri, other = databases.fresh(folder), databases.fresh(folder, "registry.db") if deployment.apart else None
    workers = 4 if deployment.workers == "4 workers" else 1
    with serving(folder, *deployment.options, database=uri, registry=other, workers=workers) as server:
        if not deployment.auth:
            yield server
            return
        admin = replace(server, user=ADMIN)
        made = admin.call("POST", "users/create", {"username": ANN[0], "password": ANN[1]})
        assert made.status == 200, made
        yield replace(server, user=ANN)


def history(server: Server, model: str) -> list[dict[str, Any]]:
    """The rows of one model, oldest first, read from the database that holds the registry."""
    engine = sqlalchemy.create_engine(server.registry)
    with engine.connect() as connection:
        query = sqlalchemy.select(HISTORY).where(HISTORY.c.model == model).order_by(HISTORY.c.id)
        found = [dict(row) for row in connection.execute(query).mappings()]
    engine.dispose()
    return found


def register(server: Server, model: str, *folders: str) -> None:
    """Versions 1, 2, … of a model: logged by an administrator, registered by the server's user."""
    logging = server if server.user is None else replace(server, user=ADMIN)
    assert server.call("POST", "registered-models/create", {"name": model}).status == 200
    for folder in folders:
        source = logging.log(folder)
        body = {"name": model, "source": source, "run_id": source.split("/")[1]}
        answer = server.call("POST", "model-versions/create", body)
        assert answer.status == 200, answer


@pytest.fixture(scope="module")
def model(deployed: Server, folders: dict[str, str]) -> str:
    """Version 1 (2.6.0), 2 (2.7.0) and 3 (2.6.0); 2 hidden below 3 in Production; then traders 2.6.0 announce."""
    register(deployed, "m", folders["2.6.0"], folders["2.7.0"], folders["2.6.0"])
    for version in ("2", "3"):
        assert deployed.promote("m", version).status == 200
    for label in ("Production", "Staging", "@live"):
        assert deployed.announce("m", label, version="2.6.0").status == 200
    register(deployed, "newer", folders["2.7.0"])
    assert deployed.promote("newer", "1").status == 200
    assert deployed.call("POST", "registered-models/create", {"name": "awaited"}).status == 200
    assert deployed.announce("awaited", version="2.6.0").status == 200
    assert deployed.call("DELETE", "registered-models/delete", {"name": "awaited"}).status == 200
    return "m"


Ask = Callable[[Server], Answer]
REFUSED: dict[str, tuple[str, Ask, str]] = {
    "transition": (
        "m",
        lambda s: s.promote("m", "2", "Staging"),
        "Refused: m version 2 can't become Staging: trader live-1 (2.6.0) can't run it: ",
    ),
    "alias": (
        "m",
        lambda s: s.call("POST", "registered-models/alias", {"name": "m", "alias": "live", "version": "2"}),
        "Refused: m version 2 can't become @live: trader live-1 (2.6.0) can't run it: ",
    ),
    "delete": (
        "m",
        lambda s: s.call("DELETE", "model-versions/delete", {"name": "m", "version": "3"}),
        "Refused: deleting version 3 would make m version 2 Production: trader live-1 (2.6.0) can't run it: ",
    ),
    "rename": (
        "newer",
        lambda s: s.call("POST", "registered-models/rename", {"name": "newer", "new_name": "awaited"}),
        "Refused: renaming newer to awaited would make awaited version 1 Production: trader live-1 (2.6.0) ",
    ),
}


@pytest.mark.parametrize("path", REFUSED)
def test_what_the_fleet_cannot_run_is_refused_and_told(path: str, deployed: Server, model: str) -> None:
    name, ask, fact = REFUSED[path]
    before = len(history(deployed, name))
    answer = ask(deployed)
    assert (answer.status, answer.body["error_code"]) == (409, "RESOURCE_CONFLICT")
    shown = answer.body["message"][:150]
    assert shown.startswith(fact)
    assert "trader >=2.7.0" in shown
    assert answer.body["verdict"] == {"allowed": False, "strict": True}
    assert deployed.production("m") == ["3"]
    assert deployed.production("newer") == ["1"]
    told = history(deployed, name)[before:]
    assert [row["allowed"] for row in told] == [False]
    assert answer.body["message"].startswith(told[0]["fact"])
    assert told[0]["who"] == ("unauthenticated" if deployed.user is None else "ann")


def test_what_the_fleet_can_run_is_done_and_told(deployed: Server, model: str) -> None:
    answer = deployed.promote("m", "1", "Staging")
    assert (answer.status, answer.body["model_version"]["current_stage"]) == (200, "Staging")
    last = history(deployed, "m")[-1]
    assert last["allowed"]
    assert last["who"] == ("unauthenticated" if deployed.user is None else "ann")
    assert json.loads(last["moves"]) == [
        {"reference": "m/Staging", "before": None, "after": {"model": "m", "version": 1}}
    ]


def test_the_gates_tables_lie_in_the_registrys_database_alone(
    deployed: Server, deployment: Deployment, model: str
) -> None:
    places = {}
    for name, uri in (("backend", deployed.database), ("registry", deployed.registry)):
        engine = sqlalchemy.create_engine(uri)
        places[name] = HISTORY.name in sqlalchemy.inspect(engine).get_table_names()
        engine.dispose()
    assert places == {"backend": not deployment.apart, "registry": True}


def test_the_gates_page_shows_it_to_those_who_may_log_in(deployed: Server, model: str) -> None:
    url = f"{deployed.url}/ppo/standing.json?name={model}"
    request = urllib.request.Request(url, headers=deployed._authorization())
    with urllib.request.urlopen(request, timeout=60) as answer:
        (shown,) = json.loads(answer.read())["models"]
    assert [reference["label"] for reference in shown["references"]] == ["Production", "Staging", "@live"]
    if deployed.user is not None:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(url, timeout=60)
