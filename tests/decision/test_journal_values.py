"""The written form of costs, instrument, decision, fill and account: a journal of today is read tomorrow."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from mlflow_ppo_flavor.decision.account import AccountState, apply_fill, mark
from mlflow_ppo_flavor.decision.action import Decision, Instrument, decide
from mlflow_ppo_flavor.decision.market import Costs, Fill, fill_at_open

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "decision_values.json").read_text(encoding="utf-8"))
SPEC = MODEL_SPECS["2.7.0"]
KINDS = {
    "costs": Costs,
    "instrument": Instrument,
    "decision": Decision,
    "fill": Fill,
    "account": AccountState,
    "hold": Decision,
    "skip": Decision,
}


def made() -> dict[str, Any]:
    """The values of the golden file, made again: a coin bought at the open after a decision, then marked."""
    costs, coin = Costs(spread_bps=5.0, commission_bps=25.0), Instrument.crypto("BTC/USD")
    start = AccountState.start(100_000.0)
    decision = decide(2, SPEC, start, coin, 61_234.5)
    fill = fill_at_open(decision.quantity, 1_710_133_200_000_000_000, 61_300.1, costs)
    account = mark(apply_fill(mark(start, 61_234.5), fill), 62_000.0)
    return {
        "costs": costs,
        "instrument": coin,
        "decision": decision,
        "fill": fill,
        "account": account,
        "hold": decide(0, SPEC, account, coin, 62_000.0),
        "skip": decide(4, SPEC, start, coin, 62_000.0),
    }


@pytest.mark.parametrize("name", KINDS)
def test_values_are_written_as_ever(name: str) -> None:
    assert made()[name].to_dict() == GOLDEN[name]
    assert list(made()[name].to_dict()) == list(GOLDEN[name])


@pytest.mark.parametrize("name", KINDS)
def test_values_are_read_as_ever(name: str) -> None:
    kind: Any = KINDS[name]
    assert kind.from_dict(GOLDEN[name]) == made()[name]


def test_decimals_are_written_without_exponent() -> None:
    dust = AccountState(1.0, 1.0, Decimal("5E-9"), 1.0, 1.0, 0, 0, Decimal("-5E-9")).to_dict()
    assert (dust["quantity"], dust["trade_flow"]) == ("0.000000005", "-0.000000005")
