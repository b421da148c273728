"""With the extras: the programs beside `mlflow-ppo` answer `--help`."""

import sys

import pytest

from tests.packaging.conftest import ROOT, run

pytestmark = pytest.mark.packaging


@pytest.mark.parametrize("module", ["training", "live", "live.exchange"])
def test_the_program_helps(module: str) -> None:
    done = run(sys.executable, "-m", module, "--help", cwd=ROOT)
    assert done.stdout.startswith(f"Usage: python -m {module}")


def test_the_installed_requirements_agree() -> None:
    assert "No broken requirements found" in run(sys.executable, "-m", "pip", "check").stdout
