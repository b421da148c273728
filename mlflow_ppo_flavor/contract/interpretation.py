"""interpret_action: what an action index means, by the stored spec alone."""

from __future__ import annotations

import operator
from typing import SupportsIndex

from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.errors import ActionError


def interpret_action(action: SupportsIndex, spec: ModelSpec) -> tuple[int, float, str]:
    """(direction -1, 0 or 1; size as a share of a full step, 0 to 1; meaning) of an action index.

    Accepts Python and numpy integers; ActionError for bool, float, negatives and what lies outside the spec's table.
    """
    entry = spec.actions[_index(action, spec)]
    return entry.direction, entry.size, entry.name


def _index(action: SupportsIndex, spec: ModelSpec) -> int:
    expected = f"expected an integer in [0, {spec.n_actions - 1}] (spec {spec.version})"
    remedy = "don't guess what it means: check which model chose it"
    # Python's bool and torch's boolean tensors have an __index__ and would silently be 0 or 1
    if isinstance(action, bool) or str(getattr(action, "dtype", "")).endswith("bool"):
        raise ActionError(f"action: found {action!r} ({type(action).__name__}), {expected}: {remedy}")
    try:
        index = operator.index(action)
    except TypeError:
        raise ActionError(f"action: found {action!r} ({type(action).__name__}), {expected}: {remedy}") from None
    if not 0 <= index < spec.n_actions:
        raise ActionError(f"action: found {index}, {expected}: {remedy}")
    return index
