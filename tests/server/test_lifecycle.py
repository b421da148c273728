"""A guarded server starts, says so, and stops without leaving anything behind."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.registry import databases
from tests.server.servers import STOPPED_WITHIN, _wait, environment, free_port

pytestmark = pytest.mark.server


def test_a_signal_ends_the_server_and_all_its_processes(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "server.log"
    program = Path(sys.executable).with_name("mlflow-ppo")
    options = ["--backend-store-uri", databases.fresh(tmp_path), "--port", str(port), "--workers", "1"]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [program, "server", *options], cwd=tmp_path, env=environment(), stdout=sink, stderr=sink
        )
    try:
        _wait(f"http://127.0.0.1:{port}", process, log)
        family = psutil.Process(process.pid).children(recursive=True)
        assert family
        process.send_signal(signal.SIGTERM)
        process.wait(STOPPED_WITHIN)
        _, alive = psutil.wait_procs(family, timeout=STOPPED_WITHIN)
        assert alive == []
    finally:
        process.kill()
    told = log.read_text()
    assert told.startswith(f"MLflow with the gate of mlflow-ppo: http://127.0.0.1:{port}\n")
    assert "Traceback" not in told


def test_the_database_stays_out_of_the_process_arguments(tmp_path: Path) -> None:
    uri = f"postgresql://user:secret@127.0.0.1:{free_port()}/db"
    program = Path(sys.executable).with_name("mlflow-ppo")
    process = subprocess.Popen(
        [program, "server", "--port", str(free_port())],
        cwd=tmp_path,
        env={**environment(), "MLFLOW_BACKEND_STORE_URI": uri},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        seen = psutil.Process(process.pid)
        deadline = time.monotonic() + 30
        while "mlflow" not in seen.cmdline() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert "mlflow" in seen.cmdline()
        assert not any("secret" in argument for argument in seen.cmdline())
    finally:
        process.kill()
        process.wait()
