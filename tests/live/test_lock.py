"""One process on a state directory."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from live.journal import Journal
from live.lock import StateLock
from mlflow_ppo_flavor.errors import JournalError

HOLD = """
import sys, time
from pathlib import Path
from live.lock import StateLock
lock = StateLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


def test_a_second_holder_is_told_who_the_first_one_is(tmp_path: Path) -> None:
    with StateLock(tmp_path), pytest.raises(JournalError) as caught:
        StateLock(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / 'lock'}: held by process {os.getpid()}, expected to be free: "
        "one trader a state directory: stop that process, or give another --state-dir"
    )
    StateLock(tmp_path).release()


def test_a_second_trader_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with Journal.open(tmp_path, "live-1") as first:
        for trader_id in ("live-1", "live-2"):
            with pytest.raises(JournalError, match=f"held by process {os.getpid()}, expected to be free"):
                Journal.open(tmp_path, trader_id)
        first.note("alert", None, "still here", {})
    with Journal.open(tmp_path, "live-1") as second:
        assert [event.reason for event in second.events()] == ["still here"]


def test_a_refused_trader_leaves_the_lock_free(tmp_path: Path) -> None:
    Journal.open(tmp_path, "live-1").close()
    for _ in range(2):
        with pytest.raises(JournalError, match="the journal of trader 'live-1'"):
            Journal.open(tmp_path, "live-2")
    Journal.open(tmp_path, "live-1").close()


def test_the_lock_of_another_process_holds_until_that_dies(tmp_path: Path) -> None:
    """However it dies: nobody has to remove a file after a SIGKILL."""
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(JournalError, match=re.escape(f"held by process {other.pid}, expected to be free")):
            StateLock(tmp_path)
    finally:
        other.send_signal(signal.SIGKILL)
        other.communicate(timeout=10)
    StateLock(tmp_path).release()
