"""The trader: load, reconcile, warm up; then look at the reference and at every symbol, again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from live.attestor import Attesting
from live.desk import Desk, Rooms
from live.model_source import LoadedModel, ModelSource, RefusedModel
from live.record import ConductState
from live.resolution import Resolution
from live.risk import RiskLimits
from live.seal_check import NO_VERDICT
from live.supervisor import Supervisor
from live.turn import Turn
from live.watch import Lookout, Sighting, Watch
from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.decision.account import ZERO
from mlflow_ppo_flavor.errors import BarsError, BrokerError, NotTrading, SpecError

OnRefused = Literal["continue", "reduce", "halt"]
_CONDUCTS: dict[OnRefused, ConductState] = {"reduce": "REDUCING", "halt": "HALTED"}
PATIENT_LOOKS = 3
"""Looks with the same trouble after which it is told, and after which another position at the broker is a fact: the
venue's answers may lag behind each other."""


@dataclass(frozen=True, slots=True)
class Mandate:
    """What the trader was told: its symbols, the capital of each at the first start, its limits.

    `capital` None splits the account's equity evenly. `on_refused`: what to do when the reference moves to a version
    that is refused. `adopt` takes positions that differ as the broker has them, instead of halting.
    """

    symbols: tuple[str, ...]
    capital: float | None
    limits: RiskLimits
    on_refused: OnRefused
    adopt: bool


