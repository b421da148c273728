"""Where an extra isn't installed, what needs it says which: a module that Python is told not to have stands for it."""

import subprocess
import sys

import mlflow_ppo_flavor as ppo
from mlflow_ppo_flavor.decision.action import Instrument
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.model.proof import Golden


def without(module: str, code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a Python that doesn't have that module."""
    lines = f"import sys\nsys.modules[{module!r}] = None\n{code}"
    return subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True)


def test_a_public_name_says_which_extra_it_needs() -> None:
    names = ["load_model", "record_golden", "save_checkpoint"]
    code = f"""
import mlflow_ppo_flavor as ppo
for name in {names}:
    try:
        getattr(ppo, name)
    except ImportError as error:
        print(error.name, error)
"""
    assert without("torch", code).stdout.splitlines() == [
        f"torch {name} needs the module torch, which isn't installed: install mlflow-ppo-flavor[model]"
        for name in names
    ]


def test_training_says_which_extra_it_needs() -> None:
    code = "import runpy; sys.argv = ['training', '--help']; runpy.run_module('training', run_name='__main__')"
    done = without("torch", code)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "Error: python -m training needs the module torch, which isn't installed: install mlflow-ppo-flavor[train]\n"
    )


def test_a_module_of_our_own_that_is_not_there_is_a_defect() -> None:
    done = without("mlflow_ppo_flavor.flavor", "import mlflow_ppo_flavor as ppo; ppo.load_model")
    assert done.returncode == 1
    assert "import of mlflow_ppo_flavor.flavor halted" in done.stderr
    assert "install" not in done.stderr


def test_every_public_name_is_there() -> None:
    for name in ppo.__all__:
        assert hasattr(ppo, name), name
    assert (ppo.Bars, ppo.Golden, ppo.Instrument) == (Bars, Golden, Instrument)
