"""A trading floor for tests: a registry behind its gate, the simulated exchange, and traders between them; all real."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import mlflow
import torch
from mlflow import MlflowClient

import mlflow_ppo_flavor as ppo
from live.attestor import Attesting
from live.desk import Rooms
from live.exchange.order import Order
from live.exchange.server import ExchangeServer
from live.identity import installed_trader
from live.journal import Journal
from live.model_source import LoadedModel, ModelSource
from live.resolution import Resolution
from live.risk import RiskLimits
from live.seal_check import SealCheck
from live.trader import LiveTrader, Mandate
from live.verification import Terms
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.model.policy import ActorCritic
from mlflow_ppo_flavor.model.proof import Golden
from tests.live.meddled import MeddledExchange
from tests.live.rooms import alpaca_of
from tests.model.policies import policy_of
from tests.training.markets import bars, small_spec

MODEL, TRADER, SYMBOL = "ppo-meanrev", "live-1", "MEANREV"
CAPITAL = 10_000.0
FIRST = 100
AFTERNOON = 15 * 3_600_000_000_000
"""The bar at whose close a floor's exchange stands."""
MANDATE = Mandate((SYMBOL,), CAPITAL, RiskLimits(), "continue", adopt=False)
TERMS = Terms(True, None, None, (SYMBOL,))
SPEC = small_spec()
OTHER = Resolution(7, None, None)
"""What a trader runs that runs nothing of the registry."""


@cache
def always(action: int, spec: ModelSpec = SPEC) -> ActorCritic:
    """A policy that chooses one action whatever it observes."""
    policy = policy_of(spec)
    with torch.no_grad():
        policy.actor.weight.zero_()
        policy.actor.bias.zero_()
        policy.actor.bias[action] = 5.0
    return policy


@cache
def lively(seed: int = 0, spec: ModelSpec = SPEC) -> ActorCritic:
    """A policy that chooses now this action, now that."""
    return policy_of(spec, seed)


@cache
def golden_of(policy: ActorCritic, series: Bars | None = None) -> Golden:
    """The golden decisions of a policy, recorded once."""
    return ppo.record_golden(policy, bars() if series is None else series)


@dataclass(frozen=True)
class Registry:
    """A guarded registry in this process; `plain` is the URI of the same database past the gate."""

    plain: str

    @property
    def guarded(self) -> str:
        """The URI that goes through the gate."""
        return f"ppo:{self.plain}"

    def log(self, policy: ActorCritic, golden: Golden | None = None, *, model: str = MODEL) -> int:
        """Log and register a policy with its golden decisions; its version."""
        proof = golden or golden_of(policy)
        return int(
            ppo.log_model(policy, name="policy", golden=proof, registered_model_name=model).registered_model_version
        )

    def promote(self, version: int, label: str = "Production", *, model: str = MODEL) -> None:
        """Move a reference to a version, through the gate."""
        self._move(MlflowClient(), version, label, model)

    def force(self, version: int, label: str = "Production", *, model: str = MODEL) -> None:
        """Move a reference to a version past the gate, as somebody with the database's password could."""
        self._move(MlflowClient(self.plain, self.plain), version, label, model)

    def empty(self, label: str = "Production", *, model: str = MODEL) -> None:
        """Empty a reference."""
        client = MlflowClient()
        if label.startswith("@"):
            client.delete_registered_model_alias(model, label[1:])
            return
        for version in client.get_latest_versions(model, [label]):
            client.transition_model_version_stage(model, version.version, "Archived")

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        """The registry answers with an error while the block runs."""
        self._execute("ALTER TABLE registered_models RENAME TO hidden")
        try:
            yield
        finally:
            self._execute("ALTER TABLE hidden RENAME TO registered_models")

    def _execute(self, statement: str) -> None:
        with closing(sqlite3.connect(self.plain.removeprefix("sqlite:///"), isolation_level=None)) as database:
            # or references to the table would be renamed with it
            database.execute("PRAGMA legacy_alter_table = ON")
            database.execute(statement)

    def _move(self, client: MlflowClient, version: int, label: str, model: str) -> None:
        if label.startswith("@"):
            client.set_registered_model_alias(model, label[1:], str(version))
        else:
            client.transition_model_version_stage(model, str(version), label, archive_existing_versions=True)


