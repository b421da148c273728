"""`mlflow-ppo check` on model folders, and what the registry's commands say where no registry answers."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.commands import mlflow_ppo
from tests.own_packages import Install, Package
from tests.registry.model_folders import SKLEARN_FLAVORS, ppo_flavors, trained, write_mlmodel
from tests.server.servers import free_port


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a proven 2.7.0 model."""
    return str(write_mlmodel(tmp_path_factory.mktemp("check") / "model", ppo_flavors(trained("2.7.0"))))


def test_an_old_trader_is_refused_with_every_finding(model: str) -> None:
    outcome = mlflow_ppo("check", model, "--trader", "2.6.0")
    assert outcome.code == 1
    assert outcome.err == ""
    assert outcome.out.splitlines() == [
        f"released trader 2.6.0 can't run {model} (ppo 2.7.0)",
        "  [version] requires_trader: found trader 2.6.0, model 2.7.0 requires trader >=2.7.0: "
        "upgrade the trader to >=2.7.0 or choose a model that 2.6.0 runs",
        *(
            f"  [safety] features[{i}]: found {name}@1, this trader doesn't compute {name}: upgrade the trader"
            for i, name in ((56, "position_size"), (57, "available_cash"), (58, "account_value"))
        ),
    ]


def test_the_newest_trader_is_asked_by_default(model: str) -> None:
    outcome = mlflow_ppo("check", model)
    assert (outcome.code, outcome.out) == (0, f"released trader 2.7.0 may run {model} (ppo 2.7.0)\n")


def test_the_json_has_these_keys(model: str) -> None:
    outcome = mlflow_ppo("check", model, "--trader", "2.6.0", "--format", "json")
    assert outcome.code == 1
    told = outcome.json
    assert {key: told[key] for key in told if key not in ("digest", "traders")} == {
        "model": model,
        "spec_version": "2.7.0",
        "proven": True,
        "reference": None,
        "allowed": False,
    }
    assert len(told["digest"]) == 64
    trader = told["traders"][0]
    assert list(trader) == ["trader_id", "version", "paper", "allowed", "findings"]
    assert trader["findings"][0] == {
        "code": "trader_version",
        "kind": "version",
        "place": "requires_trader",
        "found": "trader 2.6.0",
        "expected": "model 2.7.0 requires trader >=2.7.0",
        "remedy": "upgrade the trader to >=2.7.0 or choose a model that 2.6.0 runs",
    }


def test_several_models_are_checked_at_once(model: str, tmp_path: Path) -> None:
    older = str(write_mlmodel(tmp_path / "older", ppo_flavors(trained("2.6.0"))))
    both = mlflow_ppo("check", "--trader", "2.6.0", older, model)
    assert both.code == 1
    assert both.out.splitlines()[0] == f"released trader 2.6.0 may run {older} (ppo 2.6.0)"
    assert both.out.splitlines()[1] == f"released trader 2.6.0 can't run {model} (ppo 2.7.0)"
    told = mlflow_ppo("check", "--trader", "2.6.0", older, model, "--format", "json").json
    assert [(each["model"], each["spec_version"], each["allowed"]) for each in told] == [
        (older, "2.6.0", True),
        (model, "2.7.0", False),
    ]
    assert mlflow_ppo("check", "--trader", "2.7.0", older, model).code == 0
    assert mlflow_ppo("check", older, "/nowhere").code == 2


def test_the_trader_has_the_own_packages_that_are_installed_here(tmp_path: Path, install: Install) -> None:
    spec = replace(trained("2.7.0"), requires_trader=">=2.7.0; acme-features>=1.2", features=("acme/spread@1",))
    folder = str(write_mlmodel(tmp_path / "own", ppo_flavors(spec)))
    without = mlflow_ppo("check", folder)
    assert without.code == 1
    assert without.out.splitlines()[1:] == [
        "  [version] requires_trader: found no acme-features, model 2.7.0 requires acme-features>=1.2: "
        "install acme-features>=1.2",
        "  [safety] features[0]: found acme/spread@1, this trader doesn't compute acme/spread: "
        "install the package that brings it",
    ]
    install(Package())
    assert mlflow_ppo("check", folder).out == f"trader any (2.7.0) may run {folder} (ppo 2.7.0)\n"


