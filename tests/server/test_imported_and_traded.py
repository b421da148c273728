"""As a new user: somebody else's checkpoint, imported, given golden decisions, verified, promoted and traded."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import mlflow_ppo_flavor as ppo
from tests.cli.commands import Outcome, mlflow_ppo
from tests.live.meddled import MeddledExchange
from tests.live.trading import FIRST, MODEL, SYMBOL, Floor, decided_bars, orders_of, outcome
from tests.mlflow_state import pointed_at
from tests.model.foreign.training import SCRIPT, write_bars
from tests.server.servers import Server, environment
from tests.training.markets import bars

pytestmark = [pytest.mark.server, pytest.mark.filterwarnings("ignore:.*stages.*:FutureWarning")]
TRADED = 8


def train(folder: Path) -> None:
    """The script as its author runs it: a program that doesn't know us, with its own classes in the checkpoint."""
    write_bars(folder / "bars.csv", bars())
    command = [sys.executable, "-I", str(SCRIPT), "bars.csv", "."]
    subprocess.run(command, cwd=folder, env=environment(), check=True, capture_output=True)


def first_choice(folder: Path) -> tuple[int, str]:
    """What the author's own code does at the close of the bar where the trader begins, with a flat account."""
    author = runpy.run_path(str(SCRIPT))
    policy = author["Policy"]()
    inert = ppo.load_checkpoint(folder / "legacy.pt")
    policy.load_state_dict(inert["policy_state_dict"])
    table = np.loadtxt(folder / "bars.csv", delimiter=",", skiprows=1)
    columns = {"open": table[:, 1], "close": table[:, 4]}
    with torch.no_grad():
        _, _, _, _, _, action, quantity = next(author["act"](policy, columns, FIRST, FIRST))
    return action, f"{quantity:f}"


def test_from_a_script_of_elsewhere_to_orders(server: Server, tmp_path: Path) -> None:
    def run(*arguments: str | Path) -> Outcome:
        return mlflow_ppo(*map(str, arguments), MLFLOW_TRACKING_URI=server.url)

    train(tmp_path)
    with pytest.raises(AttributeError, match="TrainingConfig"):
        torch.load(tmp_path / "legacy.pt", weights_only=False)
    imported = ("import", tmp_path / "legacy.pt", "--name", MODEL, "--spec", tmp_path / "spec.json")

    bare = run(*imported)
    assert (bare.code, "unproven: no golden decisions came with it" in bare.out) == (0, True)
    assert run("verify", f"models:/{MODEL}/1").code == 1
    with pointed_at(server.url):
        ppo.announce_trader(MODEL, trader_id="cash-1", reference="Production", paper=False)
        ppo.announce_trader(MODEL, trader_id="live-1", reference="Production", paper=True)
    refused = run("promote", MODEL, "1", "Production")
    assert (refused.code, "trader cash-1" in refused.out) == (1, True)

    proven = run(*imported, "--golden", tmp_path / "golden.npz")
    assert (proven.code, "proven: 37 golden decisions, reproduced by this code" in proven.out) == (0, True)
    verified = run("verify", f"models:/{MODEL}/2", "--attest", "--trader-id", "live-1")
    assert verified.code == 0, verified
    assert run("promote", MODEL, "2", "Production").code == 0

    with pointed_at(server.url), MeddledExchange({SYMBOL: bars()}) as exchange:
        exchange.advance(bars=FIRST)
        floor = Floor(exchange, tmp_path / "state")
        with floor.trader() as trader:
            assert (
                floor.told[0] == f"{MODEL}/Production version 2: verified, spec 1.0.0, 37 golden decisions reproduced"
            )
            outcomes = [outcome(trader)]
            for _ in range(TRADED):
                exchange.advance(bars=1)
                outcomes.append(outcome(trader))
            assert decided_bars(trader) == list(range(FIRST, FIRST + TRADED + 1))
            decided = trader.rooms.journal.decisions(SYMBOL)
        assert set(outcomes) == {"decided"}
        action, quantity = first_choice(tmp_path)
        assert (decided[0].decision.action, f"{decided[0].decision.quantity:f}") == (action, quantity)
        assert orders_of(floor)
