"""MLflow's applications with the gate's page: entry points of the group `mlflow.app`. Imports MLflow's server late."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def create_app() -> Any:
    """MLflow's application with the page: FastAPI's for uvicorn, Flask's for gunicorn."""
    from mlflow.environment_variables import _MLFLOW_SGI_NAME
    from mlflow.server import app

    from mlflow_ppo_flavor.registry.merging import guard_merging
    from mlflow_ppo_flavor.registry.page.access import Everybody
    from mlflow_ppo_flavor.registry.page.routes import make_blueprint

    app.register_blueprint(make_blueprint(Everybody()))
    guard_merging(app)
    if _MLFLOW_SGI_NAME.get() != "uvicorn":
        return app
    # it wraps the application when it is imported
    from mlflow.server.fastapi_app import app as fastapi_app

    return fastapi_app


def create_auth_app() -> Any:
    """The same behind MLflow's basic-auth: the page and its JSON ask for a login, and show what the user may read."""
    with _alone():
        return _create_auth_app()


def _create_auth_app() -> Any:
    from mlflow.server import app, auth

    from mlflow_ppo_flavor.registry.merging import guard_merging
    from mlflow_ppo_flavor.registry.page.access import Users
    from mlflow_ppo_flavor.registry.page.routes import make_blueprint, paths

    app.register_blueprint(make_blueprint(Users()))
    for path in paths():
        # MLflow denies to all but admins what it has no rule for: here any user may ask, and is shown their own models
        auth.BEFORE_REQUEST_VALIDATORS[(path, "GET")] = lambda: True
    made = auth.create_app(app)
    # after it: who may not ask isn't told what stands there
    guard_merging(app)
    return made


@contextmanager
def _alone() -> Iterator[None]:
    """One worker at a time: those that create the users' database at once end each other."""
    path = Path(tempfile.gettempdir()) / f"mlflow-ppo-users-{os.getuid()}.lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
