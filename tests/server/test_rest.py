"""The gate over HTTP: MLflow's REST paths for programs (`/api`) and for the page (`/ajax-api`), and MLflow's client."""

import itertools
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.registry.fleet import parse_fleet_tag
from tests.mlflow_state import pointed_at
from tests.registry.model_folders import announcement
from tests.server.servers import Answer, Server
from tests.server.wire import send

pytestmark = [pytest.mark.server, pytest.mark.filterwarnings("ignore:.*stages.*:FutureWarning")]
NUMBERS = itertools.count()
Folders = dict[str, str]


@pytest.fixture
def model() -> str:
    """The name of a model that no other test uses."""
    return f"ppo-{next(NUMBERS)}"


@pytest.fixture
def client(server: Server) -> Iterator[MlflowClient]:
    """MLflow's own client of the guarded server."""
    with pointed_at(server.url):
        yield MlflowClient()


def prepared(server: Server, model: str, folders: Folders, *, guarded: bool = True) -> None:
    """Versions 1 (2.6.0), 2 (2.7.0), 3 (2.6.0); 2 and 3 in Production; then a trader 2.6.0 on Production and @live."""
    server.register(model, folders["2.6.0"], folders["2.7.0"], folders["2.6.0"])
    for version in ("2", "3"):
        assert server.promote(model, version).status == 200
    if guarded:
        for label in ("Production", "@live"):
            assert server.announce(model, label, version="2.6.0").status == 200


PATHS: dict[str, Callable[[Server, str, str], Answer]] = {
    "transition out of the stage": lambda s, m, root: s.promote(m, "3", "Archived", root=root),
    "transition, archiving": lambda s, m, root: (
        s.promote(m, "02", "pRoduction", root=root, archive_existing_versions=True)
        if s.promote(m, "2", "None").status == 200
        else Answer(0, {})
    ),
    "alias": lambda s, m, root: s.call(
        "POST", "registered-models/alias", {"name": m, "alias": "live", "version": "2"}, root=root
    ),
    "delete version": lambda s, m, root: s.call(
        "DELETE", "model-versions/delete", {"name": m, "version": "3"}, root=root
    ),
}


@pytest.mark.parametrize("root", ["api", "ajax-api"])
@pytest.mark.parametrize("path", PATHS)
def test_every_path_is_refused_with_409_and_done_by_an_unguarded_server(
    path: str, root: str, server: Server, plain_server: Server, model: str, folders: Folders
) -> None:
    prepared(server, model, folders)
    answer = PATHS[path](server, model, root)
    assert answer.status == 409
    assert answer.body["error_code"] == "RESOURCE_CONFLICT"
    fact = answer.body["message"][:150]
    assert fact.startswith("Refused: ")
    assert "trader live-1 (2.6.0) can't run it" in fact
    assert server.production(model) == ["3"]
    name = f"{model}-{root}-{path.replace(' ', '-')}"
    prepared(plain_server, name, folders, guarded=False)
    assert PATHS[path](plain_server, name, root).status == 200


def test_the_answer_carries_the_findings_as_json(server: Server, model: str, folders: Folders) -> None:
    server.register(model, folders["2.7.0"])
    server.announce(model, version="2.6.0")
    answer = server.promote(model, "1")
    assert answer.status == 409
    findings = [Finding.from_dict(each) for each in answer.body["findings"]]
    assert [finding.code for finding in findings] == ["trader_version", "feature", "feature", "feature"]
    assert answer.body["verdict"] == {"allowed": False, "strict": True}
    assert answer.body["moves"] == [
        {"reference": f"{model}/Production", "before": None, "after": {"model": model, "version": 1}}
    ]
    assert answer.body["message"].splitlines() == [
        f"Refused: {model} version 1 can't become Production: trader live-1 (2.6.0) can't run it: "
        "model 2.7.0 requires trader >=2.7.0",
        *(f"[{finding.kind}] {finding.message}" for finding in findings),
    ]


def test_the_client_gets_the_reason_at_once(server: Server, model: str, folders: Folders, client: MlflowClient) -> None:
    server.register(model, folders["2.6.0"], folders["2.7.0"])
    server.announce(model, version="2.6.0")
    start = time.monotonic()
    with pytest.raises(MlflowException, match="trader live-1") as caught:
        client.transition_model_version_stage(model, "2", "Production")
    assert time.monotonic() - start < 5
    assert caught.value.error_code == "RESOURCE_CONFLICT"
    assert len(caught.value.json["findings"]) == 4  # type: ignore[attr-defined]
    client.transition_model_version_stage(model, "1", "Production")
    server.announce(model)
    client.transition_model_version_stage(model, "2", "Production")
    assert server.production(model) == ["2"]