class LiveTrader:
    """One process' trading of one reference. `report` is told of every turn that isn't idle, and of every change.

    `watch` looks at the reference; None looks in step with every cycle. `attesting` says to the registry what this
    trader reproduced; None says nothing.
    """

    def __init__(
        self,
        rooms: Callable[[LoadedModel], Rooms],
        source: ModelSource,
        mandate: Mandate,
        report: Callable[[str], None],
        watch: Lookout | None = None,
        attesting: Attesting | None = None,
    ) -> None:
        self._build_rooms, self.source, self.mandate, self.report = rooms, source, mandate, report
        self._watch, self._attesting = watch or Watch(source), attesting
        self._refused: RefusedModel | None = None
        self._trouble, self._failed = "", False
        self._troubles: dict[str, tuple[str, int]] = {}

    def start(self) -> None:
        """Load the model, warm up, and reconcile every symbol with the broker.

        NotTrading where no model may be run, or the broker's positions aren't the journal's; RegistryError, BrokerError
        and BarsError where something can't be had. Nothing was ordered then.
        """
        found = self.source.resolve()
        if found is None:
            raise NotTrading(f"{self.source.reference}: no version stands there: promote one, then start again")
        loaded = self.source.load_resolved(found)
        if isinstance(loaded, RefusedModel):
            raise NotTrading(loaded.message)
        verified = f"verified, spec {loaded.spec.version}, {loaded.proof}"
        self.report(f"{loaded.reference} version {loaded.version}: {verified}")
        self._take(loaded)
        self._remember(loaded)
        self.supervisor = Supervisor(self.rooms.journal, self.mandate.limits, self.report)
        self._reconcile()
        conduct = self.rooms.journal.conduct()
        if conduct.state == "HALTED":
            self.report(f"HALTED since {conduct.since}: {conduct.reason}: give --resume to trade again")
        self._attest()

    def cycle(self) -> tuple[Turn, ...]:
        """One look at the reference and at every symbol."""
        self._follow_reference()
        try:
            turns = self._look()
        except BrokerError as error:
            turns = [Turn(symbol, "waiting", f"{symbol}: {error}", 0) for symbol in self.mandate.symbols]
        self._attest()
        return self._told(turns)

    def stop(self) -> tuple[str, ...]:
        """Cancel this trader's own open orders, and tell those that it couldn't; positions stay as they are."""
        return tuple(failure for desk in self.desks for failure in desk.ledger.cancel_all())

    @property
    def equity(self) -> float:
        """What all sub-accounts are worth at their last closes."""
        return sum(desk.standing.state.equity for desk in self.desks)

    def _look(self) -> list[Turn]:
        """Settle everything first, then compare with the broker, then act: never on half of what is known."""
        clock, account = self.rooms.broker.clock(), self.rooms.broker.account()
        day = self.supervisor.day(clock.now, self.model.bars, self.equity)
        for desk in self.desks:
            desk.update(clock)
        positions = self.rooms.broker.positions()
        view = self.supervisor.view(day, self.equity, account)
        turns = []
        for desk in self.desks:
            leave = self.supervisor.leave(desk.symbol, view, day, desk.overdue)
            turns.append(desk.act(self.model, leave, clock, positions.get(desk.symbol, ZERO)))
        return turns

    def _take(self, model: LoadedModel) -> None:
        """Trade by this model from now on; desks are opened anew, since it may read other bars."""
        rooms = self._build_rooms(model)
        clock, account = rooms.broker.clock(), rooms.broker.account()
        capital = self.mandate.capital or account.equity / len(self.mandate.symbols)
        opened = [Desk.open(rooms, model, s, now=clock.now, capital=capital) for s in self.mandate.symbols]
        self.rooms, self.desks, self.model, self._failed = rooms, opened, model, False

    def _reconcile(self) -> None:
        """Settle what an earlier process ordered, and compare every position with the broker's."""
        clock = self.rooms.broker.clock()
        self.supervisor.day(clock.now, self.model.bars, self.equity)
        missing = [missing for desk in self.desks if (missing := desk.update(clock))]
        if missing:
            raise NotTrading(f"{'; '.join(missing)}: what was ordered before isn't known: start again a little later")
        positions = self.rooms.broker.positions()
        differing = []
        for desk in self.desks:
            held = positions.get(desk.symbol, ZERO)
            differs = desk.ledger.differs(held)
            if differs and self.mandate.adopt:
                self._adopt(desk, held, differs)
            elif differs:
                differing.append(differs)
        if differing:
            remedy = "give --adopt-position to take the broker's, or clear it up there"
            raise NotTrading(f"{'; '.join(differing)}: {remedy}")

    def _adopt(self, desk: Desk, held: Decimal, differs: str) -> None:
        desk.adopt(held)
        self.supervisor.note("position_adopted", f"{differs}: adopted the broker's", desk.symbol)

    def _attest(self) -> None:
        """Say what was reproduced, after the trading; what came of it is written down."""
        for line in () if self._attesting is None else self._attesting.look(self.model):
            self.supervisor.note("attestation", line)

    def _follow_reference(self) -> None:
        """Swap in what the reference loads now, between two bars; the last good model goes on where that is refused."""
        sighting = self._watch.look(self.model.resolution)
        trouble = sighting.trouble or self._follow(sighting)
        if trouble and trouble != self._trouble:
            self.supervisor.note("not_followed", trouble)
        self._trouble = trouble

    def _follow(self, sighting: Sighting) -> str:
        """Act on what the reference loads; why that isn't possible yet, or nothing."""
        if sighting.resolution is None:
            self.supervisor.conduct("REDUCING", f"{self.source.reference}: no version stands there")
        elif sighting.resolution == self.model.resolution:
            self._restore()
        elif isinstance(sighting.loaded, RefusedModel):
            self._refuse(sighting.loaded)
        elif sighting.loaded is not None and not self._is_refused(sighting.resolution):
            return self._swap(sighting.loaded)
        return ""

    def _remember(self, loaded: LoadedModel) -> None:
        """Tell what was found of a model that is traded from now on, and keep its verdict for the next start."""
        journal = self.rooms.journal
        if loaded.sealed is not None:
            journal.remember_verdict(loaded.sealed)
        for finding in loaded.verdict.findings:
            line = f"[{finding.kind}] {finding.message}"
            self.report(line)
            if finding.code == NO_VERDICT:
                journal.note(NO_VERDICT, None, f"{loaded.reference} version {loaded.version}: {line}", {})

    def _swap(self, loaded: LoadedModel) -> str:
        before = self.model.version
        try:
            self._take(loaded)
        except BrokerError as error:
            return f"{loaded.reference} version {loaded.version}: not swapped in yet: {error}"
        except (BarsError, SpecError) as error:
            expected, remedy = "expected what this model needs to decide", "promote another version"
            finding = Finding("warm_up", "safety", "bars", str(error), expected, remedy)
            self._refuse(RefusedModel(loaded.reference, loaded.resolution, (finding,)))
            return ""
        after = f"another version {before}" if loaded.version == before else loaded.version
        self.supervisor.note("model_swapped", f"{loaded.reference}: version {before} → {after}")
        self._remember(loaded)
        self._restore()
        return ""

    def _refuse(self, refused: RefusedModel) -> None:
        """Go on with the last good model, or as `on_refused` says; told once, and again for other reasons."""
        if self._refused is not None and _reasons(self._refused) == _reasons(refused):
            return
        self._refused = refused
        if refused.sealed is not None:
            self.rooms.journal.remember_verdict(refused.sealed)
        self.supervisor.note("model_refused", f"{refused.message}\n  version {self.model.version} goes on")
        if self.mandate.on_refused != "continue":
            reason = f"{refused.reference} moved to version {refused.version}, which is refused"
            self.supervisor.conduct(_CONDUCTS[self.mandate.on_refused], reason)

    def _is_refused(self, found: Resolution) -> bool:
        """Whether a version that can be loaded was refused; one that only lacked its verdict has it now."""
        refused = self._refused
        return refused is not None and refused.resolution == found and not refused.for_its_verdict

    def _restore(self) -> None:
        """Go on after a reduction that only the missing model was the reason of; not by one that can't decide."""
        self._refused = None
        if self.rooms.journal.conduct().state == "REDUCING" and not self._failed:
            self.supervisor.conduct("ACTIVE", f"{self.source.reference}: version {self.model.version} stands there")

    def _told(self, turns: Sequence[Turn]) -> tuple[Turn, ...]:
        """Tell what came of a look; a trouble once it lasts."""
        for turn in turns:
            if turn.outcome == "waiting" and self._lasts(turn.symbol, "waiting"):
                self.supervisor.note("waiting", f"waiting: {turn.reason}", turn.symbol)
            elif turn.outcome == "mismatch" and self._lasts(turn.symbol, turn.reason):
                self._resolve(turn)
            elif turn.outcome not in ("waiting", "mismatch"):
                self._troubles.pop(turn.symbol, None)
                if turn.outcome != "idle":
                    self.report(f"{turn.outcome}: {turn.reason}")
                if turn.outcome == "failed":
                    self._fail(turn)
        return tuple(turns)

    def _fail(self, turn: Turn) -> None:
        """The model that runs can't decide: sell what is held, until the reference names another one."""
        self._failed = True
        self.supervisor.conduct("REDUCING", f"{self.source.reference}: {turn.reason}: promote another version")

    def _lasts(self, symbol: str, trouble: str) -> bool:
        """Whether a symbol has this trouble for the third look in a row: true once."""
        before, count = self._troubles.get(symbol, ("", 0))
        count = count + 1 if trouble == before else 1
        self._troubles[symbol] = trouble, count
        return count == PATIENT_LOOKS

    def _resolve(self, turn: Turn) -> None:
        """Another position at the broker is a fact: adopt it, or halt."""
        desk = next(desk for desk in self.desks if desk.symbol == turn.symbol)
        if self.mandate.adopt:
            self._adopt(desk, turn.held, turn.reason)
            return
        remedy = "somebody else traded it, or it was changed there: clear it up, then give --resume"
        self.supervisor.conduct("HALTED", f"mismatch: {turn.reason}: {remedy}")


def _reasons(refused: RefusedModel) -> tuple[object, ...]:
    """What a refusal is about: its words may differ each time, as the names of temporary folders do."""
    return (refused.resolution, *(finding.code for finding in refused.findings))
