"""The demo's MLflow server: a real one on loopback, SQLite below it, its registry behind the gate."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import requests

from mlflow_ppo_flavor.errors import RegistryError

HOST = "127.0.0.1"
START_SECONDS, STOP_SECONDS = 120, 10


@dataclass(frozen=True, slots=True)
class Store:
    """Where a server keeps everything: one folder, the same for the demo and for looking at it afterwards."""

    folder: Path

    @property
    def database(self) -> str:
        """SQLAlchemy's URI of the database."""
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def options(self) -> list[str]:
        """The options of `mlflow server` and of `mlflow-ppo server` that serve this store."""
        return ["--backend-store-uri", self.database, "--artifacts-destination", str(self.folder / "artifacts")]


class TrackingServer:
    """A context: `mlflow server` runs on a free port from enter to exit, its output goes to the store's server.log."""

    def __init__(self, store: Store) -> None:
        self.store = store
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://{HOST}:{self.port}"

    def __enter__(self) -> TrackingServer:
        """Start the process; `wait` until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(self.port), "--workers", "1"]
        with (self.store.folder / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*command, *self.store.options, "--registry-store-uri", f"ppo:{self.store.database}"],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the process with its workers, which are its process group, and wait for its end."""
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def wait(self) -> None:
        """Until the server answers; RegistryError if it ends or takes longer than two minutes."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if requests.get(f"{self.url}/health", timeout=2).ok:
                    return
            except requests.ConnectionError:
                time.sleep(0.2)
        told = (self.store.folder / "server.log").read_text(errors="replace").strip().splitlines()[-5:]
        raise RegistryError("\n".join([f"mlflow server on {self.url} didn't start; it said:", *told]))
