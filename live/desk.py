"""One symbol's desk: take in bars and settle orders, then decide on the last bar, once, and order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from time import sleep as real_sleep
from types import MappingProxyType

from live.alpaca import Alpaca
from live.broker import Broker, VenueClock
from live.feed import Feed, Reading, RefusedBar
from live.history import begin, observe
from live.journal import DecisionRecord, Journal, Standing
from live.ledger import EXIT_LEG, POLICY_LEG, Ledger
from live.model_source import LoadedModel
from live.orders import OrderReport, Orders
from live.turn import Leave, Outcome, Turn
from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.decision.action import Decision, Instrument, decide
from mlflow_ppo_flavor.decision.bar_time import show_time
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.errors import BarsError, BrokerError, FeatureError
from mlflow_ppo_flavor.model.stages import bars_needed

BAR_SECONDS = MappingProxyType({"1Day": 23_400.0, "1Hour": 3_600.0, "1Min": 60.0})
"""{timeframe: how long a bar trades}: a day's session has 6.5 hours."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Rooms:
    """What every desk of a trader works with; `trader_id` names its orders."""

    trader_id: str
    broker: Broker
    feed: Feed
    orders: Orders
    journal: Journal

    @classmethod
    def builder(
        cls, trader_id: str, venue: Alpaca, journal: Journal, *, sleep: Callable[[float], None] = real_sleep
    ) -> Callable[[LoadedModel], Rooms]:
        """The rooms for whichever model is loaded: its spec says which bars the feed brings."""
        broker = Broker(venue)

        def build(model: LoadedModel) -> Rooms:
            return cls(trader_id, broker, Feed(venue, broker, model.bars), Orders(broker, sleep=sleep), journal)

        return build