def test_a_model_of_another_flavor_is_refused(tmp_path: Path) -> None:
    folder = write_mlmodel(tmp_path, SKLEARN_FLAVORS)
    outcome = mlflow_ppo("check", str(folder))
    assert outcome.code == 1
    assert "model: found MLmodel has no ppo flavor, only python_function, sklearn" in outcome.out
    told = mlflow_ppo("check", folder.as_uri(), "--format", "json").json
    assert (told["spec_version"], told["digest"], told["proven"]) == (None, None, False)


def test_a_model_that_demands_what_no_trader_has_is_refused(tmp_path: Path) -> None:
    spec = replace(trained("2.7.0"), requires_trader=">=9")
    outcome = mlflow_ppo("check", str(write_mlmodel(tmp_path, ppo_flavors(spec))))
    assert "model 2.7.0 requires trader >=9" in outcome.out
    assert outcome.code == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["check", "{model}", "--trader", "new"],
            "Error: --trader: found 'new', expected a version such as 2.7.0",
        ),
        (["check", "{model}", "--trader", "2.6.0", "--for", "m/Production"], "--trader and --for: found both"),
        (["check", "{model}", "--for", "m/latest"], "Error: --for: found 'm/latest', expected a reference such as"),
        (["check", "{model}", "--trader", "2.8.0"], "Error: --trader: found '2.8.0', expected at most 2.7.0"),
        (["check", "{model}", "--trader", "9" * 5_000], "Error: --trader: found 5000 characters, expected a version"),
        (["check", "/nowhere"], "Error: /nowhere: MLmodel can't be read: "),
        (["check"], "Error: Missing argument 'MODEL_URI...'"),
        (["check-trader"], "Error: Missing argument 'TRADER_VERSION'"),
        (["check-trader", "new"], "Error: TRADER_VERSION: found 'new', expected a version such as 2.7.0"),
        (["check-trader", "2.8.0"], "Error: TRADER_VERSION: found '2.8.0', expected at most 2.7.0"),
        (["check-trader", "2.7.0"], "Error: registry: found no URI, expected that of an MLflow server"),
        (
            ["check-trader", "2.7.0", "--registry", "http://h", "--reference", "m/3"],
            "Error: --reference: found 'm/3', expected a reference such as ppo-aapl/Production or ppo-aapl@champion",
        ),
        (["check-trader", "2.7.0", "--paper", "maybe"], "Invalid value for '--paper': 'maybe' is not one of '0', '1'"),
        (["check", "/nowhere"], "expected a logged model: its folder, runs:/…, models:/… or another artifact URI"),
        (["check", "models:/m/1"], "Error: registry: found no URI, expected that of an MLflow server"),
        (
            ["promote", "m", "1", "Archived"],
            "Error: reference: found 'Archived', expected Production, Staging or @alias",
        ),
        (["promote", "m", "1", "@latest"], "Error: reference: found '@latest', expected an alias that MLflow allows"),
        (["promote", "m", "1", "@x", "--archive-existing"], "--archive-existing: found an alias, expected a stage"),
        (["promote", "m", "1", "Production"], "Error: registry: found no URI, expected that of an MLflow server"),
        (["fleet"], "Error: registry: found no URI, expected that of an MLflow server"),
        (
            ["server", "--backend-store-uri", "mysql://h/d"],
            "registry store: found mysql:…, expected sqlite:… or postgresql:…",
        ),
        (["server", "--port", "70000"], "'--port': 70000 is not in the range"),
    ],
)
def test_wrong_usage_is_a_message_on_stderr_and_exit_2(arguments: list[str], text: str, model: str) -> None:
    outcome = mlflow_ppo(*(argument.format(model=model) for argument in arguments))
    assert (outcome.code, outcome.out) == (2, "")
    assert text in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["promote", "m", "1", "Production"],
        ["fleet"],
        ["fleet", "m"],
        ["check", "models:/m/1"],
        ["check-trader", "2.7.0"],
        ["spec", "show", "models:/m/1"],
    ],
)
def test_a_registry_that_does_not_answer_is_told_within_seconds(arguments: list[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    start = time.monotonic()
    outcome = mlflow_ppo(*arguments, "--tracking-uri", url)
    assert time.monotonic() - start < 15
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("Error: registry: API request to ")
    assert url in outcome.err
