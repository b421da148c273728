"""Acme's specs: built-in features and Acme's own, in any order; the account's last."""

import mlflow_ppo_flavor as ppo

SPECS = [
    ppo.ModelSpec(
        family="acme",
        version="1.0.0",
        # a trader without this package can't compute the features: the gate refuses the model there
        requires_trader=">=2.7.0; acme-features>=1.0",
        features=("acme/contraction@1", "return_1@1", "rsi_14@1", "acme/up_share@1", "position_size@1", "drawdown@1"),
        actions=(ppo.Action("HOLD", 0, 0.0), ppo.Action("BUY", 1, 0.5), ppo.Action("SELL", -1, 0.5)),
        window=20,
    ),
]
