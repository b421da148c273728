"""What is installed here: a trader with the own packages of this environment, and the features that they bring."""

from __future__ import annotations

from dataclasses import replace

from mlflow_ppo_flavor.contract.packages import own_packages
from mlflow_ppo_flavor.contract.trader import Trader


def equipped(trader: Trader) -> Trader:
    """The trader with the own packages that are installed here, at their versions, and the features that they bring.

    A package that can't be loaded is named and brings no features. Without own packages nothing is imported.
    """
    packages = own_packages()
    if not packages:
        return trader
    # compiled code: a second to import, and the extra `model`
    from mlflow_ppo_flavor.decision.features import own_features

    return replace(trader, features=tuple(dict.fromkeys((*trader.features, *own_features()))), packages=dict(packages))
