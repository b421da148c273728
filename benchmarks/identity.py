"""Models that do nothing: MLflow's own share of loading and predicting, measured on them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from mlflow_ppo_flavor.model.storage import LOADER_MODULE


class Identity:
    """Gives back what it gets."""

    def predict(self, model_input: Any, params: Any = None) -> Any:
        """The input."""
        return model_input


def _load_pyfunc(path: str) -> Identity:  # noqa: ARG001
    """What mlflow.pyfunc calls."""
    return Identity()


def save_identity(root: Path, original: Path) -> None:
    """Save a copy of a model, every file and every line but one: its loader is this module's."""
    shutil.copytree(original, root)
    text = (root / "MLmodel").read_text()
    (root / "MLmodel").write_text(text.replace(f"loader_module: {LOADER_MODULE}", f"loader_module: {__name__}"))
