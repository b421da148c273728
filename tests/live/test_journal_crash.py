"""The journal after a SIGKILL at any moment, and on a full disk: what was told as written is there, nothing is half."""

import random
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest

from live.journal import Journal
from live.ticket import Ticket
from tests import tiers

KILLS = tiers.count(3, 30)
WRITER = """
import sys
from decimal import Decimal
from pathlib import Path
from live.journal import Journal, Standing
from live.ticket import OrderReport, Ticket
from mlflow_ppo_flavor.decision.account import AccountState, apply_fill
from mlflow_ppo_flavor.decision.market import Fill
with Journal.open(Path(sys.argv[1]), "live-1") as journal:
    state = AccountState.start(1e6)
    for number in range(1_000_000):
        ticket = Ticket.of("live-1", "AAPL", Decimal(1), number, leg=0, attempt=0, reason="")
        journal.record_order(ticket)
        print("sent", number, flush=True)
        fill = Fill(number, Decimal(1), 10.0, 0.0)
        state = apply_fill(state, fill)
        report = OrderReport(ticket.client_order_id, "filled", Decimal(1), 10.0, number)
        journal.settle("AAPL", ticket.client_order_id, report, fill, Standing(state, number))
        print("settled", number, flush=True)
"""
FULL = """
import resource, signal, sys
from pathlib import Path
from live.journal import Journal
from mlflow_ppo_flavor.errors import JournalError
with Journal.open(Path(sys.argv[1]), "live-1") as journal:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    written = 0
    try:
        while True:
            journal.note("alert", None, "x" * 1000, {})
            written += 1
    except JournalError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        journal.note("alert", None, "room again", {})
        print(written, len(journal.events()), error)
"""


def told_before_a_kill(folder: Path, after: float) -> tuple[int, int]:
    """How many orders a writer said it had recorded, and how many settled, before it was killed."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "sent 0\n"
    time.sleep(after)
    writer.send_signal(signal.SIGKILL)
    # to its end, through the same buffer as readline: what stands there would be lost to communicate
    lines = ["sent 0", *writer.stdout.read().splitlines()]
    writer.stdout.close()
    assert writer.wait(10) == -signal.SIGKILL
    return sum(line.startswith("sent ") for line in lines), sum(line.startswith("settled ") for line in lines)


@pytest.mark.parametrize("kill", range(KILLS))
def test_what_was_told_as_written_survives_a_kill(tmp_path: Path, kill: int) -> None:
    sent, settled = told_before_a_kill(tmp_path, random.Random(kill).uniform(0.0, 0.2))
    with Journal.open(tmp_path, "live-1") as journal:
        orders, fills, standing = journal.orders("AAPL"), journal.fills("AAPL"), journal.account("AAPL")
        open_orders = journal.open_orders("AAPL")
    assert sent <= len(orders) <= sent + 1
    assert settled <= len(fills) <= settled + 1
    assert open_orders == orders[len(fills) :]
    assert [order.bar_time for order in orders] == list(range(len(orders)))
    assert (standing.state.quantity if standing else 0) == len(fills)


def test_a_crash_between_record_and_send_leaves_an_open_order(tmp_path: Path) -> None:
    """It is what a restart asks the venue about: whether it went out or not."""
    ticket = Ticket.of("live-1", "AAPL", Decimal(1), 0, leg=0, attempt=0, reason="")
    record = f"journal.record_order(Ticket.from_dict({ticket.to_dict()!r})); os._exit(9)"
    script = f"""
import os
from pathlib import Path
from live.journal import Journal
from live.ticket import Ticket
journal = Journal.open(Path({str(tmp_path)!r}), "live-1"); {record}
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == 9
    with Journal.open(tmp_path, "live-1") as journal:
        assert journal.open_orders("AAPL") == (ticket,)


def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path) -> None:
    """Against a real limit of the operating system on the size of files."""
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    written, read, *message = done.stdout.split()
    assert int(written) > 10
    assert int(read) == int(written) + 1
    assert " ".join(message).startswith("journal: can't be written (")
    with Journal.open(tmp_path, "live-1") as journal:
        assert len(journal.events("alert")) == int(read)
