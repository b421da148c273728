"""The trader attests what it reproduced: what it runs, and what may come next; and trades as if it didn't."""

import json
import shutil
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
import yaml
from mlflow import MlflowClient

import mlflow_ppo_flavor as ppo
from live.attestor import Attestor, BackgroundAttestor
from live.background import Background
from live.identity import installed_trader
from live.model_source import LoadedModel, ModelSource
from live.verification import Verification
from mlflow_ppo_flavor.contract.digest import file_sha256
from mlflow_ppo_flavor.contract.trader import Attestation
from mlflow_ppo_flavor.model.storage import GOLDEN
from tests.live.trading import (
    MODEL,
    SPEC,
    SYMBOL,
    Floor,
    Registry,
    always,
    golden_of,
    lively,
    orders_of,
    outcome,
    source_of,
)
from tests.model.policies import policy_of
from tests.training.markets import BUY_75, SELL_75, bars

ATTESTED = "attested: 80 decisions reproduced"
RECORDED = "golden decisions recorded"


def proof(version: int) -> str:
    """What a version's page shows of its proof."""
    return str(MlflowClient().get_model_version(MODEL, str(version)).tags["ppo.proof"])


def running(version: int = 1) -> LoadedModel:
    found = source_of().load(version)
    assert isinstance(found, LoadedModel)
    return found


def lines(floor: Floor) -> list[str]:
    """What was told of attestations."""
    return [line for line in floor.told if "attest" in line or "candidate" in line]


def unreproducible(registry: Registry, folder: Path) -> int:
    """A version that is sound file by file, and whose golden decisions are another policy's."""
    folders = [folder / "one", folder / "other"]
    for seed, each in enumerate(folders):
        ppo.save_model(lively(seed), each, golden=golden_of(lively(seed)))
    shutil.copy(folders[1] / GOLDEN, folders[0] / GOLDEN)
    mlmodel = folders[0] / "MLmodel"
    content = yaml.safe_load(mlmodel.read_text())
    content["flavors"]["ppo"]["files"][GOLDEN] = file_sha256(folders[0] / GOLDEN)
    mlmodel.write_text(yaml.safe_dump(content))
    return int(MlflowClient().create_model_version(MODEL, str(folders[0])).version)


def test_what_it_starts_with_and_swaps_to_is_attested_once(registry: Registry, buying: Floor) -> None:
    buying.attesting = Attestor
    assert proof(1) == RECORDED
    with buying.trader() as trader:
        assert proof(1) == f"{RECORDED}, attested by 1 trader"
        assert lines(buying) == [f"version 1: {ATTESTED}"]
        second = registry.log(always(SELL_75))
        registry.promote(second)
        for _ in range(3):
            outcome(trader)
        assert lines(buying) == [f"version 1: {ATTESTED}", f"version {second}: {ATTESTED}"]
        assert [event.reason for event in trader.rooms.journal.events("attestation")] == lines(buying)
    assert proof(second) == f"{RECORDED}, attested by 1 trader"


@pytest.mark.parametrize("label", ["Staging", "@candidate"])
def test_what_may_come_next_is_replayed_and_attested(label: str, registry: Registry, buying: Floor) -> None:
    version = registry.log(lively())
    registry.promote(version, label)
    source = source_of()
    attestor = Attestor(source)
    assert attestor.look(running()) == (f"version 1: {ATTESTED}", f"candidate version {version}: {ATTESTED}")
    assert proof(version) == f"{RECORDED}, attested by 1 trader"
    assert attestor.look(running()) == ()
    registry.empty(label)
    assert attestor.look(running()) == ()


def test_a_digest_is_replayed_once_and_attested_for_each_version(
    registry: Registry, buying: Floor, tmp_path: Path
) -> None:
    folder = tmp_path / "twice"
    ppo.save_model(lively(), folder, golden=golden_of(lively()))
    first, second = (int(MlflowClient().create_model_version(MODEL, str(folder)).version) for _ in range(2))
    attestor, model = Attestor(source_of()), running()
    registry.promote(first, "Staging")
    assert attestor.look(model)[1:] == (f"candidate version {first}: {ATTESTED}",)
    shutil.rmtree(folder)
    registry.promote(second, "@candidate")
    assert attestor.look(model) == (f"candidate version {second}: {ATTESTED}",)
    assert proof(second) == f"{RECORDED}, attested by 1 trader"


def test_a_candidate_that_is_not_reproduced_is_told_once(registry: Registry, buying: Floor, tmp_path: Path) -> None:
    version = unreproducible(registry, tmp_path)
    registry.force(version, "@candidate")
    buying.attesting = Attestor
    with buying.trader() as trader:
        for _ in range(3):
            assert outcome(trader) in ("decided", "idle")
        told = lines(buying)
    assert len(told) == 2
    assert told[1].startswith(f"candidate version {version}: not reproduced: golden.logit of HOLD at 20")
    assert told[1].endswith(" more findings)")
    assert proof(version) == RECORDED


def test_a_candidate_that_this_trader_cannot_run_or_nobody_proved_is_told_once(
    registry: Registry, buying: Floor
) -> None:
    strange = policy_of(replace(SPEC, requires_trader=">=2.8.0"))
    refused = registry.log(strange, golden_of(strange))
    info = ppo.log_model(lively(), name="policy", registered_model_name=MODEL)
    unproven = int(info.registered_model_version)
    registry.force(refused, "Staging")
    registry.promote(unproven, "@candidate")
    attestor, model = Attestor(source_of()), running()
    assert attestor.look(model)[1:] == (
        f"candidate version {refused}: refused: requires_trader: found trader 2.7.0, model 2.7.0 requires trader "
        ">=2.8.0: upgrade the trader to >=2.8.0 or choose a model that 2.7.0 runs",
        f"candidate version {unproven}: unproven: no golden decisions",
    )
    assert attestor.look(model) == ()
    assert proof(refused) == RECORDED


