"""MLflow keeps where its servers are in this process: a test that points it elsewhere puts it back."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import mlflow
from mlflow.tracking import fluent
from mlflow.tracking._model_registry import utils as registry
from mlflow.tracking._tracking_service import utils as tracking

_GLOBALS = ((tracking, "_tracking_uri"), (registry, "_registry_uri"), (fluent, "_active_experiment_id"))


@contextmanager
def pointed_at(tracking_uri: str | None = None, registry_uri: str | None = None) -> Iterator[None]:
    """MLflow as in a new process, told these URIs; afterwards environment and URIs are what they were."""
    environment, saved = dict(os.environ), [getattr(module, name) for module, name in _GLOBALS]
    for name in [name for name in os.environ if name.startswith("MLFLOW_") and not name.startswith("MLFLOW_PPO_")]:
        del os.environ[name]
    for module, name in _GLOBALS:
        setattr(module, name, None)
    try:
        if tracking_uri:
            mlflow.set_tracking_uri(tracking_uri)
        if registry_uri:
            mlflow.set_registry_uri(registry_uri)
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        for (module, name), value in zip(_GLOBALS, saved, strict=True):
            setattr(module, name, value)
