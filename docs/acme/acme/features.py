"""Acme's features. Each is a function of exactly its `lookback` bars, oldest first, and of nothing else."""

import numpy as np

import mlflow_ppo_flavor as ppo


def _contraction(window: ppo.Window) -> float:
    ranges = window.high - window.low
    usual = ranges.mean()
    # no range in 20 bars: undefined, so the declared `degenerate` stands
    return float("nan") if usual <= 1e-9 * window.close[-1] else ranges[-5:].mean() / usual - 1.0


def _up_share(window: ppo.Window) -> float:
    return float(np.mean(np.diff(window.close) > 0.0))


FEATURES = [
    ppo.OwnFeature(
        name="acme/contraction",
        revision=1,
        lookback=20,
        low=-1.0,
        high=3.0,
        degenerate=0.0,
        description="Mean of high - low over 5 bars / over 20 bars, less 1.",
        compute=_contraction,
    ),
    ppo.OwnFeature(
        name="acme/up_share",
        revision=1,
        lookback=11,
        low=0.0,
        high=1.0,
        degenerate=0.5,
        description="Share of the last 10 bars that closed above the bar before.",
        compute=_up_share,
    ),
]
