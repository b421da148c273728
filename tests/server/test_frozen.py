"""What a registered version consists of stays as it is: every way to write that MLflow's server offers, as raw HTTP.

Each attack succeeds on MLflow's own server with a plain folder as --artifacts-destination.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import mlflow.cli
import pytest
from click.testing import CliRunner
from mlflow.tracking import MlflowClient

import mlflow_ppo_flavor as ppo
from tests.mlflow_state import pointed_at
from tests.model.policies import small_golden, small_policy
from tests.registry import databases
from tests.server.servers import Server, serving
from tests.server.wire import ARTIFACTS, Reply, send, send_json, tree

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """MLflow's own server with two workers, a guarded registry, and artifacts frozen."""
    folder = tmp_path_factory.mktemp("frozen")
    database = databases.fresh(folder)
    destination = f"ppo-file://{folder}/mlartifacts"
    options = ("--artifacts-destination", destination)
    with serving(folder, *options, guarded=False, database=database, registry=f"ppo:{database}", workers=2) as started:
        yield started


@dataclass(frozen=True)
class Target:
    """A registered version, the folder that it lies in, and the run and experiment that it came from."""

    server: Server
    model: str
    experiment: str
    run: str
    source: str

    @property
    def run_path(self) -> str:
        return f"{self.experiment}/{self.run}"

    @property
    def path(self) -> str:
        """The folder in the repository."""
        return f"{self.run_path}/artifacts/policy"

    @property
    def repository(self) -> Path:
        return self.server.folder / "mlartifacts"

    @property
    def folder(self) -> Path:
        return self.repository / self.path

    def put(self, path: str, body: bytes = b"evil") -> Reply:
        return send(self.server, "PUT", f"{ARTIFACTS}/{path}", body)

    def delete(self, path: str) -> Reply:
        return send(self.server, "DELETE", f"{ARTIFACTS}/{path}")

    def register(self, name: str, source: str | None = None) -> None:
        self.server.call("POST", "registered-models/create", {"name": name})
        body = {"name": name, "source": source or self.source, "run_id": self.run}
        answer = self.server.call("POST", "model-versions/create", body)
        assert answer.status == 200, answer


def target(server: Server, folders: dict[str, str]) -> Target:
    """A version of a model of its own, in an experiment of its own."""
    model = f"m{time.monotonic_ns()}"
    experiment = server.call("POST", "experiments/create", {"name": model}).body["experiment_id"]
    run = server.call("POST", "runs/create", {"experiment_id": experiment, "start_time": 0}).body["run"]["info"]
    made = Target(server, model, experiment, run["run_id"], f"runs:/{run['run_id']}/policy")
    for file in Path(folders["2.7.0"]).iterdir():
        assert made.put(f"{made.path}/{file.name}", file.read_bytes()).status == 200
    made.register(model)
    return made


def upload(at: Target, run: str, path: str) -> Reply:
    return send(at.server, "POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path={path}", b"evil")


def upload_elsewhere(at: Target, location: str) -> Reply:
    """By a run of an experiment whose artifact location is a path in the server's own file system."""
    body = {"name": f"e{time.monotonic_ns()}", "artifact_location": location}
    experiment = at.server.call("POST", "experiments/create", body).body["experiment_id"]
    run = at.server.call("POST", "runs/create", {"experiment_id": experiment, "start_time": 0}).body["run"]["info"]
    return upload(at, run["run_id"], "code/x.py")


def by_link(at: Target, attack: Callable[[str], Reply]) -> Reply:
    link = at.repository / f"link{time.monotonic_ns()}"
    link.symlink_to(at.folder)
    return attack(link.name)


