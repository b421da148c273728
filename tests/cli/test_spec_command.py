"""`mlflow-ppo spec list|show`."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from mlflow_ppo_flavor.cli.spec.command import SUBCOMMANDS, command
from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from tests.cli.commands import mlflow_ppo
from tests.own_packages import Install, Package
from tests.registry.model_folders import SKLEARN_FLAVORS, ppo_flavors, trained, write_mlmodel


def test_list_as_json() -> None:
    told = mlflow_ppo("spec", "list", "--format", "json").json
    assert [row["version"] for row in told] == list(MODEL_SPECS)
    assert told[list(MODEL_SPECS).index("2.7.0")] == {
        "version": "2.7.0",
        "requires_trader": ">=2.7.0",
        "n_features": 59,
        "window": 100,
        "obs_dim": 5900,
        "n_actions": 7,
        "breaking_changes": "7 sized actions; 59 features: the position is observed",
        "fingerprint": MODEL_SPECS["2.7.0"].fingerprint,
    }


def test_the_table_says_of_every_subcommand_what_its_own_help_says() -> None:
    for name, entry in SUBCOMMANDS.items():
        found = command.get_command(click.Context(command), name)
        assert found is not None
        assert found.get_short_help_str(limit=200).rstrip(".") == entry.help.rstrip(".")


def test_list_as_text() -> None:
    lines = mlflow_ppo("spec", "list").out.splitlines()
    assert lines[0].split() == ["spec", "trader", "features", "window", "obs_dim", "actions", "breaking", "changes"]
    assert lines[3].split() == ["2.5.0", ">=2.4.0", "56", "100", "5600", "3"]


def test_list_says_what_it_leaves_out(install: Install) -> None:
    install(Package(source="1 / 0"))
    done = mlflow_ppo("spec", "list", "--format", "json")
    assert (done.code, [row["version"] for row in done.json]) == (0, list(MODEL_SPECS))
    assert done.err == (
        "not listed: acme-features 1.2.0: mlflow_ppo_flavor.specs.acme: found ZeroDivisionError: division by zero, "
        "expected acme_of_tests:SPECS to be imported\n"
    )


@pytest.mark.parametrize("version", MODEL_SPECS)
def test_show_a_released_spec(version: str) -> None:
    spec = MODEL_SPECS[version]
    assert mlflow_ppo("spec", "show", version, "--format", "json").json == {
        "spec": spec.to_dict(),
        "fingerprint": spec.fingerprint,
        "digest": None,
        "proven": None,
    }
    text = mlflow_ppo("spec", "show", version).out
    assert f"observation     {spec.n_features} features × 100 bars = {spec.obs_dim}\n" in text
    assert f"  {spec.n_actions - 1} {spec.actions[-1].name} (direction -1, size" in text


def test_show_a_model_folder(tmp_path: Path) -> None:
    folder = write_mlmodel(tmp_path, ppo_flavors(trained("2.6.0")))
    told = mlflow_ppo("spec", "show", str(folder), "--format", "json").json
    assert told["spec"] == trained("2.6.0").to_dict()
    assert told["proven"] is True
    assert len(told["digest"]) == 64
    text = mlflow_ppo("spec", "show", str(folder)).out
    assert "bars            1Day, all, regular, America/New_York\nsymbols         AAPL\n" in text
    assert text.endswith(f"digest          {told['digest']}\nproven          yes\n")


def test_what_is_no_model_or_no_version_is_a_message(tmp_path: Path) -> None:
    unknown = mlflow_ppo("spec", "show", "2.9.9")
    assert (unknown.code, unknown.out) == (2, "")
    assert unknown.err == (
        f"Error: 2.9.9: found no model there, expected a released version ({', '.join(MODEL_SPECS)}), "
        "a model's folder or its URI\n"
    )
    missing = mlflow_ppo("spec", "show", str(tmp_path))
    assert (missing.code, missing.out) == (2, "")
    assert missing.err.startswith(f"Error: {tmp_path}: MLmodel can't be read: ")
    other = mlflow_ppo("spec", "show", str(write_mlmodel(tmp_path, SKLEARN_FLAVORS)))
    assert other.err == (
        f"Error: {tmp_path}: found MLmodel has no ppo flavor, only python_function, sklearn, "
        "expected a model with the ppo flavor\n"
    )
    assert other.code == 2


def test_released_specs_are_shown_without_importing_mlflow() -> None:
    code = (
        "import sys\n"
        "from mlflow_ppo_flavor.cli.main import main\n"
        "main(['spec', 'show', '2.7.0'], standalone_mode=False)\n"
        "sys.exit('mlflow' in sys.modules or 'sqlalchemy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
