"""README's blocks, run as a reader would: its server, its training code, its promotions, its trader."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import mlflow
import pytest
import requests

from tests.mlflow_state import pointed_at
from tests.packaging.test_readme import README, blocks
from tests.server.servers import STARTED_WITHIN, free_port

pytestmark = pytest.mark.server
PROGRAMS = str(Path(sys.executable).parent)
TRADED_WITHIN = 90.0


def block_with(language: str, text: str) -> str:
    """README's only block of a language that holds a text."""
    (found,) = [block for block in blocks(README, language) if text in block]
    return found


def environment() -> dict[str, str]:
    """A reader's: the programs are on the path, and nobody has said where MLflow is."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    return {**kept, "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}


@contextmanager
def running(script: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A block of shell as a process group of its own, ended by its id."""
    log = (folder / "process.log").open("w+")
    with log:
        process = subprocess.Popen(
            ["bash", "-euc", script],
            cwd=folder,
            env=environment(),
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def shell(script: str, folder: Path) -> str:
    """What a block of shell prints; it must succeed."""
    done = subprocess.run(["bash", "-euc", script], cwd=folder, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wait_for(url: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + STARTED_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(url, timeout=2).status_code < 500:
                return
        except requests.ConnectionError:
            time.sleep(0.2)
    raise AssertionError(f"nothing answers at {url}")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder, and the URL of the server that README's command started in it; a policy trained by its command."""
    folder, port = tmp_path_factory.mktemp("readme"), str(free_port())
    shell(block_with("bash", "python -m training"), folder)
    (folder / "server").mkdir()
    with running(block_with("bash", "mlflow-ppo server").replace("5000", port), folder / "server") as process:
        wait_for(f"http://127.0.0.1:{port}/health", process)
        yield folder, f"http://127.0.0.1:{port}"


@pytest.fixture
def promoted(served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """The same after README's Python blocks, run in order, and its promotion."""
    folder, url = served
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    with pointed_at(url):
        for block in blocks(README, "python"):
            exec(compile(block, "README.md", "exec"), names)
        mlflow.end_run()
    assert names["policy"].spec.symbols == ("AAPL",)
    script = block_with("bash", "mlflow-ppo promote").replace("http://127.0.0.1:5000", url)
    told = shell(script, folder)
    assert "live-1" in told
    assert "Allowed: Production loads version 1" in told
    return folder, url


def test_a_reader_gets_from_the_server_to_a_trading_process(promoted: tuple[Path, str]) -> None:
    folder, url = promoted
    port = str(free_port())
    source = files("bokeh_sampledata") / "_data" / "stocks.csv.gz"
    shutil.copy(str(source), folder / "stocks.csv.gz")
    exchange = block_with("bash", "python -m live.exchange").replace("8085", port)
    trader = f"export MLFLOW_TRACKING_URI={url}\n" + block_with("bash", "python -m live models").replace("8085", port)
    (folder / "trader").mkdir()
    with running(exchange, folder) as venue:
        wait_for(f"http://127.0.0.1:{port}/sim/state", venue)
        with running(trader, folder / "trader") as process:
            deadline = time.monotonic() + TRADED_WITHIN
            log = folder / "trader" / "process.log"
            while time.monotonic() < deadline and process.poll() is None and not re.search("decided", log.read_text()):
                time.sleep(0.5)
    assert re.search(r"decided: AAPL 2012-", log.read_text()), log.read_text()
    assert "simulated-secret" not in log.read_text()
