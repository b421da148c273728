"""The live trader with features of an installed package: loaded, replayed, traded; a bar where one fails is passed."""

import sys
from dataclasses import replace

import pytest

import mlflow_ppo_flavor as ppo
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.decision.bar_time import show_time
from mlflow_ppo_flavor.errors import NotTrading
from tests.live.trading import FIRST, MODEL, SPEC, TRADER, Floor, Registry, always, decided_bars, golden_of, outcome
from tests.own_packages import ACME, Install, Package
from tests.training.markets import BUY_75, bars

FRAGILE = ACME.replace("def spread(window):", "FAILING = []\ndef spread(window):\n    FAILING and 1 / 0")


def own_spec() -> ModelSpec:
    features = ("acme/spread@1", *SPEC.features)
    return replace(SPEC, family="acme", requires_trader=">=2.7.0; acme-features>=1.2", features=features)


def test_a_bar_where_a_feature_fails_is_passed_and_the_next_is_decided(
    install: Install, registry: Registry, floor: Floor
) -> None:
    install(Package(source=FRAGILE))
    policy = always(BUY_75, own_spec())
    told = ppo.announce_trader(MODEL, trader_id=TRADER, reference="Production")
    assert dict(told.trader.packages) == {"acme-features": "1.2.0"}
    registry.promote(registry.log(policy, golden_of(policy)))
    with floor.trader() as trader:
        failing: list[int] = sys.modules["acme_of_tests"].FAILING
        failing.append(1)
        (turn,) = trader.cycle()
        when = show_time(int(bars().time[FIRST - 4]))  # the oldest of the window
        expected = f"acme/spread@1 (acme-features 1.2.0), MEANREV {when}: found ZeroDivisionError: division by zero"
        assert (turn.outcome, turn.decision) == ("skipped", None)
        assert expected in turn.reason
        (event,) = trader.rooms.journal.events("bar_passed")
        assert event.reason == f"{expected}, expected a number"
        failing.clear()
        assert outcome(trader) == "idle"
        floor.exchange.advance(bars=1)
        assert outcome(trader) == "decided"
        assert decided_bars(trader) == [FIRST + 1]


def test_a_trader_without_the_package_does_not_start(install: Install, registry: Registry, floor: Floor) -> None:
    install(Package())
    policy = always(BUY_75, own_spec())
    registry.force(registry.log(policy, golden_of(policy)))
    install(Package(version="1.1.0"))
    expected = "found acme-features 1.1.0, model acme 2.7.0 requires acme-features>=1.2: upgrade acme-features"
    with pytest.raises(NotTrading, match=expected), floor.trader():
        pass
