"""The exchange as a process: its ready line, keys, options, and how it ends."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from live.exchange.command import main
from live.exchange.server import SIMULATED_SECRET_KEY
from tests.live.exchange.venues import data_client, trading_client

pytestmark = pytest.mark.server
ROOT = Path(__file__).parents[3]
DAYS = ("2012-10-24", "2012-10-25", "2012-10-26", "2012-10-31")


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    path = tmp_path / "AAA.csv"
    rows = [f"{day},{10 + n},{11 + n},{9 + n},{10.5 + n},100" for n, day in enumerate(DAYS)]
    path.write_text("date,open,high,low,close,volume\n" + "\n".join(rows) + "\n")
    return path


@contextmanager
def running(*options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its address, once it has told it."""
    command = [sys.executable, "-m", "live.exchange", *options]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, text=True)
    try:
        word, _, url = process.stdout.readline().strip().partition(" ")
        assert word == "ready"
        yield process, url
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_when_it_listens_serves_and_ends_in_peace(bars: Path, number: signal.Signals) -> None:
    with running("--bars", str(bars), "--cash", "500", "--start", "2012-10-26T16:00:00-04:00") as (process, url):
        assert url.startswith("http://127.0.0.1:")
        client = trading_client(url)
        assert client.get_account().cash == "500"
        assert client.get_clock().timestamp.isoformat() == "2012-10-26T16:00:00-04:00"
        began = time.monotonic()
        process.send_signal(number)
        assert process.wait(timeout=6) == 0
        assert time.monotonic() - began < 6
        assert process.stdout.read() == ""


def test_keys_come_from_the_environment(bars: Path) -> None:
    keys = {"APCA_API_KEY_ID": "SIMULATED-KEY", "APCA_API_SECRET_KEY": "another"}
    with running("--bars", str(bars), **keys) as (_, url):
        assert trading_client(url, secret_key="another").get_account().cash == "100000"
        with pytest.raises(Exception, match="unauthorized"):
            trading_client(url, secret_key=SIMULATED_SECRET_KEY).get_account()
        with pytest.raises(Exception, match="unauthorized"):
            data_client(url)._request("GET", "/stocks/bars")


def test_time_runs_at_the_speed_asked_for(bars: Path) -> None:
    """At a million seconds a second all four days are over at once."""
    with running("--bars", str(bars), "--speed", "1e6") as (_, url):
        time.sleep(1.0)
        assert trading_client(url).get_clock().timestamp.isoformat() == "2012-10-31T16:00:00-04:00"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cash", "-1"], "'-1' is no amount of money, expected a number above 0 such as 100000"),
        (["--start", "soon"], "'soon' is no time, expected 2012-10-26 or 2012-10-26T16:00:00-04:00"),
        (["--symbol", "ZZZ"], "Error: bar files: found no symbol ZZZ, expected one of AAA"),
        (["--speed", "0"], "Invalid value for '--speed'"),
    ],
)
def test_options_that_cannot_be_are_refused(bars: Path, options: list[str], message: str) -> None:
    done = CliRunner().invoke(main, ["--bars", str(bars), *options])
    assert done.exit_code in (1, 2)
    assert message in done.output


def test_a_port_that_is_taken_is_told(bars: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = CliRunner().invoke(main, ["--bars", str(bars), "--port", str(port)])
    assert done.exit_code == 1
    assert done.output == f"Error: port {port} on 127.0.0.1: Address already in use: choose another or 0\n"


def test_it_helps() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "live.exchange", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith("Usage: python -m live.exchange [OPTIONS]")
