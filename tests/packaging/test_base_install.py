"""The base install, in a clean environment: enough for an MLflow server with the gate, and nothing heavy."""

import json

import pytest

from mlflow_ppo_flavor.cli.main import COMMANDS
from mlflow_ppo_flavor.version import VERSION
from tests.packaging.conftest import Environment

pytestmark = pytest.mark.packaging

NEWLY_LOADED = """
import json, sys
before = set(sys.modules)
{imports}
print(json.dumps(sorted({{name.partition(".")[0] for name in set(sys.modules) - before}})))
"""

# all in one process: each would import MLflow anew
HELP = """
import json
from click.testing import CliRunner
from mlflow_ppo_flavor.cli.main import COMMANDS, main
done = {name: CliRunner().invoke(main, [name, "--help"], prog_name="mlflow-ppo") for name in COMMANDS}
print(json.dumps({name: [each.exit_code, each.stdout, each.stderr] for name, each in done.items()}))
"""


def newly_loaded(base: Environment, imports: str) -> set[str]:
    """The top-level modules outside the standard library that these lines load."""
    loaded = json.loads(base.python(NEWLY_LOADED.format(imports=imports)))
    standard = set(json.loads(base.python("import json, sys; print(json.dumps(sorted(sys.stdlib_module_names)))")))
    return set(loaded) - standard


def test_the_command_tells_its_version(base: Environment) -> None:
    assert base.run("mlflow-ppo", "--version").stdout == f"mlflow-ppo, version {VERSION}\n"


def test_entry_points_are_present(base: Environment) -> None:
    code = (
        "import json; from importlib.metadata import distribution;"
        "print(json.dumps(sorted([e.group, e.name, e.value]"
        " for e in distribution('mlflow-ppo-flavor').entry_points)))"
    )
    assert json.loads(base.python(code)) == [
        ["console_scripts", "mlflow-ppo", "mlflow_ppo_flavor.cli.main:main"],
        ["mlflow.app", "ppo", "mlflow_ppo_flavor.registry.page.app:create_app"],
        ["mlflow.app", "ppo-basic-auth", "mlflow_ppo_flavor.registry.page.app:create_auth_app"],
        ["mlflow.artifact_repository", "ppo-file", "mlflow_ppo_flavor.registry.plugin:build_repository"],
        ["mlflow.model_registry_store", "ppo", "mlflow_ppo_flavor.registry.plugin:build_store"],
    ]


def test_requirements_agree(base: Environment) -> None:
    code = "from importlib.metadata import distributions; print(*(d.name for d in distributions()))"
    names = set(base.python(code).lower().split())
    assert {"mlflow", "packaging", "click", "rich", "cryptography"} <= names
    assert not names & {"torch", "ta-lib", "numba", "onnxruntime", "gymnasium", "alpaca-py", "pytest"}


@pytest.mark.parametrize("module", ["torch", "talib", "numba", "gymnasium", "alpaca"])
def test_heavy_modules_are_absent(base: Environment, module: str) -> None:
    code = f"from importlib.util import find_spec; print(find_spec({module!r}))"
    assert base.python(code) == "None\n"


def test_the_package_imports_the_standard_library_and_packaging_alone(base: Environment) -> None:
    assert newly_loaded(base, "import mlflow_ppo_flavor") <= {"mlflow_ppo_flavor", "packaging"}


def test_the_contract_is_usable_without_torch(base: Environment) -> None:
    code = (
        "import mlflow_ppo_flavor as ppo;"
        "print(ppo.interpret_action(4, ppo.MODEL_SPECS['2.7.0']),"
        " ppo.check_compatibility(ppo.MODEL_SPECS['2.7.0'], trader_version='2.6.0', strict=True).allowed)"
    )
    assert base.python(code) == "(-1, 0.25, 'SELL_25%') False\n"


def test_the_registry_plugin_loads_and_leaves_mlflow_alone(base: Environment) -> None:
    imports = (
        "from importlib.metadata import entry_points\nentry_points(group='mlflow.model_registry_store')['ppo'].load()"
    )
    assert newly_loaded(base, imports) <= {"mlflow_ppo_flavor", "packaging"}


def test_every_command_helps_or_names_its_extra(base: Environment) -> None:
    answers = json.loads(base.python(HELP))
    assert answers.keys() == COMMANDS.keys()
    for name, (code, told, complaint) in answers.items():
        assert "Traceback" not in complaint
        if code == 0:
            assert told.startswith(f"Usage: mlflow-ppo {name}")
        else:
            assert code == 2
            assert f"install mlflow-ppo-flavor[{COMMANDS[name].extra}]" in complaint


@pytest.mark.parametrize(
    ("program", "extra"),
    [("training", "train"), ("live", "live"), ("live.exchange", "live")],
)
def test_every_program_names_its_extra(base: Environment, program: str, extra: str) -> None:
    done = base.run("python", "-m", program, "--help", check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith(f"Error: python -m {program} needs the module ")
    assert done.stderr.endswith(f"which isn't installed: install mlflow-ppo-flavor[{extra}]\n")
