"""Unlisted: what may not lie in a model's folder without MLmodel listing it. One rule for traders and for audits."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path, PurePosixPath

# what some loader would run or read as a model, where it isn't listed: nobody has vouched for it
_LOADABLE = (
    *(".py", ".pyc", ".pyd", ".so", ".dll", ".dylib", ".whl", ".egg"),
    *(".pkl", ".pickle", ".joblib", ".bin", ".pt", ".pth", ".pt2", ".onnx", ".safetensors"),
)
_CODE = "code"
"""The folder that MLflow would import from."""


def is_refused(name: str, listed: Container[str]) -> bool:
    """Whether a file or folder of a model, by its path below the model's folder, is one that a trader refuses."""
    return name not in listed and (name == _CODE or PurePosixPath(name).suffix.lower() in _LOADABLE)


def leads_out(path: Path, root: Path) -> bool:
    """Whether a link below a model's folder `root` leads to what isn't the model's."""
    return not path.resolve().is_relative_to(root.resolve())