def test_announcements_over_http(server: Server, model: str, folders: Folders) -> None:
    server.register(model, folders["2.7.0"])
    assert server.announce(model).status == 200
    assert server.promote(model, "1").status == 200
    refused = server.announce(model, version="2.6.0", trader_id="live-2")
    assert refused.status == 409
    assert refused.body["message"].startswith(f"Refused: trader live-2 (2.6.0) can't serve {model}/Production")
    wrong = server.call("POST", "registered-models/set-tag", {"name": model, "key": "ppo.announce", "value": "{}"})
    assert (wrong.status, wrong.body["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert wrong.body["message"] == "ppo.announce.trader: found nothing, expected a mapping"
    assert wrong.body["path"] == "ppo.announce.trader"
    tags = server.call("GET", f"registered-models/get?name={model}").body["registered_model"]["tags"]
    assert [tag["key"] for tag in tags] == ["ppo.fleet"]
    assert parse_fleet_tag(model, tags[0]["value"]) == (announcement(model),)
    assert server.announce("nobody").status == 404


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "model-versions/set-tag", {"version": "1", "key": "ppo.digest", "value": "x"}),
        ("DELETE", "model-versions/delete-tag", {"version": "1", "key": "ppo.digest"}),
        ("POST", "registered-models/set-tag", {"key": "ppo.fleet", "value": "[]"}),
        ("DELETE", "registered-models/delete-tag", {"key": "ppo.announce"}),
        ("POST", "registered-models/create", {"tags": [{"key": "ppo.fleet", "value": "[]"}]}),
        ("POST", "model-versions/create", {"source": "s3://b/m", "tags": [{"key": "ppo.digest", "value": "x"}]}),
    ],
)
def test_no_client_writes_the_gates_tags(
    method: str, path: str, body: dict[str, object], server: Server, model: str, folders: Folders
) -> None:
    if path != "registered-models/create":
        server.register(model, folders["2.6.0"])
    answer = server.call(method, path, {"name": model, **body})
    assert answer.status == 400
    assert "the gate alone writes these" in answer.body["message"]


def test_every_kind_of_source_is_read_within_the_server(
    server: Server, model: str, folders: Folders, client: MlflowClient
) -> None:
    server.register(model, folders["2.6.0"])
    run = client.get_run(client.get_model_version(model, "1").run_id)
    logged = client.create_logged_model("0", "named", source_run_id=run.info.run_id)
    client.log_model_artifacts(logged.model_id, folders["2.6.0"])
    client.finalize_logged_model(logged.model_id, "READY")
    client.create_model_version(model, f"models:/{logged.model_id}", model_id=logged.model_id)
    client.create_model_version(model, f"{run.info.artifact_uri}/policy", run_id=run.info.run_id)
    client.create_model_version(model, f"runs:/{run.info.run_id}/named", run_id=run.info.run_id)
    client.copy_model_version(f"models:/{model}/4", model)
    client.copy_model_version(f"models:/{model}/5", f"{model}-copy")
    read = [client.get_model_version(model, str(v)).tags for v in range(1, 6)]
    read.append(client.get_model_version(f"{model}-copy", "1").tags)
    assert {tags["ppo.spec"] for tags in read} == {"ppo 2.6.0"}
    assert len({tags["ppo.digest"] for tags in read}) == 1


def test_an_unreadable_source_may_be_registered_and_not_promoted(server: Server, model: str, folders: Folders) -> None:
    server.register(model, folders["2.6.0"])
    body = {"name": model, "source": "s3://no-such-bucket-anywhere/model"}
    assert server.call("POST", "model-versions/create", body).status == 200
    answer = server.promote(model, "2")
    assert answer.status == 409
    assert "version 2 can't become Production: try again later: MLmodel can't be read" in answer.body["message"]


def test_a_hostile_mlmodel_is_refused_and_the_server_lives(server: Server, model: str, tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_bytes(b"[" * 30_000)
    server.register(model, str(tmp_path))
    answer = server.promote(model, "1")
    assert answer.status == 409
    fact = f"Refused: {model} version 1 can't become Production: MLmodel: found values nested more than 64 deep"
    assert answer.body["message"].startswith(fact)
    assert server.promote(model, "1", "Archived").status == 200
    gone = server.call("DELETE", "model-versions/delete", {"name": model, "version": "1"})
    assert gone.status == 200


def test_models_of_other_flavors_pass_untouched(server: Server, model: str, folders: Folders) -> None:
    server.register(model, folders["sklearn"], folders["sklearn"])
    for version in ("2", "1"):
        assert server.promote(model, version).status == 200
    assert server.production(model) == ["2"]
    got = server.call("GET", f"model-versions/get?name={model}&version=2").body["model_version"]
    assert "tags" not in got
    assert got.get("description", "") == ""


def test_the_server_refuses_to_merge_a_workspace_into_what_traders_load(
    server: Server, model: str, folders: Folders
) -> None:
    prepared(server, model, folders, guarded=False)
    with sqlite3.connect(server.database.removeprefix("sqlite:///")) as database:
        for table, key in (("registered_models", "name"), ("model_versions", "name"), ("ppo_contracts", "model")):
            names = [row[1] for row in database.execute(f"PRAGMA table_info({table})") if row[1] != "workspace"]
            copied = (
                f"INSERT INTO {table} (workspace, {', '.join(names)}) SELECT 'two', {', '.join(names)} FROM {table}"
            )
            database.execute(f"{copied} WHERE {key} = ? AND workspace = 'default'", (model,))
    answer = send(server, "DELETE", "/api/3.0/mlflow/workspaces/two?mode=SET_DEFAULT")
    assert answer.status == 409
    assert answer.message.startswith(f"Refused: merging two would make {model}/Production load its version 3 unjudged")
