"""Real MLflow servers on loopback, guarded by `mlflow-ppo server` or plain, and HTTP as curl would speak it."""

import base64
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.registry import databases
from tests.registry.model_folders import announce_value, announcement

STARTED_WITHIN = 120.0
STOPPED_WITHIN = 30.0
# Where a test starts a server with MLflow's basic-auth: made anew for every run.
ADMIN_PASSWORD = secrets.token_urlsafe(24)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: dict[str, Any]


@dataclass(frozen=True)
class Server:
    """A running MLflow server: its URL, its databases, the folder that it keeps artifacts in, and who asks it."""

    url: str
    database: str
    folder: Path
    registry: str = ""
    group: int = 0
    user: tuple[str, str] | None = None

    def call(self, method: str, path: str, body: dict[str, Any] | None = None, *, root: str = "api") -> Answer:
        """One request to `/<root>/2.0/mlflow/<path>`."""
        request = urllib.request.Request(
            f"{self.url}/{root}/2.0/mlflow/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **self._authorization()},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Answer(answer.status, json.loads(answer.read() or b"{}"))
        except urllib.error.HTTPError as error:
            return Answer(error.code, json.loads(error.read() or b"{}"))

    def register(self, model: str, *folders: str) -> None:
        """Versions 1, 2, … of a model, each logged to a run of its own through the server."""
        assert self.call("POST", "registered-models/create", {"name": model}).status == 200
        for folder in folders:
            body = {"name": model, "source": self.log(folder), "run_id": ""}
            body["run_id"] = body["source"].split("/")[1]
            answer = self.call("POST", "model-versions/create", body)
            assert answer.status == 200, answer

    def log(self, folder: str) -> str:
        """The `runs:/` URI of a model folder, uploaded file by file to the server's artifact store."""
        run = self.call("POST", "runs/create", {"experiment_id": "0", "start_time": 0}).body["run"]["info"]
        place = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
        for file in Path(folder).iterdir():
            url = f"{self.url}/api/2.0/mlflow-artifacts/artifacts/{place}/policy/{file.name}"
            request = urllib.request.Request(url, file.read_bytes(), self._authorization(), method="PUT")
            urllib.request.urlopen(request, timeout=60).close()
        return f"runs:/{run['run_id']}/policy"

    def _authorization(self) -> dict[str, str]:
        if self.user is None:
            return {}
        return {"Authorization": f"Basic {base64.b64encode(':'.join(self.user).encode()).decode()}"}

    def announce(
        self, model: str, label: str = "Production", *, version: str = "2.7.0", trader_id: str = "live-1"
    ) -> Answer:
        """A trader announces itself, as raw HTTP."""
        value = announce_value(announcement(model, label, trader_id, version))
        return self.call("POST", "registered-models/set-tag", {"name": model, "key": "ppo.announce", "value": value})

    def promote(self, model: str, version: str, stage: str = "Production", *, root: str = "api", **more: Any) -> Answer:
        """A stage transition, as raw HTTP."""
        body = {"name": model, "version": version, "stage": stage, "archive_existing_versions": False, **more}
        return self.call("POST", "model-versions/transition-stage", body, root=root)

    def production(self, model: str) -> list[str]:
        """The versions that `models:/<model>/Production` may resolve to: one or none."""
        body = {"name": model, "stages": ["Production"]}
        latest = self.call("POST", "registered-models/get-latest-versions", body).body
        return [each["version"] for each in latest.get("model_versions", [])]

    def kill(self) -> None:
        """End the server and all its workers at once, as a machine that fails does."""
        os.killpg(self.group, signal.SIGKILL)


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(
    folder: Path,
    *options: str,
    guarded: bool = True,
    database: str | None = None,
    registry: str | None = None,
    workers: int = 1,
) -> Iterator[Server]:
    """A server until the block ends, started by `mlflow-ppo server` or, unguarded, by MLflow's own.

    Its processes are a group of their own; `registry` is the registry's database where it is another.
    """
    folder.mkdir(parents=True, exist_ok=True)
    uri, port = database or databases.fresh(folder), free_port()
    program = [str(Path(sys.executable).with_name("mlflow-ppo"))] if guarded else [sys.executable, "-m", "mlflow"]
    apart = [] if registry is None else ["--registry-store-uri", registry]
    command = [*program, "server", "--backend-store-uri", uri, *apart, "--port", str(port)]
    log = folder / "server.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*command, "--workers", str(workers), *options],
            cwd=folder,
            env=environment(),
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(f"http://127.0.0.1:{port}", uri, folder, registry or uri, process.pid)
    try:
        _wait(server.url, process, log)
        yield server
    finally:
        stop(process)


def environment() -> dict[str, str]:
    """This process's environment without what would lead a server elsewhere, and without background jobs."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "_MLFLOW", "PYTEST"))}
    return {
        **kept,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "the key of a test's server",
        "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN_PASSWORD,
    }


def stop(process: subprocess.Popen[bytes]) -> int:
    """Ask a process to end, and wait until it has."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(STOPPED_WITHIN)
    finally:
        process.kill()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + STARTED_WITHIN
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server ended:\n{log.read_text()}"
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except urllib.error.HTTPError:
            # under a static prefix its paths are others
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"no server within {STARTED_WITHIN} s:\n{log.read_text()}")