@contextmanager
def registry_in(folder: Path, database: str) -> Iterator[Registry]:
    """MLflow set to a database, with the gate before its registry, until the block ends."""
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    found = Registry(database)
    mlflow.set_tracking_uri(database)
    mlflow.set_registry_uri(found.guarded)
    experiment = mlflow.create_experiment(str(folder), artifact_location=(folder / "artifacts").as_uri())
    mlflow.set_experiment(experiment_id=experiment)
    try:
        yield found
    finally:
        mlflow.set_tracking_uri(before[0])
        mlflow.set_registry_uri(before[1])


def source_of(
    label: str = "Production",
    *,
    terms: Terms = TERMS,
    paper: bool = True,
    model: str = MODEL,
    seals: SealCheck | None = None,
) -> ModelSource:
    """A model source of this trader."""
    return ModelSource(Reference.parse(model, label), installed_trader(TRADER, paper=paper), terms, seals)


@dataclass
class Floor:
    """An exchange, a state directory, and what traders have told. `url` is where traders look for the exchange;
    `attesting` makes what attests for them, `seals` what checks verdicts with what their journal remembers.
    """

    exchange: MeddledExchange | ExchangeServer
    state_dir: Path
    url: str = ""
    label: str = "Production"
    terms: Terms = TERMS
    mandate: Mandate = MANDATE
    attesting: Callable[[ModelSource], Attesting | None] = lambda source: None
    seals: Callable[[Journal], SealCheck | None] = lambda journal: None
    told: list[str] = field(default_factory=list)

    @contextmanager
    def journal(self) -> Iterator[Journal]:
        """The journal, while no trader runs."""
        with Journal.open(self.state_dir, TRADER) as journal:
            yield journal

    @contextmanager
    def trader(self, adapt: Callable[[Rooms], Rooms] = lambda rooms: rooms, **mandate: Any) -> Iterator[LiveTrader]:
        """A started trader with a mandate that differs so; abandoned, not stopped, when the block ends."""
        with self.journal() as journal:
            trader = self.build(journal, adapt, **mandate)
            trader.start()
            yield trader

    def build(
        self, journal: Journal, adapt: Callable[[Rooms], Rooms] = lambda rooms: rooms, **mandate: Any
    ) -> LiveTrader:
        """A trader that isn't started yet; `adapt` changes the rooms that it works with."""
        build = Rooms.builder(TRADER, alpaca_of(self.url or self.exchange.url), journal, sleep=lambda _: None)

        def rooms(model: LoadedModel) -> Rooms:
            return adapt(build(model))

        source = source_of(self.label, terms=self.terms, seals=self.seals(journal))
        told, attesting = self.told.append, self.attesting(source)
        return LiveTrader(rooms, source, replace(self.mandate, **mandate), told, attesting=attesting)

    def crash_image(self, number: int) -> None:
        """Go on in a copy of the state directory as it is on disk now: what a process that dies now leaves behind."""
        copy = self.state_dir.with_name(f"crashed-{number}")
        shutil.copytree(self.state_dir, copy)
        self.state_dir = copy


def orders_of(floor: Floor) -> tuple[Order, ...]:
    """All orders at the venue."""
    return floor.exchange.exchange.book.orders


def outcome(trader: LiveTrader) -> str:
    """What came of one more look at the one symbol."""
    (turn,) = trader.cycle()
    return turn.outcome


def reason(trader: LiveTrader) -> str:
    """Why, as it is told."""
    (turn,) = trader.cycle()
    return turn.reason


def decided_bars(trader: LiveTrader) -> list[int]:
    """The rows of the bars that have decisions."""
    times = bars().time.tolist()
    return [times.index(record.bar_time) for record in trader.rooms.journal.decisions(SYMBOL)]
