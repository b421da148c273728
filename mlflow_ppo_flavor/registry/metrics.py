"""The metrics of a run, asked of the tracking store: never within the guard's transaction, as it may be elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from mlflow_ppo_flavor.registry.artifacts import _tracking

_logger = logging.getLogger(__name__)


def run_metrics(run_id: str) -> Mapping[str, float]:
    """The last value of each metric of a run; nothing where the run can't be read: then no threshold is met."""
    try:
        return dict(_tracking().get_run(run_id).data.metrics)
    except Exception as error:  # noqa: BLE001 a tracking store's own errors: a policy that asks for metrics refuses
        _logger.warning("The metrics of run %s can't be read: %s", run_id, error)
        return {}
