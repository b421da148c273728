"""MLflow's own commands on a logged model: `mlflow models predict` and `mlflow models serve`, in real processes."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests

import mlflow_ppo_flavor as ppo
from mlflow_ppo_flavor.model.prediction import Predictor
from mlflow_ppo_flavor.model.storage import read_model
from tests.model.policies import SPEC, observations, small_golden, small_policy

pytestmark = pytest.mark.server
MODELS = [sys.executable, "-m", "mlflow", "models"]
# the command starts uvicorn by its name
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
START_SECONDS = 60
SEEN = observations(SPEC, 3).numpy()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("served") / "model"
    ppo.save_model(small_policy(), path, golden=small_golden())
    return path


def expected(model: Path, params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    return Predictor(read_model(model)).predict(SEEN, params).to_dict("records")


def same(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    pd.testing.assert_frame_equal(pd.DataFrame(found), pd.DataFrame(wanted), rtol=1e-6)


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[str]:
    """A scoring server on a free port of loopback; what it says comes with the failure if it doesn't start."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    log = model.parent / "server.log"
    command = [*MODELS, "serve", "-m", str(model), "-h", "127.0.0.1", "-p", port, "--env-manager", "local"]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output, env=ENVIRONMENT) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            _wait(url, process, log)
            yield url
        finally:
            process.terminate()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if requests.get(f"{url}/ping", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.1)
    pytest.fail(f"the scoring server didn't start: {log.read_text()[-2_000:]}")


def post(server: str, body: dict[str, Any]) -> requests.Response:
    return requests.post(f"{server}/invocations", json=body, timeout=30)


def test_the_server_decides_as_the_model_does(server: str, model: Path) -> None:
    answer = post(server, {"inputs": SEEN.tolist()})
    assert answer.status_code == 200, answer.text
    same(answer.json()["predictions"], expected(model))


def test_the_server_takes_the_parameters(server: str, model: Path) -> None:
    drawn = {"deterministic": False, "seed": 11}
    same(post(server, {"inputs": SEEN.tolist(), "params": drawn}).json()["predictions"], expected(model, drawn))


def test_the_server_refuses_what_is_no_observation(server: str) -> None:
    short = post(server, {"inputs": SEEN[:, 1:].tolist()})
    assert short.status_code == 400
    assert "Shape of input (3, 23) does not match expected shape (-1, 24)" in short.text
    body = json.dumps({"inputs": [[None, *SEEN[0, 1:].tolist()]]})
    missing = requests.post(
        f"{server}/invocations", data=body, headers={"Content-Type": "application/json"}, timeout=30
    )
    assert missing.status_code == 400
    assert "observations[0, 0]: found nan, expected finite numbers: it is return_1@1 of bar 0" in missing.text


def test_the_predict_command_decides_as_the_model_does(model: Path, tmp_path: Path) -> None:
    drawn = {"deterministic": False, "seed": 11}
    (tmp_path / "in.json").write_text(json.dumps({"inputs": SEEN.tolist(), "params": drawn}))
    files = ["-i", str(tmp_path / "in.json"), "-o", str(tmp_path / "out.json")]
    done = subprocess.run(
        [*MODELS, "predict", "-m", str(model), *files, "--env-manager", "local"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    same(json.loads((tmp_path / "out.json").read_text())["predictions"], expected(model, drawn))
