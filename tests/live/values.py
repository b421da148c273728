"""Hypothesis strategies for what the live trader keeps: tickets, reports, standings, records."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import strategies as st

from live.record import DecisionRecord, Standing
from live.ticket import OrderReport, Ticket
from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from mlflow_ppo_flavor.decision.account import AccountState, apply_fill, mark
from mlflow_ppo_flavor.decision.action import Instrument, decide
from mlflow_ppo_flavor.decision.market import Fill

SPEC = MODEL_SPECS["2.7.0"]
BAR_TIME = 1_351_224_000_000_000_000  # 2012-10-26, midnight in New York
TRADER_IDS = st.text(st.characters(codec="utf-8"), max_size=60)
SYMBOLS = st.from_regex(r"[A-Z]{1,5}(\.[A-Z])?", fullmatch=True)
INSTANTS = st.integers(-(2**62), 2**62)
PRICES = st.floats(1e-3, 1e6)
AMOUNTS = st.decimals("0.000000001", "1000000", places=9)
QUANTITIES = st.builds(lambda amount, sign: amount * sign, AMOUNTS, st.sampled_from([1, -1]))
STATUSES = st.sampled_from(
    ["accepted", "new", "partially_filled", "filled", "canceled", "expired", "rejected", "unknown"]
)

tickets = st.builds(
    lambda trader_id, symbol, quantity, bar_time, leg, attempt, reason: Ticket.of(
        trader_id, symbol, quantity, bar_time, leg=leg, attempt=attempt, reason=reason
    ),
    TRADER_IDS,
    SYMBOLS,
    QUANTITIES,
    INSTANTS,
    st.integers(0, 3),
    st.integers(0, 9),
    st.text(max_size=20),
)


@st.composite
def reports(draw: st.DrawFn, client_order_id: str = "order") -> OrderReport:
    """Any report of one order, filled in parts or not."""
    filled = draw(st.one_of(st.just(Decimal(0)), QUANTITIES))
    price, at = (draw(PRICES), draw(INSTANTS)) if filled else (None, None)
    text = st.text(max_size=20)
    return OrderReport(client_order_id, draw(STATUSES), filled, price, at, draw(text), draw(text))


@st.composite
def standings(draw: st.DrawFn) -> Standing:
    """A sub-account after some fills and marks."""
    state = AccountState.start(draw(st.floats(1.0, 1e9)))
    for quantity in draw(st.lists(QUANTITIES, max_size=3)):
        state = apply_fill(state, Fill(draw(INSTANTS), quantity, draw(PRICES), 0.0))
        state = mark(state, draw(PRICES))
    return Standing(state, draw(INSTANTS))


def record(symbol: str = "AAPL", bar_time: int = BAR_TIME, action: int = 2, version: int = 1) -> DecisionRecord:
    """The record of one decision of a flat account."""
    decision = decide(action, SPEC, AccountState.start(100_000.0), Instrument.equity(symbol), 84.5)
    return DecisionRecord(
        symbol, bar_time, version, "a" * 64, "b" * 64, 0.625, -1.5, decision, "2012-10-26T20:00:00+00:00"
    )
