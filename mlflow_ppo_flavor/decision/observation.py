"""What the policy sees: a window of market features beside the account's features."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from mlflow_ppo_flavor.contract.spec import ACCOUNT_FEATURE_NAMES, ModelSpec, Sizing, feature_name
from mlflow_ppo_flavor.decision.account import AccountState
from mlflow_ppo_flavor.errors import ObservationError

RUINED = 1e-10
"""Share of the initial equity that a ruined account is observed to have: nothing divides by 0 or less."""
_LIMIT = 100.0
ACCOUNT_RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "total_pnl@1": (-1.0, 1.0),
        "win_rate@1": (0.0, 1.0),
        "drawdown@1": (0.0, 1.0),
        "position_size@1": (-_LIMIT, _LIMIT),
        "available_cash@1": (-_LIMIT, _LIMIT),
        "account_value@1": (-10.0, 10.0),
    }
)
"""{reference: (lowest, highest)} of every account feature; what lies beyond is clipped."""


def account_features(state: AccountState, refs: Sequence[str], sizing: Sizing) -> NDArray[np.float32]:
    """The account's features, float32[len(refs)] in the order of `refs`, each rounded once from float64.

    `state` is marked at the bar's close. ObservationError for a reference that isn't in ACCOUNT_RANGES.
    """
    values = _account_values(state, sizing)
    try:
        return np.array([values[ref] for ref in refs], dtype=np.float32)
    except KeyError as error:
        known = ", ".join(ACCOUNT_RANGES)
        raise ObservationError(f"account feature: found {error.args[0]}, expected one of {known}") from None


def build_observation(
    market: NDArray[np.float32], state: AccountState, spec: ModelSpec, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """One observation, float32[obs_dim]: time-major, oldest bar first, market features then account features.

    `market` is float32[window, n_market], its columns in the order of `spec.market_features`; `state` is marked at the
    close of its last bar and the same in every bar. `out`, C-contiguous float32[obs_dim], is filled and returned where
    given. ObservationError for another shape or kind, and for NaN or infinity.
    """
    n_market, account_refs = _columns(spec.features)
    _check_market(market, (spec.window, n_market), spec)
    if out is None:
        out = np.empty(spec.obs_dim, dtype=np.float32)
    else:
        _check_out(out, spec.obs_dim)
    rows = out.reshape(spec.window, spec.n_features)
    rows[:, :n_market] = market
    rows[:, n_market:] = account_features(state, account_refs, spec.sizing)
    return out


def _account_values(state: AccountState, sizing: Sizing) -> dict[str, float]:
    """All account features as float64 within ACCOUNT_RANGES; a ruined account's are the limits of a dying one's."""
    equity, value, cash = state.equity, state.position_value, state.cash
    pnl = (equity - state.initial_equity) / state.initial_equity
    drawdown = state.drawdown
    if equity <= 0.0:
        equity = state.initial_equity * RUINED
        cash = equity - value
    return {
        "total_pnl@1": math.tanh(10.0 * pnl),
        "win_rate@1": state.win_rate,
        "drawdown@1": drawdown,
        "position_size@1": _ratio(value, equity * sizing.max_position),
        "available_cash@1": _ratio(cash, equity),
        "account_value@1": min(max(math.log10(equity / state.initial_equity), -10.0), 10.0),
    }


def _ratio(value: float, whole: float) -> float:
    """value / whole within ±100; where there is no whole, 0 for nothing and the limit for something."""
    if whole == 0.0:
        return math.copysign(_LIMIT, value) if value else 0.0
    return min(max(value / whole, -_LIMIT), _LIMIT)


@lru_cache(maxsize=64)
def _columns(features: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    """How many market features lead, and the account's references that follow."""
    account = tuple(ref for ref in features if feature_name(ref) in ACCOUNT_FEATURE_NAMES)
    return len(features) - len(account), account


def _check_market(market: NDArray[np.float32], shape: tuple[int, int], spec: ModelSpec) -> None:
    """Refuse what isn't a finite float32 window of that shape."""
    _check_array(market, shape, "market window", "give window bars of the spec's market features")
    if not np.isfinite(market).all():
        row, column = np.argwhere(~np.isfinite(market))[0]
        raise ObservationError(
            f"market window[{row}, {column}] ({spec.features[column]}): found {market[row, column]}, "
            "expected a finite number: bars are refused where they come in, so a feature must be wrong"
        )


def _check_out(out: NDArray[np.float32], obs_dim: int) -> None:
    """Refuse a buffer that couldn't be filled in place."""
    remedy = "give a C-contiguous buffer that can be written"
    _check_array(out, (obs_dim,), "out", remedy)
    if not (out.flags.c_contiguous and out.flags.writeable):
        raise ObservationError(f"out: found one that is strided or read-only, expected float32[{obs_dim}]: {remedy}")


def _check_array(array: NDArray[np.float32], shape: tuple[int, ...], place: str, remedy: str) -> None:
    """Refuse another kind of value, another dtype or another shape."""
    if not isinstance(array, np.ndarray):
        raise ObservationError(f"{place}: found {type(array).__name__}, expected float32{list(shape)}: {remedy}")
    if array.dtype != np.float32 or array.shape != shape:
        found = f"{array.dtype}{list(array.shape)}"
        raise ObservationError(f"{place}: found {found}, expected float32{list(shape)}: {remedy}")
