"""The demo's trading: the live trader on the last 250 bars, through alpaca-py, against the embedded exchange."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from live.access import Credentials, Endpoints
from live.alpaca import Alpaca
from live.desk import Rooms
from live.exchange.server import SIMULATED_KEY_ID, SIMULATED_SECRET_KEY, ExchangeServer, Settings
from live.identity import installed_trader
from live.journal import Journal
from live.model_source import ModelSource
from live.risk import RiskLimits
from live.ticket import REJECTED
from live.trader import LiveTrader, Mandate
from live.verification import Terms
from mlflow_ppo_flavor.cli.demo.learning import MODEL
from mlflow_ppo_flavor.cli.demo.promotion import STAGE, TRADER
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.decision.account import AccountState
from mlflow_ppo_flavor.decision.action import Instrument
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.decision.market import Costs, Fill
from mlflow_ppo_flavor.flavor import load_model
from training.backtest import Backtest, Course, Engine
from training.evaluator import Score, greedy, score

BARS_TRADED = 250
CAPITAL = 100_000.0


@dataclass(frozen=True)
class Traded:
    """How the live trader did: its course over the bars that it saw, what it decided, how many orders were refused.

    `backtest` is what the engine that trains makes of the same model over the same bars.
    """

    course: Course
    backtest: Backtest
    decisions: dict[str, int]
    refused_orders: int

    @property
    def equals_backtest(self) -> bool:
        """Whether the accounts at every close are the engine's, to the bit."""
        return self.course.states == self.backtest.states

    @property
    def score(self) -> Score:
        """The course by the same numbers as a backtest's."""
        return score(self.course)


def trade(bars: Bars, state_dir: Path, on_bar: Callable[[int], None], report: Callable[[str], None]) -> Traded:
    """Trade the last 250 bars of these, one decision a bar; `on_bar` is told how many have been dealt with.

    NotTrading where the trader refuses to start.
    """
    keys = Credentials(SIMULATED_KEY_ID, SIMULATED_SECRET_KEY)
    reference, terms = Reference.parse(MODEL, STAGE), Terms(True, None, None, (bars.symbol,))
    source = ModelSource(reference, installed_trader(TRADER, paper=True), terms)
    mandate = Mandate((bars.symbol,), CAPITAL, RiskLimits(), "continue", adopt=False)
    with ExchangeServer({bars.symbol: bars}, Settings()) as exchange, Journal.open(state_dir, TRADER) as journal:
        # the exchange stands at the close of its first bar
        exchange.advance(bars=len(bars) - BARS_TRADED - 1)
        endpoints = Endpoints.choose(paper=True, trading_url=exchange.url, data_url=exchange.url)
        trader = LiveTrader(Rooms.builder(TRADER, Alpaca(endpoints, keys), journal), source, mandate, report)
        trader.start()
        states: list[AccountState] = []
        for done in range(1, BARS_TRADED + 1):
            exchange.advance(bars=1)
            trader.cycle()
            states.append(trader.desks[0].standing.state)
            on_bar(done)
        trader.stop()
        return _told(bars, journal, states)


def _fill_of_each_step(bars: Bars, fills: Sequence[Fill]) -> tuple[Fill | None, ...]:
    """The fill in each bar but the first, None where there was none; the embedded exchange fills an order whole."""
    rows = np.searchsorted(bars.time, [fill.time for fill in fills], side="right") - 1
    by_row = dict(zip(rows.tolist(), fills, strict=True))
    return tuple(by_row.get(row) for row in range(1, len(bars)))


def _backtest(bars: Bars) -> Backtest:
    """What the engine makes of the same model over the same bars, from a flat account at the first close."""
    policy = load_model(f"models:/{MODEL}/{STAGE}")
    engine = Engine.prepare(bars, policy.spec, Instrument.equity(bars.symbol), Costs())
    return engine.run(greedy(policy), equity=CAPITAL, start=len(bars) - BARS_TRADED)


def _told(bars: Bars, journal: Journal, states: list[AccountState]) -> Traded:
    meanings = [record.decision.meaning for record in journal.decisions(bars.symbol)]
    reports = [journal.report(ticket.client_order_id) for ticket in journal.orders(bars.symbol)]
    seen = bars[-len(states) :]
    return Traded(
        course=Course(seen, tuple(states), _fill_of_each_step(seen, journal.fills(bars.symbol))),
        backtest=_backtest(bars),
        decisions={meaning: meanings.count(meaning) for meaning in dict.fromkeys(meanings)},
        refused_orders=sum(report is not None and report.status == REJECTED for report in reports),
    )
