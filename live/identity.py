"""Who this trader is: the version, the features and the own packages of the code that is installed here."""

from __future__ import annotations

from packaging.version import Version

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.releases import CURRENT_TRADER_VERSION, features_of_trader
from mlflow_ppo_flavor.contract.trader import Trader
from mlflow_ppo_flavor.decision.features import FEATURES
from mlflow_ppo_flavor.decision.installation import equipped
from mlflow_ppo_flavor.decision.observation import ACCOUNT_RANGES
from mlflow_ppo_flavor.errors import SpecError


def installed_trader(trader_id: str, *, paper: bool, as_trader: str | None = None) -> Trader:
    """The trader that this code is: its version, the features that it computes, own packages with theirs.

    `as_trader` lowers the version, and the built-in features to those of its release; own packages stay as installed.
    SpecError for a version above the installed one, for one that real money would trade with, and for a bad id.
    """
    computed = (*FEATURES, *ACCOUNT_RANGES)
    if as_trader is None:
        return _checked(Trader(trader_id, CURRENT_TRADER_VERSION, computed, paper))
    if not paper:
        raise SpecError("as_trader", as_trader, "none with real money", "it is for trying things out on paper")
    if Version(parsing.version(as_trader, "as_trader")) > Version(CURRENT_TRADER_VERSION):
        raise SpecError("as_trader", as_trader, f"at most {CURRENT_TRADER_VERSION}, which is installed")
    lowered = tuple(name for name in features_of_trader(as_trader) if name in computed)
    return _checked(Trader(trader_id, as_trader, lowered, paper))


def _checked(trader: Trader) -> Trader:
    """The trader with its own packages, if its fields can be told to a registry."""
    return Trader.from_dict(equipped(trader).to_dict())