def test_a_registry_that_does_not_answer_is_told_once_and_asked_again(registry: Registry, buying: Floor) -> None:
    second = registry.log(lively())
    registry.promote(second, "Staging")
    attestor, model = Attestor(source_of()), running()
    with registry.unreachable():
        told = attestor.look(model)
        assert [line.partition(": ")[0] for line in told] == [
            "attestation",
            "candidates in Staging",
            "candidates in @candidate",
        ]
        assert told[0].startswith(f"attestation: {MODEL} version 1: not attested: ")
        assert attestor.look(model) == ()
    assert attestor.look(model) == (f"version 1: {ATTESTED}", f"candidate version {second}: {ATTESTED}")
    with registry.unreachable():
        assert [line.partition(": ")[0] for line in attestor.look(model)] == [
            "candidates in Staging",
            "candidates in @candidate",
        ]


def test_what_the_gate_refuses_to_count_is_told_once(registry: Registry, buying: Floor) -> None:
    attestor, model = Attestor(source_of()), running()
    assert model.reproduction is not None
    other = replace(model, reproduction=replace(model.reproduction, digest="0" * 64))
    (told,) = attestor.look(other)
    assert told.startswith(f"version 1: not attested: Refused: live-1 can't attest {MODEL} version 1: digest 0000")
    assert attestor.look(other) == ()
    assert proof(1) == RECORDED


def test_a_candidate_that_breaks_the_replay_ends_nothing(registry: Registry, buying: Floor) -> None:
    class Breaking(ModelSource):
        def verify(self, version: int) -> Verification:
            raise ValueError(f"strange numbers in {version}")

    version = registry.log(lively())
    registry.promote(version, "Staging")
    whole = source_of()
    attestor = Attestor(Breaking(whole.reference, whole.trader, whole.terms))
    assert attestor.look(running()) == (
        f"version 1: {ATTESTED}",
        f"candidates in Staging: unexpected ValueError: strange numbers in {version}",
    )


def test_an_earlier_trader_attests_as_the_version_that_it_acts_as(registry: Registry, buying: Floor) -> None:
    source = source_of()
    source.trader = installed_trader("live-6", paper=True, as_trader="2.6.0")
    assert Attestor(source).look(running()) == (f"version 1: {ATTESTED}",)
    with closing(sqlite3.connect(registry.plain.removeprefix("sqlite:///"))) as database:
        ((told,),) = database.execute("SELECT attestation FROM ppo_attestations").fetchall()
    attested = Attestation.from_dict(json.loads(told))
    assert (attested.trader_id, attested.trader_version, attested.digest) == ("live-6", "2.6.0", running().digest)


def test_on_a_registry_without_the_gate_it_warns_and_trades(registry: Registry, buying: Floor) -> None:
    mlflow.set_registry_uri(registry.plain)
    attestor = Attestor(source_of())
    with pytest.warns(UserWarning, match="version 1: the registry kept the attestation as a plain tag"):
        assert attestor.look(running()) == (f"version 1: {ATTESTED}",)
    assert attestor.look(running()) == ()


class Hanging:
    """A registry that never answers."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.asked = 0

    def look(self, running: LoadedModel) -> tuple[str, ...]:
        """Wait, then tell."""
        self.asked += 1
        self.gate.wait(30)
        return (f"version {running.version}: attested",)


def test_a_registry_that_hangs_holds_up_no_trading_and_costs_no_order(registry: Registry, buying: Floor) -> None:
    hanging = Hanging()
    buying.attesting = lambda source: BackgroundAttestor(hanging)
    with buying.trader() as trader:
        began = time.monotonic()
        for _ in range(4):
            assert outcome(trader) == "decided"
            buying.exchange.advance(bars=1)
        assert time.monotonic() - began < 10
        assert len(orders_of(buying)) >= 2
        assert (lines(buying), hanging.asked) == ([], 1)
        hanging.gate.set()
        deadline = time.monotonic() + 10
        while not lines(buying) and time.monotonic() < deadline:
            outcome(trader)
            time.sleep(0.01)
        assert lines(buying)[0] == "version 1: attested"


def test_it_trades_to_the_bit_as_without_attesting(registry: Registry, buying: Floor) -> None:
    """Attesting in step and in a thread, while a candidate is replayed beside it."""
    registry.promote(registry.log(lively()), "Production")
    registry.promote(registry.log(always(BUY_75)), "@candidate")
    found = []
    for name, attesting in {
        "none": lambda source: None,
        "in step": Attestor,
        "beside": lambda source: BackgroundAttestor(Attestor(source)),
    }.items():
        with type(buying.exchange)({SYMBOL: bars()}) as exchange:
            exchange.advance(bars=100)
            floor = Floor(exchange, buying.state_dir / name, attesting=attesting)
            with floor.trader() as trader:
                for _ in range(6):
                    outcome(trader)
                    exchange.advance(bars=1)
                    outcome(trader)
                decisions = trader.rooms.journal.decisions(SYMBOL)
                found.append(([record.to_dict() for record in decisions], trader.desks[0].standing.state))
            assert (name == "none") == (lines(floor) == [])
    assert found[0] == found[1] == found[2]
    assert len(found[0][0]) == 7


def test_work_in_the_background_is_given_once_and_done_again() -> None:
    background: Background[int, int] = Background(lambda given: given + 1)
    found = []
    deadline = time.monotonic() + 10
    while len(found) < 2 and time.monotonic() < deadline:
        result = background.turn(len(found))
        if result is not None:
            found.append(result)
        time.sleep(0.005)
    assert found == [1, 1] or found == [1, 2]
