"""`mlflow-ppo verify` on folders, and what it says where it can't begin."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import mlflow_ppo_flavor as ppo
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.contract.vouch import Vouch
from mlflow_ppo_flavor.decision.features import compute_features
from mlflow_ppo_flavor.model import stages
from mlflow_ppo_flavor.model.golden import record_cases
from tests.cli.commands import mlflow_ppo
from tests.model.policies import SPEC, policy_of, small_bars, small_golden, small_policy
from tests.registry import databases
from tests.server.servers import free_port

VOUCH = Vouch("trained by the old trainer", "Ann", "2026-01-31T12:00:00+00:00")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a proven model."""
    folder = tmp_path_factory.mktemp("verify") / "model"
    ppo.save_model(small_policy(), folder, golden=small_golden())
    return str(folder)


def stage_lines() -> list[str]:
    golden = small_golden()
    bars, rows = sum(len(s.bars) for s in golden.segments), sum(len(s.rows) for s in golden.segments)
    sure = int((golden.margins > 1e-3).sum())
    return [
        "  spec          10 features and actions by name",
        f"  bars          {bars} in {len(golden.segments)} segment(s)",
        f"  features      {rows} rows of 4 market features",
        "  observations  24 of 24 numbers",
        "  logits        96 of 24 cases, and 24 values",
        f"  actions       {sure} beyond the margin of 0.001, of 24",
        "  quantities    64 decisions, 40 of them every action of 5 accounts",
    ]


def test_what_is_reproduced_is_told_stage_by_stage(model: str) -> None:
    outcome = mlflow_ppo("verify", model)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [*stage_lines(), f"{model}: reproduced: 64 decisions, by trader 2.7.0"]


def test_the_json_has_these_keys(model: str) -> None:
    outcome = mlflow_ppo("verify", model, "--format", "json")
    assert outcome.code == 0
    told = outcome.json
    assert {key: told[key] for key in told if key not in ("digest", "stages")} == {
        "model": model,
        "version": None,
        "spec_version": "1.0.0",
        "outcome": "reproduced",
        "unproven": None,
        "trader_version": "2.7.0",
        "differs": None,
        "findings": [],
        "attested": None,
    }
    assert told["digest"] == ppo.verify_model(model).digest
    assert [stage["name"] for stage in told["stages"]] == [line.split()[0] for line in stage_lines()]
    assert told["stages"][-1]["compared"] == 64


def test_the_first_stage_that_differs_is_told_with_its_findings(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "compute_features", lambda *told, **more: compute_features(*told, **more) * 2)
    outcome = mlflow_ppo("verify", model)
    assert (outcome.code, outcome.err) == (1, "")
    lines = outcome.out.splitlines()
    assert lines[:3] == [*stage_lines()[:2], f"{model}: not reproduced: features differ"]
    assert lines[3].startswith("  [safety] golden.features return_1@1 at 2000-01-")
    assert len(lines) == 7
    told = mlflow_ppo("verify", model, "--format", "json").json
    assert (told["outcome"], told["differs"], len(told["findings"])) == ("not reproduced", "features", 4)


def test_a_model_of_other_weights_is_not_reproduced(model: str, tmp_path: Path) -> None:
    other = policy_of(SPEC, seed=5)
    cases = [(40, small_golden().cases[0].account)]
    ppo.save_model(other, tmp_path / "other", golden=record_cases(other, small_bars(), cases))
    altered = tmp_path / "altered"
    shutil.copytree(model, altered)
    shutil.copy(tmp_path / "other" / "policy.safetensors", altered / "policy.safetensors")
    outcome = mlflow_ppo("verify", str(altered))
    assert outcome.code == 1
    first, second = outcome.out.splitlines()
    assert first == f"{altered}: not reproduced: its files can't be used"
    assert second.startswith(f"  [safety] model: found {altered}/policy.safetensors: found sha256 ")
    shutil.copy(tmp_path / "other" / "MLmodel", altered / "MLmodel")
    assert "golden.safetensors: found sha256" in mlflow_ppo("verify", str(altered)).out


@pytest.mark.filterwarnings("ignore:.*no golden decisions")
def test_an_unproven_model_is_told_plainly(tmp_path: Path) -> None:
    ppo.save_model(small_policy(), tmp_path / "unproven")
    ppo.save_model(small_policy(), tmp_path / "vouched", vouch=VOUCH)
    outcome = mlflow_ppo("verify", str(tmp_path / "unproven"))
    assert (outcome.code, outcome.out.splitlines()) == (
        1,
        [
            f"{tmp_path / 'unproven'}: unproven: no golden decisions",
            "  [warning] golden: found no golden decisions, on paper this is a warning: "
            "record golden decisions with the code that trained it",
        ],
    )
    vouched = mlflow_ppo("verify", str(tmp_path / "vouched"))
    assert (vouched.code, vouched.out.splitlines()) == (
        1,
        [
            f"{tmp_path / 'vouched'}: unproven: no golden decisions, vouched by Ann: trained by the old trainer",
            "  [warning] golden: found no golden decisions, vouched by Ann: trained by the old trainer: "
            "record golden decisions with the code that trained it",
        ],
    )
    told = mlflow_ppo("verify", str(tmp_path / "vouched"), "--format", "json").json
    assert (told["outcome"], told["unproven"]) == (
        "unproven",
        "no golden decisions, vouched by Ann: trained by the old trainer",
    )
    assert "vouched by Ann: trained by the old trainer" in mlflow_ppo("check", str(tmp_path / "vouched")).out
    shown = mlflow_ppo("spec", "show", str(tmp_path / "vouched")).out
    assert shown.endswith("proven          no (vouched by Ann: trained by the old trainer)\n")