class Desk:
    """The desk of one symbol. `bars` are the checked ones that it knows, its account is the one at the last of them."""

    def __init__(self, rooms: Rooms, instrument: Instrument, bars: Bars, ledger: Ledger, needed: int) -> None:
        self.rooms, self.instrument, self.symbol = rooms, instrument, instrument.symbol
        self.bars, self.ledger, self._needed = bars, ledger, needed
        self.overdue = 0.0
        self._passed = -1
        self._missing, self._revised = "", False

    @classmethod
    def open(cls, rooms: Rooms, model: LoadedModel, symbol: str, *, now: int, capital: float) -> Desk:
        """The desk, warmed up with the bars that the model reads; its account is the journal's, or has `capital`.

        BarsError for too little history, BrokerError where the venue can't be asked or doesn't trade the symbol.
        """
        instrument, needed = rooms.broker.instrument(symbol), bars_needed(model.spec)
        known = rooms.journal.account(symbol)
        reading = _history(rooms.feed, symbol, needed, known, now)
        standing = known or begin(reading.bars, capital)
        if known is None:
            rooms.journal.save_account(symbol, standing)
        ledger = Ledger(rooms.trader_id, symbol, rooms.journal, rooms.orders, standing)
        desk = cls(rooms, instrument, reading.bars, ledger, needed)
        desk._note_refused(reading.refused)
        return desk

    @property
    def standing(self) -> Standing:
        """The account and the bar that it was last marked at."""
        return self.ledger.standing

    def update(self, clock: VenueClock) -> str:
        """Take in new bars, settle orders, follow the account to the last bar; what is missing for that, or nothing."""
        try:
            self._missing = self._look(clock)
        except (BrokerError, BarsError) as error:
            self._missing = str(error)
        return self._missing

    def act(self, model: LoadedModel, leave: Leave, clock: VenueClock, held: Decimal) -> Turn:
        """Decide on the last bar, once, if it is time to and nothing is missing. `held`: the broker's position."""
        if self._missing:
            return self._turn("waiting", self._missing)
        differs = self.ledger.differs(held)
        if differs:
            return Turn(self.symbol, "mismatch", differs, int(self.bars.time[-1]), held=held)
        if self.ledger.unsent is None and self._is_dealt_with():
            return self._turn("idle", "the last bar is dealt with")
        try:
            late = self.rooms.feed.late(self.bars, clock)
        except BrokerError as error:
            return self._turn("waiting", str(error))
        if self.ledger.unsent is not None:
            return self._send_again(late, leave)
        if late or not leave.orders:
            return self._pass(late or f"not allowed: {leave.reason}")
        return self._exit(leave.reason) if leave.exit else self._decide(model, leave, clock)

    def adopt(self, held: Decimal) -> None:
        """Take the broker's position as the account's."""
        self.ledger.adopt(held, self.bars.bar(-1))

    def _look(self, clock: VenueClock) -> str:
        reading = self.rooms.feed.poll(self.symbol, self.bars, clock.now)
        self._note_refused(reading.refused)
        self.bars, self._revised = reading.bars, self._revised or reading.revised
        missing = self.ledger.settle(int(self.bars.time[-1]))
        if missing:
            return missing
        self.ledger.follow(self.bars, revised=self._revised)
        self.bars, self._revised = self.bars[-self._needed :], False
        waited = self.rooms.feed.overdue(self.bars, clock.now)
        self.overdue = max(waited - BAR_SECONDS[self.bars.spec.timeframe], 0.0)
        return ""

    def _is_dealt_with(self) -> bool:
        bar_time = int(self.bars.time[-1])
        return self._passed >= bar_time or self.ledger.has_acted(bar_time)

    def _decide(self, model: LoadedModel, leave: Leave, clock: VenueClock) -> Turn:
        state, bar = self.standing.state, self.bars.bar(-1)
        try:
            observation = observe(self.bars, state, model.spec)
            choice = model.choose(observation)
            decision = decide(choice.action, model.spec, state, self.instrument, bar.close)
        except FeatureError as error:
            return self._pass(str(error))
        except Exception as error:  # noqa: BLE001 -- whatever a model does: a position is never left alone
            return self._pass(f"version {model.version} can't decide: {parsing.told(error)}", "failed")
        held_back = leave.refuses(decision.quantity, state.quantity) if decision.quantity else ""
        record = DecisionRecord(
            symbol=self.symbol,
            bar_time=bar.time,
            model_version=model.version,
            model_digest=model.digest,
            observation_sha256=hashlib.sha256(observation.tobytes()).hexdigest(),
            probability=choice.probability,
            value=choice.value,
            decision=decision,
            decided_at=_iso(clock.now),
            note=held_back,
        )
        if held_back or not decision.quantity:
            self.rooms.journal.record_decision(record)
            why = held_back or decision.skipped or "nothing to order"
            return self._turn("decided", f"{decision.meaning}: {why}", decision)
        report = self.ledger.order(decision.quantity, bar.time, leg=POLICY_LEG, reason=decision.meaning, record=record)
        return self._turn("decided", _told(decision.meaning, decision.quantity, report), decision, report)

    def _exit(self, reason: str) -> Turn:
        """Order the whole position sold (or bought back) instead of deciding."""
        quantity, self._passed = -self.ledger.quantity, int(self.bars.time[-1])
        if not quantity:
            return self._turn("skipped", f"{reason}; there is no position")
        report = self.ledger.order(quantity, self._passed, leg=EXIT_LEG, reason=reason)
        return self._turn("exiting", _told(reason, quantity, report), None, report)

    def _send_again(self, late: str, leave: Leave) -> Turn:
        """Send the order that never left, or let it be over where that isn't allowed any more."""
        ticket = self.ledger.unsent
        if ticket is None:
            return self._turn("idle", "no order is unsent")
        refused = late or leave.refuses(ticket.quantity, self.ledger.quantity)
        if refused:
            self.ledger.give_up(ticket, refused)
            return self._pass(f"the order {ticket.reason} never left and isn't sent again: {refused}")
        report = self.ledger.send(ticket)
        return self._turn("decided", _told(f"{ticket.reason}, sent again", ticket.quantity, report), None, report)

    def _pass(self, reason: str, outcome: Outcome = "skipped") -> Turn:
        """Let this bar go without a decision, and say so once."""
        self._passed = int(self.bars.time[-1])
        self.rooms.journal.note("bar_passed", self.symbol, reason, {"bar_time": self._passed})
        return self._turn(outcome, reason)

    def _note_refused(self, refused: tuple[RefusedBar, ...]) -> None:
        for bar in refused:
            self.rooms.journal.note("bar_refused", self.symbol, bar.reason, {"bar_time": bar.time})

    def _turn(
        self, outcome: Outcome, reason: str, decision: Decision | None = None, report: OrderReport | None = None
    ) -> Turn:
        where = f"{self.symbol} {show_time(int(self.bars.time[-1]))}"
        return Turn(self.symbol, outcome, f"{where}: {reason}", int(self.bars.time[-1]), decision, report)


def _history(feed: Feed, symbol: str, needed: int, known: Standing | None, now: int) -> Reading:
    """The bars that a model reads, and all since the last mark of an account, as far as the venue has them."""
    reading, count = feed.load(symbol, needed, now), needed
    while known is not None and reading.bars.time[0] > known.marked:
        count *= 2
        try:
            reading = feed.load(symbol, count, now)
        except BarsError:
            break
    return reading


def _told(what: str, quantity: Decimal, report: OrderReport) -> str:
    """What was ordered and what the venue said to it."""
    return f"{what}: order of {quantity:f} {report.status}" + (f": {report.reason}" if report.reason else "")


def _iso(now: int) -> str:
    """UTC nanoseconds as ISO 8601, exact to the microsecond."""
    return (_EPOCH + timedelta(microseconds=now // 1_000)).isoformat()
