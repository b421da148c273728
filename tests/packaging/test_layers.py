"""The layers between the packages hold, and a wrong import would be seen."""

import sys
from pathlib import Path

import pytest

from tests.packaging.conftest import copy_tree, run

pytestmark = pytest.mark.packaging
LINT = Path(sys.executable).with_name("lint-imports")


def broken_contracts(tree: Path, *only: str) -> str:
    """What import-linter says of this tree, empty where it finds nothing wrong."""
    chosen = [word for contract in only for word in ("--contract", contract)]
    done = run(LINT, "--no-cache", *chosen, cwd=tree, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.partition("Broken contracts")[2] if done.returncode else ""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return copy_tree(tmp_path / "tree")


def test_the_tree_keeps_its_layers(tree: Path) -> None:
    assert broken_contracts(tree) == ""


# The module that gets the import, what it imports, and the contract that has to break.
WRONG = [
    ("mlflow_ppo_flavor/errors.py", "mlflow_ppo_flavor.contract.spec", "tiers"),
    ("mlflow_ppo_flavor/contract/spec.py", "mlflow_ppo_flavor.decision.bars", "tiers"),
    ("mlflow_ppo_flavor/contract/spec.py", "mlflow", "contract-pure"),
    ("mlflow_ppo_flavor/errors.py", "numpy", "contract-pure"),
    ("mlflow_ppo_flavor/decision/bars.py", "mlflow_ppo_flavor.model.policy", "tiers"),
    ("mlflow_ppo_flavor/decision/bars.py", "mlflow_ppo_flavor.registry.plugin", "tiers"),
    ("mlflow_ppo_flavor/decision/bars.py", "torch", "decision-pure"),
    ("mlflow_ppo_flavor/decision/bars.py", "mlflow_ppo_flavor.decision.features", "decision-order"),
    ("mlflow_ppo_flavor/decision/market.py", "mlflow_ppo_flavor.decision.account", "decision-order"),
    ("mlflow_ppo_flavor/decision/action.py", "mlflow_ppo_flavor.decision.observation", "decision-order"),
    ("mlflow_ppo_flavor/decision/account.py", "mlflow_ppo_flavor.decision.bars", "decision-account"),
    ("mlflow_ppo_flavor/decision/features/returns.py", "mlflow_ppo_flavor.decision.market", "decision-features"),
    ("mlflow_ppo_flavor/decision/features/returns.py", "mlflow_ppo_flavor.decision.account", "decision-order"),
    ("mlflow_ppo_flavor/registry/plugin.py", "mlflow_ppo_flavor.decision.bars", "tiers"),
    ("mlflow_ppo_flavor/registry/plugin.py", "mlflow_ppo_flavor.model.policy", "tiers"),
    ("mlflow_ppo_flavor/registry/plugin.py", "numpy", "registry-server"),
    ("mlflow_ppo_flavor/registry/plugin.py", "talib", "registry-server"),
    ("mlflow_ppo_flavor/registry/plugin.py", "torch", "registry-server"),
    ("mlflow_ppo_flavor/model/policy.py", "mlflow_ppo_flavor.cli.main", "tiers"),
    ("mlflow_ppo_flavor/model/policy.py", "training.config", "programs"),
    ("training/config.py", "live", "programs"),
    ("training/config.py", "mlflow_ppo_flavor.cli.main", "programs"),
    ("training/config.py", "mlflow_ppo_flavor.registry.plugin", "registry-client"),
    ("training/config.py", "alpaca", "extra-train"),
    ("live/__init__.py", "training.config", "programs"),
    ("live/__init__.py", "mlflow_ppo_flavor.registry.plugin", "registry-client"),
    ("live/__init__.py", "gymnasium", "extra-live"),
]


def test_every_wrong_import_breaks_its_contract(tree: Path) -> None:
    for place, imported, contract in WRONG:
        path = tree / place
        right = path.read_text()
        path.write_text(f"{right}\nimport {imported}\n")
        importer = place.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        found = broken_contracts(tree, contract)
        assert f"{importer} ->" in found, f"{place}: import {imported} went through"
        path.write_text(right)


def test_a_module_outside_every_tier_is_seen(tree: Path) -> None:
    (tree / "mlflow_ppo_flavor" / "helpers.py").write_text('"""Belongs nowhere."""\n')
    assert "helpers" in broken_contracts(tree, "tiers")