def test_an_earlier_trader_reproduces_what_it_cannot_run(tmp_path: Path) -> None:
    spec: ModelSpec = replace(SPEC, requires_trader=">=2.7.0")
    ppo.save_model(policy_of(spec), tmp_path / "new", golden=ppo.record_golden(policy_of(spec), small_bars()))
    outcome = mlflow_ppo("verify", str(tmp_path / "new"), "--as-trader", "2.6.0")
    assert outcome.code == 1
    lines = outcome.out.splitlines()
    expected = f"{tmp_path / 'new'}: refused: trader 2.6.0 reproduces its 64 decisions and can't run it"
    assert lines[7] == expected
    assert lines[8].startswith(
        "  [version] requires_trader: found trader 2.6.0, model test 1.0.0 requires trader >=2.7.0"
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["{model}", "--attest"], "--attest and --trader-id: found one of them, expected both or neither"),
        (["{model}", "--trader-id", "live-1"], "--attest and --trader-id: found one of them, expected both or neither"),
        (
            ["{model}", "--attest", "--trader-id", "live-1"],
            "--attest: found a model that isn't a registered version, expected models:/<name>/…",
        ),
        (["{model}", "--as-trader", "9.0.0"], "as_trader: found 9.0.0, expected at most 2.7.0, which is installed"),
        (["models:/m/1"], "Error: registry: found no URI, expected that of an MLflow server"),
        (["runs:/1/policy"], "Error: registry: found no URI, expected that of an MLflow server"),
        (["/nowhere"], "Error: /nowhere: found no MLmodel there: expected a logged model: its folder, runs:/… or"),
    ],
)
def test_wrong_usage_is_a_message_on_stderr_and_exit_2(arguments: list[str], text: str, model: str) -> None:
    outcome = mlflow_ppo("verify", *(argument.format(model=model) for argument in arguments))
    assert (outcome.code, outcome.out) == (2, "")
    assert text in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("uri", ["models:/m/1", "models:/m@live", "models:/m/Staging", "runs:/0123/policy"])
def test_a_registry_that_does_not_answer_is_exit_2(uri: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    outcome = mlflow_ppo("verify", uri, "--tracking-uri", url)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("Error: ")
    assert "Traceback" not in outcome.err


def test_a_version_that_was_changed_since_its_registration_is_not_reproduced(tmp_path: Path) -> None:
    """By another model that is sound in itself: the registry knows the digest."""
    folders = [tmp_path / "registered", tmp_path / "other"]
    for seed, folder in enumerate(folders):
        policy = policy_of(SPEC, seed)
        ppo.save_model(policy, folder, golden=ppo.record_golden(policy, small_bars()))
    store = databases.guarded(tmp_path)
    store.create_registered_model("m")
    store.create_model_version("m", str(folders[0]))
    uri = str(store.engine.url)
    where = ["models:/m/1", "--tracking-uri", uri, "--registry-uri", f"ppo:{uri}"]
    assert mlflow_ppo("verify", *where, "--attest", "--trader-id", "ci").code == 0
    for file in folders[1].iterdir():
        shutil.copy(file, folders[0] / file.name)
    outcome = mlflow_ppo("verify", *where, "--attest", "--trader-id", "ci-2")
    assert outcome.code == 1
    assert outcome.out.splitlines()[0] == "models:/m/1: not reproduced: its files can't be used"
    assert "as the registry read it at registration: the model was changed since, don't trade it" in outcome.out
    proof = store.get_model_version("m", 1).tags["ppo.proof"]
    assert proof == "golden decisions recorded, attested by 1 trader"
    # past the gate: it still knows what it read
    databases.SqlAlchemyStore(uri).delete_model_version_tag("m", "1", "ppo.digest")
    refused = mlflow_ppo("verify", *where, "--attest", "--trader-id", "ci-2")
    assert refused.code == 1
    assert refused.out.splitlines()[-2].startswith("models:/m/1: reproduced: ")
    assert refused.out.splitlines()[-1].startswith("Refused: ci-2 can't attest m version 1: digest ")
    told = mlflow_ppo("verify", *where, "--attest", "--trader-id", "ci-2", "--format", "json")
    assert (told.code, told.json["outcome"], told.json["attested"]) == (1, "reproduced", False)
    store.engine.dispose()


def test_a_registry_without_the_gate_is_warned_of_in_one_line(model: str, tmp_path: Path) -> None:
    store = databases.unguarded(tmp_path)
    store.create_registered_model("m")
    store.create_model_version("m", model)
    uri = str(store.engine.url)
    where = ["models:/m/1", "--tracking-uri", uri, "--registry-uri", uri]
    outcome = mlflow_ppo("verify", *where, "--attest", "--trader-id", "ci")
    assert outcome.code == 0
    (warning,) = [line for line in outcome.err.splitlines() if "arning" in line]
    assert warning == (
        "Warning: m version 1: the registry kept the attestation as a plain tag, expected its gate to read it: "
        "start the server with --registry-store-uri ppo:<database URI>, or nobody counts it"
    )
    store.engine.dispose()
