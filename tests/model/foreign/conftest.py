"""What the trainer of elsewhere left behind, made once."""

from pathlib import Path

import pytest

from tests.model.foreign.training import train_elsewhere


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with legacy.pt, spec.json, golden.npz and bars.csv."""
    folder = tmp_path_factory.mktemp("elsewhere")
    train_elsewhere(folder)
    return folder
