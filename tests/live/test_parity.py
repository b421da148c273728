"""The most valuable property: environment and live trader agree to the bit, whatever bar either starts or restarts at.

The same bars and fills go through training's engine and through the trader, which speaks to the simulated exchange by
the real alpaca-py client. Traders die at any moment, some between journal and venue, and others take their place.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from torch import nn

from live.desk import Rooms
from live.exchange.server import ExchangeServer
from live.orders import Orders
from live.ticket import OrderReport, Ticket
from live.trader import LiveTrader
from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from mlflow_ppo_flavor.contract.spec import BarSpec, ModelSpec
from mlflow_ppo_flavor.decision.account import AccountState
from mlflow_ppo_flavor.decision.action import Instrument
from mlflow_ppo_flavor.decision.bar_time import exchange_zone
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.decision.market import Costs
from mlflow_ppo_flavor.model.inference import Policy
from mlflow_ppo_flavor.model.onnx_export import export_module
from tests import tiers
from tests.live.trading import CAPITAL, SPEC, SYMBOL, Floor, Registry, golden_of, lively
from tests.training.markets import bars as daily_bars
from training.backtest import Backtest, Engine
from training.evaluator import greedy
from training.series import mean_reverting_bars

STEPS = 8
DAYS = ("2012-10-24", "2012-10-25", "2012-10-26")


class Died(BaseException):
    """The process is gone."""


class DyingOrders(Orders):
    """Orders of a process that dies at the next one: before it is sent, or before the answer is read."""

    dies = ""

    def place(self, ticket: Ticket) -> OrderReport:
        """Send the order, or not, and die; as usual where `dies` is empty."""
        if self.dies == "before":
            raise Died
        report = super().place(ticket)
        if self.dies == "behind":
            raise Died
        return report


@cache
def minute_bars() -> Bars:
    """The generated series as the minutes of three sessions."""
    sessions = [
        pd.date_range(f"{day} 09:30", periods=390, freq="min", tz=exchange_zone("America/New_York")) for day in DAYS
    ]
    times = pd.DatetimeIndex(np.concatenate([session.tz_convert("UTC") for session in sessions])).as_unit("ns")
    series = mean_reverting_bars(length=len(times), seed=3)
    frame = series.to_frame().assign(time=times.tz_convert("UTC"))
    return Bars.from_frame(frame, symbol=SYMBOL, spec=BarSpec("1Min", "raw"))


def exported(seed: int, spec: ModelSpec) -> Policy:
    """The same network as somebody else's module, which has no critic."""
    native = lively(seed, spec)
    return export_module(nn.Sequential(native.trunk, native.actor), spec)


@dataclass(frozen=True)
class Case:
    """What is traded by which policy, started at so many bars."""

    spec: ModelSpec
    series: Callable[[], Bars]
    starts: int
    seed: int
    policy: Callable[[int, ModelSpec], Policy] = lively


