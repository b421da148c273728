"""Who the trader is where own packages are installed: it announces them, and what they bring."""

import pytest

from live.identity import installed_trader
from mlflow_ppo_flavor.contract.releases import features_of_trader
from mlflow_ppo_flavor.contract.trader import Trader
from mlflow_ppo_flavor.decision.installation import equipped
from tests.own_packages import Install, Package

OWN = ("acme/spread@1", "acme/weekend@1")


def test_without_own_packages_a_trader_stays_as_it_is() -> None:
    trader = Trader.released("2.6.0")
    assert equipped(trader) is trader
    assert dict(installed_trader("live-1", paper=True).packages) == {}


def test_own_packages_and_their_features_are_told(install: Install) -> None:
    install(Package())
    released = Trader.released("2.6.0", trader_id="live-1", paper=False)
    trader = equipped(released)
    assert (trader.features, dict(trader.packages)) == ((*released.features, *OWN), {"acme-features": "1.2.0"})
    assert equipped(trader) == trader
    installed = installed_trader("live-1", paper=False)
    assert (installed.features[-2:], dict(installed.packages)) == (OWN, {"acme-features": "1.2.0"})


def test_a_lowered_trader_keeps_its_own_packages(install: Install) -> None:
    install(Package())
    earlier = installed_trader("live-1", paper=True, as_trader="2.3.0")
    assert earlier.features == (*features_of_trader("2.3.0"), *OWN)
    assert dict(earlier.packages) == {"acme-features": "1.2.0"}


def test_a_broken_package_is_named_without_features(install: Install) -> None:
    install(Package(source="1 / 0"), Package(name="newest", version="newest", module="other", features={}))
    with pytest.warns(UserWarning, match="its features can't be used"):
        trader = installed_trader("live-1", paper=True)
    assert dict(trader.packages) == {"acme-features": "1.2.0"}
    assert not [feature for feature in trader.features if "/" in feature]