# Each changes the registered version's folder on a server that doesn't freeze it.
ATTACKS: dict[str, Callable[[Target], Reply]] = {
    "PUT": lambda at: at.put(f"{at.path}/MLmodel"),
    "PUT a new file": lambda at: at.put(f"{at.path}/loader.py"),
    "PUT a code folder": lambda at: at.put(f"{at.path}/code/x.py"),
    "PUT for the page": lambda at: send(
        at.server, "PUT", f"{ARTIFACTS}/{at.path}/MLmodel".replace("/api/", "/ajax-api/"), b"evil"
    ),
    "PUT encoded": lambda at: at.put(f"{at.path}/%4dLmodel"),
    "PUT encoded twice": lambda at: at.put(f"{at.path}/%254dLmodel"),
    "PUT encoded five times": lambda at: at.put(f"{at.path}/%252525254dLmodel"),
    "PUT an encoded slash": lambda at: at.put(f"{at.path}%2fMLmodel"),
    "PUT by a link": lambda at: by_link(at, lambda link: at.put(f"{link}/MLmodel")),
    "upload-artifact": lambda at: upload(at, at.run, "policy/MLmodel"),
    "an experiment in the folder, file:": lambda at: upload_elsewhere(at, at.folder.as_uri()),
    "an experiment in the folder, a plain path": lambda at: upload_elsewhere(at, str(at.folder)),
    "DELETE": lambda at: at.delete(f"{at.path}/MLmodel"),
    "DELETE the folder": lambda at: at.delete(at.path),
    "DELETE the artifacts": lambda at: at.delete(f"{at.run_path}/artifacts"),
    "DELETE the run": lambda at: at.delete(at.run_path),
    "DELETE the experiment": lambda at: at.delete(at.experiment),
    "DELETE encoded twice": lambda at: at.delete(f"{at.run_path}/artifacts/%2570olicy/MLmodel"),
    "DELETE dots": lambda at: at.delete(f"./{at.run_path}/./artifacts//policy/./MLmodel"),
    "DELETE by a link": lambda at: by_link(at, lambda link: at.delete(f"{link}/MLmodel")),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_request_changes_a_registered_version(
    attack: str, frozen: Server, plain_server: Server, folders: dict[str, str]
) -> None:
    at = target(frozen, folders)
    before = tree(at.folder)
    answer = ATTACKS[attack](at)
    assert answer.status == 409, answer
    told = f"Refused: the artifacts of {at.model} version 1 are frozen since it was registered: "
    assert answer.message.startswith(told)
    assert len(told) < 150
    assert tree(at.folder) == before != {}
    plain = target(plain_server, folders)
    before = tree(plain.folder)
    answer = ATTACKS[attack](plain)
    assert answer.status == 200, answer
    assert tree(plain.folder) != before


# MLflow refuses these by itself, for every file, as long as the repository can't do them.
REFUSED_BY_MLFLOW: dict[str, tuple[int, str, Callable[[Target], Reply]]] = {
    "PUT ..": (400, "Invalid path", lambda at: at.put(f"{at.path}/x/../MLmodel")),
    "PUT .. encoded twice": (400, "Invalid path", lambda at: at.put(f"{at.path}/x/%252e%252e/MLmodel")),
    "PUT an absolute path": (400, "Invalid path", lambda at: at.put(f"%252f{at.folder}/MLmodel".replace("//", "/"))),
    "PUT file:": (400, "Invalid path", lambda at: at.put(f"file:%252f{str(at.folder)[1:]}/MLmodel")),
    "DELETE ..": (400, "Invalid path", lambda at: at.delete(f"{at.path}/x/..")),
    "multipart upload": (
        501,
        "Multipart upload is not supported",
        lambda at: send_json(
            at.server, f"/api/2.0/mlflow-artifacts/mpu/create/{at.path}", {"path": "MLmodel", "num_parts": 1}
        ),
    ),
    "multipart completion": (
        501,
        "Multipart upload is not supported",
        lambda at: send_json(
            at.server,
            f"/api/2.0/mlflow-artifacts/mpu/complete/{at.path}",
            {"path": "MLmodel", "upload_id": "1", "parts": [{"part_number": 1, "etag": "1"}]},
        ),
    ),
    "multipart abort": (
        501,
        "Multipart upload is not supported",
        lambda at: send_json(
            at.server, f"/api/2.0/mlflow-artifacts/mpu/abort/{at.path}", {"path": "MLmodel", "upload_id": "1"}
        ),
    ),
    "presigned upload": (
        400,
        "Presigned upload is not supported for proxied artifact storage",
        lambda at: send_json(
            at.server,
            "/api/2.0/mlflow/artifacts/presigned-upload-url",
            {"run_id": at.run, "path": "policy/MLmodel"},
        ),
    ),
    "presigned download": (
        501,
        "Multipart download is not supported",
        lambda at: send(at.server, "GET", f"/api/2.0/mlflow-artifacts/presigned/{at.path}/MLmodel"),
    ),
}


@pytest.mark.parametrize("attack", REFUSED_BY_MLFLOW)
def test_what_mlflow_refuses_stays_refused(attack: str, frozen: Server, folders: dict[str, str]) -> None:
    at = target(frozen, folders)
    before = tree(at.folder)
    status, message, request = REFUSED_BY_MLFLOW[attack]
    answer = request(at)
    assert answer.status == status, answer
    assert answer.message.startswith(message)
    assert tree(at.folder) == before != {}


def test_the_folder_itself_and_its_parents_become_no_file(frozen: Server, folders: dict[str, str]) -> None:
    at = target(frozen, folders)
    for path in (at.path, f"{at.run_path}/artifacts", at.run_path, at.experiment):
        answer = at.put(path)
        assert (answer.status, answer.message.split(" version")[0]) == (409, f"Refused: the artifacts of {at.model}")
    for path in (".", "%2e", "./"):
        assert at.delete(path).status == 409
    assert at.folder.is_dir()


@pytest.mark.parametrize("path", ["{run}//artifacts///policy/MLmodel", "./{run}/./artifacts/%2e/policy/MLmodel"])
def test_a_name_that_mlflow_would_refuse_is_refused_first(path: str, frozen: Server, folders: dict[str, str]) -> None:
    at = target(frozen, folders)
    before = tree(at.folder)
    answer = at.put(path.format(run=at.run_path))
    assert (answer.status, answer.message.split(" version")[0]) == (409, f"Refused: the artifacts of {at.model}")
    assert tree(at.folder) == before


def test_what_is_not_a_version_is_written_read_and_deleted(frozen: Server, folders: dict[str, str]) -> None:
    at = target(frozen, folders)
    beside = f"{at.run_path}/artifacts/notes.txt"
    assert at.put(beside, b"notes").status == 200
    assert send(frozen, "GET", f"{ARTIFACTS}/{beside}").body == b"notes"
    assert send(frozen, "GET", f"{ARTIFACTS}/{at.path}/MLmodel").body == (at.folder / "MLmodel").read_bytes()
    assert at.delete(beside).status == 200
    assert send(frozen, "GET", f"{ARTIFACTS}/{beside}").status == 404
    frozen.call("DELETE", "model-versions/delete", {"name": at.model, "version": "1"})
    assert at.delete(at.path).status == 200
    assert not at.folder.exists()


def test_a_folder_of_two_versions_is_free_once_both_are_deleted(frozen: Server, folders: dict[str, str]) -> None:
    at = target(frozen, folders)
    for name, source in ((f"{at.model}-copy", f"models:/{at.model}/1"), (f"{at.model}-again", None)):
        at.register(name, source)
    for name in (at.model, f"{at.model}-copy"):
        frozen.call("DELETE", "model-versions/delete", {"name": name, "version": "1"})
        assert at.put(f"{at.path}/MLmodel").status == 409
    frozen.call("DELETE", "registered-models/delete", {"name": f"{at.model}-again"})
    assert at.put(f"{at.path}/MLmodel").status == 200


@pytest.mark.parametrize("place", ["{repository}/{path}", "{repository}", "/etc"])
def test_a_source_may_not_name_another_place_of_the_server(place: str, frozen: Server, folders: dict[str, str]) -> None:
    at, mine = target(frozen, folders), target(frozen, folders)
    for scheme in ("ppo-file", "PPO-FILE"):
        source = f"{scheme}://{place.format(repository=at.repository, path=at.path)}"
        answer = frozen.call(
            "POST", "model-versions/create", {"name": mine.model, "source": source, "run_id": mine.run}
        )
        assert answer.status == 400
        told = (
            f"Invalid model version source: '{source}'. The run_id or model_id request parameter must identify the run"
        )
        assert answer.body["message"].startswith(told)
    plain = f"{mine.repository}/{at.path}"
    answer = frozen.call("POST", "model-versions/create", {"name": mine.model, "source": plain, "run_id": mine.run})
    assert (answer.status, answer.body["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_a_source_in_its_own_run_is_the_same_folder(frozen: Server, folders: dict[str, str]) -> None:
    at = target(frozen, folders)
    at.register(f"{at.model}-local", f"ppo-file://{at.folder}")
    at.register(f"{at.model}-proxied", f"mlflow-artifacts:/{at.path}")
    answer = at.put(f"{at.path}/MLmodel")
    told = f"Refused: the artifacts of {at.model} version 1 (and of 2 more) are frozen"
    assert (answer.status, answer.message.partition(" since")[0]) == (409, told)


def test_mlflow_itself_logs_registers_copies_and_loads(frozen: Server) -> None:
    with pointed_at(frozen.url):
        with mlflow.start_run() as run:
            info = ppo.log_model(small_policy(), name="policy", golden=small_golden(), registered_model_name="logged")
        assert str(info.registered_model_version) == "1"
        again = mlflow.register_model(f"runs:/{run.info.run_id}/policy", "again")
        client = MlflowClient()
        client.copy_model_version("models:/logged/1", "copied")
        client.log_text(run.info.run_id, "notes", "notes.txt")
        folder = frozen.folder / "mlartifacts" / "0" / "models" / str(info.model_id) / "artifacts"
        before = tree(folder)
        told = r"^409 Client Error: Conflict.*Refused: the artifacts of again version 1 \(and of 2 more\) are frozen"
        for attack in (
            lambda: client.log_model_artifacts(str(info.model_id), str(folder)),
            lambda: mlflow.models.update_model_requirements(info.model_uri, "add", ["coolpackage"]),
        ):
            with pytest.raises(Exception, match=told):
                attack()
        for uri in ("models:/logged/1", f"models:/again/{again.version}", "models:/copied/1", info.model_uri):
            assert mlflow.pyfunc.load_model(uri, suppress_warnings=True).metadata.model_id == info.model_id
        assert tree(folder) == before
        assert {"MLmodel", "policy.safetensors"} <= before.keys()


def test_gc_deletes_what_no_version_needs_and_stops_at_what_one_does(frozen: Server, folders: dict[str, str]) -> None:
    at = target(frozen, folders)
    run = frozen.call("POST", "runs/create", {"experiment_id": at.experiment, "start_time": 0}).body["run"]["info"]
    free = f"{at.experiment}/{run['run_id']}"
    assert at.put(f"{free}/artifacts/notes.txt").status == 200
    for run_id in (run["run_id"], at.run):
        frozen.call("POST", "runs/delete", {"run_id": run_id})
    assert gc(frozen, run["run_id"]) == f"Run with ID {run['run_id']} has been permanently deleted.\n"
    assert not (at.repository / free / "artifacts").exists()
    with pytest.raises(Exception, match=f"Refused: the artifacts of {at.model} version 1 are frozen since it was"):
        gc(frozen, at.run)
    assert tree(at.folder)
    assert frozen.call("GET", f"runs/get?run_id={at.run}").status == 200


def gc(server: Server, run_id: str) -> str:
    """What `mlflow gc` of a run says, as MLflow's documentation has it for a server that proxies artifacts."""
    options = ["--backend-store-uri", server.database, "--tracking-uri", server.url, "--run-ids", run_id]
    with pointed_at(server.url):
        return CliRunner().invoke(mlflow.cli.gc, options, catch_exceptions=False).stdout
