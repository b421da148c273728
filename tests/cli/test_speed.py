"""How long a user waits for `mlflow-ppo --help`."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

RUNS = 7


@pytest.mark.bench
def test_help_is_there_at_once() -> None:
    program = Path(sys.executable).with_name("mlflow-ppo")
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        subprocess.run([program, "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    median = sorted(times)[RUNS // 2]
    print(f"\nmlflow-ppo --help: {median * 1000:.0f} ms (median of {RUNS})")
    assert median < 0.5