RELEASED = MODEL_SPECS["2.7.0"].for_bars(timeframe="1Day", adjustment="all", symbols=(SYMBOL,))
CASES = {
    "minutes of three days": Case(replace(SPEC, bars=BarSpec("1Min", "raw")), minute_bars, tiers.START_BARS, seed=1),
    "days, going short": Case(
        replace(SPEC, sizing=replace(SPEC.sizing, allow_short=True)), daily_bars, tiers.START_BARS // 2, seed=1
    ),
    "days, a module through ONNX": Case(SPEC, daily_bars, tiers.START_BARS // 8, seed=1, policy=exported),
    "days, all of 2.7.0": Case(RELEASED, daily_bars, tiers.START_BARS // 8, seed=2),
}


def starts(case: Case) -> list[int]:
    """Bars to start at, from the first possible to the last."""
    first = Engine.prepare(case.series(), case.spec, Instrument.equity(SYMBOL), Costs()).first
    return [int(bar) for bar in np.linspace(first, len(case.series()) - STEPS - 2, case.starts)]


@dataclass
class Play:
    """One run of traders over STEPS bars: each looks at any moment, dies at any moment, and another takes over."""

    floor: Floor
    random: np.random.Generator
    states: list[AccountState] = field(default_factory=list)
    deaths: Counter[str] = field(default_factory=Counter)
    _stack: ExitStack = field(default_factory=ExitStack)

    def run(self) -> None:
        """Decide at STEPS closes and look at the one after them."""
        self._begin()
        for step in range(STEPS + 1):
            if step:
                self._advance()
            self._decide()
            self.states.append(self.trader.desks[0].standing.state)
            self._maybe_die(0.05 if step != STEPS // 2 else 1.0)
        self._stack.close()

    def _begin(self) -> None:
        self.orders: list[DyingOrders] = []
        self.trader: LiveTrader = self._stack.enter_context(self.floor.trader(self._with_dying_orders))

    def _with_dying_orders(self, rooms: Rooms) -> Rooms:
        self.orders.append(DyingOrders(rooms.broker, sleep=lambda _: None))
        return replace(rooms, orders=self.orders[-1])

    def _advance(self) -> None:
        """To the next close, event by event, with looks and deaths in between."""
        closes = self.floor.exchange.exchange.tape
        while True:
            position = self.floor.exchange.advance(events=1)["position"]
            if closes.kinds[position - 1] == 0:
                return
            if self.random.random() < 0.4:
                self.trader.cycle()
            self._maybe_die(0.05)

    def _decide(self) -> None:
        """Look until the bar has its decision, however many processes that takes."""
        self.orders[-1].dies = str(self.random.choice(["before", "behind", ""], p=[0.1, 0.1, 0.8]))
        try:
            self.trader.cycle()
        except Died:
            self._die(self.orders[-1].dies)
            self.trader.cycle()
        self.orders[-1].dies = ""
        assert len(self.floor.exchange.exchange.book.open_orders(SYMBOL)) <= 1

    def _maybe_die(self, probability: float) -> None:
        if self.random.random() < probability:
            self._die("between")

    def _die(self, when: str) -> None:
        """Leave everything as it lies on disk, and start anew from that."""
        self.deaths[when] += 1
        self.floor.crash_image(self.deaths.total())
        self._stack.close()
        self._begin()


def played(series: Bars, start: int, folder: Path) -> Play:
    """A run from the close of bar `start` on."""
    with ExchangeServer({SYMBOL: series}) as exchange:
        exchange.advance(bars=start)
        play = Play(Floor(exchange, folder / f"state-{start}" / "first"), np.random.default_rng(start))
        play.run()
        return play


def assert_same(play: Play, engine: Engine, expected: Backtest, start: int) -> None:
    """Observations, decisions, fills and accounts, to the bit."""
    with play.floor.journal() as journal:
        records, fills = journal.decisions(SYMBOL), journal.fills(SYMBOL)
    decided = records[:STEPS]
    assert [record.bar_time for record in decided] == engine.bars.time[start : start + STEPS].tolist()
    observed = [engine.observe(start + i, state) for i, state in enumerate(expected.states[:STEPS])]
    assert [r.observation_sha256 for r in decided] == [hashlib.sha256(o.tobytes()).hexdigest() for o in observed]
    assert [record.decision for record in decided] == list(expected.decisions)
    assert play.states == list(expected.states)
    paid = [(fill.quantity, fill.price, fill.fee) for fill in fills]
    assert paid == [(fill.quantity, fill.price, fill.fee) for fill in expected.fills if fill is not None]


@pytest.mark.parametrize("name", CASES)
def test_trader_and_environment_agree_to_the_bit_wherever_they_start_and_die(
    name: str, registry: Registry, tmp_path: Path
) -> None:
    case, series = CASES[name], CASES[name].series()
    policy = case.policy(case.seed, case.spec)
    registry.promote(registry.log(policy, golden_of(policy, series)))
    engine = Engine.prepare(series, case.spec, Instrument.equity(SYMBOL), Costs())
    deaths: Counter[str] = Counter()
    traded = 0
    for start in starts(case):
        expected = engine.run(greedy(policy), equity=CAPITAL, start=start, end=start + STEPS + 1)
        play = played(series, start, tmp_path)
        assert_same(play, engine, expected, start)
        deaths += play.deaths
        traded += sum(fill is not None for fill in expected.fills)
    assert traded >= 2 * case.starts
    assert deaths.total() >= case.starts
    if case.starts > 1:
        assert set(deaths) == {"before", "behind", "between"}
