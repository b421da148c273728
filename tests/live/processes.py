"""The live trader as a process: started, listened to, and ended by signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from live.access import KEY_VARIABLE, SECRET_VARIABLE
from live.exchange.server import SIMULATED_KEY_ID, SIMULATED_SECRET_KEY
from tests.live.trading import CAPITAL, MODEL, SYMBOL, Registry

ROOT = Path(__file__).parents[2]
WITHIN = 60.0
URI = f"models:/{MODEL}/Production"


def arguments(state_dir: Path, url: str, *more: str) -> list[str]:
    """What the command is given, besides `python -m live`."""
    said = ["--symbols", SYMBOL, "--state-dir", str(state_dir), "--capital", f"{CAPITAL:g}", "--poll-seconds", "0.05"]
    return [URI, *said, "--trading-url", url, "--data-url", url, *more]


def environment(registry: Registry) -> dict[str, str]:
    """The environment of a process that trades from this registry, with keys for the simulated exchange."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PYTEST"))}
    return {
        **kept,
        KEY_VARIABLE: SIMULATED_KEY_ID,
        SECRET_VARIABLE: SIMULATED_SECRET_KEY,
        "MLFLOW_TRACKING_URI": registry.plain,
        "MLFLOW_REGISTRY_URI": registry.guarded,
    }


class Process:
    """A running command; `lines` are what it has said so far, on both channels."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout:
            self.lines.append(line.rstrip())

    @property
    def text(self) -> str:
        """All that was said."""
        return "\n".join(self.lines)

    def says(self, words: str, times: int = 1) -> str:
        """Wait until so many lines hold these words; the last of them."""
        deadline = time.monotonic() + WITHIN
        while time.monotonic() < deadline:
            found = [line for line in list(self.lines) if words in line]
            if len(found) >= times:
                return found[-1]
            if self._process.poll() is not None:
                self._reader.join()
                assert sum(words in line for line in self.lines) >= times, self.text
            time.sleep(0.02)
        raise AssertionError(f"never said {words!r}:\n{self.text}")

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal; exit code, and the seconds that it took."""
        began = time.monotonic()
        self._process.send_signal(number)
        return self.end(), time.monotonic() - began

    def end(self) -> int:
        """Wait for the end; the exit code."""
        code = self._process.wait(WITHIN)
        self._reader.join()
        return code


@contextmanager
def running(command: list[str], environment: dict[str, str]) -> Iterator[Process]:
    """A command, killed if it still runs when the block ends."""
    process = Process([sys.executable, "-m", *command], environment)
    try:
        yield process
    finally:
        process.kill()
