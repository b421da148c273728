"""`mlflow-ppo import`: what it registers, what it refuses, and what it says of both."""

from __future__ import annotations

import getpass
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch

import mlflow_ppo_flavor as ppo
from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from mlflow_ppo_flavor.model.storage import StoredModel, read_model
from tests.cli.commands import Outcome, mlflow_ppo
from tests.mlflow_state import pointed_at
from tests.model.foreign.baselines import SPEC, model, normalised, saved
from tests.model.foreign.training import changed_file, train_elsewhere
from tests.model.policies import small_golden, small_policy
from tests.registry import databases

NEXT = (
    "unproven: no golden decisions came with it, so traders with real money refuse it. Next: record a golden file with "
    'the code that trained it and import with --golden FILE; or answer for it yourself with --vouch "reason"'
)


@dataclass(frozen=True)
class Registry:
    """A registry behind its gate, and where it keeps its artifacts."""

    uri: str

    def run(self, *arguments: str) -> Outcome:
        uris = ("--tracking-uri", self.uri, "--registry-uri", f"ppo:{self.uri}", "--experiment", "imports")
        return mlflow_ppo("import", *map(str, arguments), *uris)

    def versions(self) -> list[str]:
        client = mlflow.MlflowClient(self.uri, self.uri)
        return sorted(f"{v.name}/{v.version}" for v in client.search_model_versions())

    def stored(self, uri: str) -> StoredModel:
        with pointed_at(self.uri, self.uri):
            return read_model(Path(mlflow.artifacts.download_artifacts(uri)))


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    database = databases.fresh(tmp_path)
    client = mlflow.MlflowClient(database, database)
    client.create_experiment("imports", artifact_location=(tmp_path / "artifacts").as_uri())
    return Registry(database)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elsewhere")
    train_elsewhere(folder)
    (folder / "small.json").write_text(json.dumps(SPEC.to_dict()))
    ppo.save_checkpoint(folder / "ours.pt", small_policy(), golden=small_golden())
    env = normalised()
    saved(model(env), folder / "ppo.zip")
    env.save(str(folder / "vecnormalize.pkl"))
    return folder


def test_a_legacy_checkpoint_with_its_golden_file(registry: Registry, elsewhere: Path) -> None:
    told = registry.run(
        elsewhere / "legacy.pt",
        "--name",
        "desk",
        "--spec",
        elsewhere / "spec.json",
        "--golden",
        elsewhere / "golden.npz",
    )
    assert (told.code, told.err.count("Traceback")) == (0, 0)
    stored = registry.stored("models:/desk/1")
    assert told.out.splitlines() == [
        f"{elsewhere / 'legacy.pt'} (legacy checkpoint) is desk version 1, spec 1.0.0",
        "  read as trunk fc1 (20 → 32), fc2 (32 → 32); actor policy_head (32 → 3); critic value_head (32 → 1); relu",
        f"  digest {stored.digest}",
        "  proven: 37 golden decisions, reproduced by this code",
    ]
    assert stored.golden is not None
    assert stored.vouch is None
    assert stored.spec.symbols == ("MEANREV",)


def test_unproven_is_told_with_what_to_do_next(registry: Registry, elsewhere: Path) -> None:
    told = registry.run(
        elsewhere / "ppo.zip", "--name", "desk", "--spec", elsewhere / "small.json", "--vecnormalize",
        elsewhere / "vecnormalize.pkl", "--timeframe", "1Day", "--adjustment", "all", "--symbols", "aapl,ibm",
    )  # fmt: skip
    assert told.code == 0
    lines = told.out.splitlines()
    assert lines[0].startswith(f"{elsewhere / 'ppo.zip'} (stable-baselines3 2.")
    assert lines[1].endswith("value_net (64 → 1); tanh; observations normalised, clipped at 10")
    assert lines[3] == f"  {NEXT}"
    stored = registry.stored("models:/desk/1")
    assert (stored.golden, stored.vouch) == (None, None)
    assert stored.spec == SPEC.for_bars(timeframe="1Day", adjustment="all", symbols=["AAPL", "IBM"])


def test_names_that_no_terminal_can_show_are_written_out(registry: Registry, tmp_path: Path) -> None:
    weights = {"actor.\ud800.weight": torch.zeros(7, 50), "critic.\ud801.weight": torch.zeros(1, 50)}
    torch.save({"policy_state_dict": weights, "config": {"activation": "relu"}}, tmp_path / "m.pt")
    (tmp_path / "spec.json").write_text(json.dumps(SPEC.to_dict()))
    told = registry.run(tmp_path / "m.pt", "--name", "desk", "--spec", tmp_path / "spec.json")
    assert told.code == 0
    assert (
        told.out.splitlines()[1]
        == "  read as trunk empty; actor actor.\\ud800 (50 → 7); critic critic.\\ud801 (50 → 1); relu"
    )
    torch.save({"policy_state_dict": {"\ud800": torch.zeros(1)}}, tmp_path / "m.pt")
    for form in ("text", "json"):
        told = registry.run(tmp_path / "m.pt", "--name", "desk", "--spec", tmp_path / "spec.json", "--format", form)
        assert told.code == 1
        assert "policy_state_dict.\\" in told.out


def test_somebody_vouches(registry: Registry, elsewhere: Path) -> None:
    arguments = ("--name", "desk", "--spec", elsewhere / "spec.json", "--vouch", "compared by hand", "--format", "json")
    (row,) = registry.run(elsewhere / "legacy.pt", *arguments).json["registered"]
    stored = registry.stored("models:/desk/1")
    assert stored.vouch is not None
    assert stored.vouch.to_dict() == row["vouch"]
    assert (row["vouch"]["reason"], row["vouch"]["by"]) == ("compared by hand", getpass.getuser())
    assert row | {"reading": "", "vouch": ""} == {
        "file": str(elsewhere / "legacy.pt"),
        "kind": "legacy checkpoint",
        "reading": "",
        "model": "desk",
        "version": "1",
        "uri": "models:/desk/1",
        "spec_version": "1.0.0",
        "fingerprint": stored.spec.fingerprint,
        "digest": stored.digest,
        "proof": "vouched",
        "vouch": "",
        "findings": [],
    }


def test_several_files_all_or_nothing(registry: Registry, elsewhere: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pt"
    torch.save({"policy_state_dict": {"weight": torch.ones(3)}}, bad)
    told = registry.run(elsewhere / "ours.pt", bad, "--name", "desk")
    assert told.code == 1
    lines = told.out.splitlines()
    assert lines[0] == f"{bad} is refused"
    assert lines[1].startswith(
        "  [safety] policy_state_dict.weight: found float32[3], a normalisation layer's, expected "
    )
    assert lines[-1] == "Nothing was registered."
    assert registry.versions() == []
    as_json = registry.run(elsewhere / "ours.pt", bad, "--name", "desk", "--format", "json")
    assert (as_json.code, as_json.json["registered"]) == (1, [])
    (refused,) = as_json.json["refused"]
    assert (refused["file"], refused["findings"][0]["place"]) == (str(bad), "policy_state_dict.weight")
    told = registry.run(elsewhere / "ours.pt", elsewhere / "ours.pt", "--name", "desk", "--vouch", "needless")
    assert (told.code, registry.versions()) == (0, ["desk/1", "desk/2"])
    assert told.out.count("proven: 64 golden decisions, reproduced by this code") == 2
    assert registry.stored("models:/desk/2").vouch is None


def test_what_was_registered_before_the_registry_failed_is_told(registry: Registry, elsewhere: Path) -> None:
    with closing(sqlite3.connect(registry.uri.removeprefix("sqlite:///"))) as database:
        database.execute(
            "CREATE TRIGGER full BEFORE INSERT ON model_versions WHEN NEW.version = 2 "
            "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
        )
        database.commit()
    told = registry.run(elsewhere / "ours.pt", elsewhere / "ours.pt", "--name", "desk")
    assert (told.code, registry.versions()) == (2, ["desk/1"])
    assert told.out.startswith(f"{elsewhere / 'ours.pt'} (checkpoint) is desk version 1, spec 1.0.0\n")
    assert "Error: registry: " in told.err
    assert "Model Version creation error (name=desk)" in told.err


def test_golden_decisions_of_another_model_are_refused(registry: Registry, elsewhere: Path, tmp_path: Path) -> None:
    logits = np.load(elsewhere / "golden.npz")["logits"]
    golden = changed_file(elsewhere / "golden.npz", tmp_path / "g.npz", {"logits": logits + np.float32(0.5)})
    told = registry.run(
        elsewhere / "legacy.pt", "--name", "desk", "--spec", elsewhere / "spec.json", "--golden", golden
    )
    assert told.code == 1
    assert "  [safety] golden.logit of HOLD at 2000-03-27T05:00:00Z: found " in told.out
    assert registry.versions() == []


def test_findings_that_do_not_refuse_are_shown(registry: Registry, elsewhere: Path, tmp_path: Path) -> None:
    spec = MODEL_SPECS["2.6.0"]
    weights = {"actor.weight": torch.zeros(3, spec.obs_dim), "critic.weight": torch.zeros(1, spec.obs_dim)}
    torch.save({"policy_state_dict": weights}, tmp_path / "old.pt")
    told = registry.run(tmp_path / "old.pt", "--name", "desk", "--activation", "tanh")
    assert told.code == 0
    assert "  [warning] model_version: found no version and no spec, the weights have 5600 inputs" in told.out


def test_what_cannot_be_read_or_reached_is_exit_2(registry: Registry, elsewhere: Path, tmp_path: Path) -> None:
    gone = registry.run(tmp_path / "gone.pt", "--name", "desk")
    assert (gone.code, gone.err) == (
        2, f"Error: {tmp_path / 'gone.pt'}: No such file or directory: expected a file to import\n"
    )  # fmt: skip
    nowhere = mlflow_ppo("import", str(elsewhere / "ours.pt"), "--name", "desk")
    assert (nowhere.code, nowhere.err.startswith("Error: registry: found no URI")) == (2, True)
    unreachable = mlflow_ppo(
        "import", str(elsewhere / "ours.pt"), "--name", "desk", "--tracking-uri", "http://127.0.0.1:9",
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
    )  # fmt: skip
    assert (unreachable.code, unreachable.err.startswith("Error: registry: ")) == (2, True)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--vecnormalize", "v.pkl", "--no-normalisation"), "--vecnormalize and --no-normalisation: found both"),
        (("--golden", "g.npz", "b.pt"), "--golden: found 2 files, expected one: it belongs to one model"),
        (("--vecnormalize", "v.pkl", "b.pt"), "--vecnormalize: found 2 files, expected one: it belongs to one model"),
        (("--activation", "swish"), "--activation: found swish, expected one of tanh, relu, elu"),
        (("--map", "fc1"), "--map: found fc1, expected OLD=NEW such as fc1=trunk.0 or policy_net=actor"),
        (("--map", "a=b", "--map", "a=c"), "--map: found one name twice, expected each once"),
        (("--spec", "9.9.9"), "--spec: found '9.9.9', expected one of 2.3.0, 2.4.0"),
        (("--vouch", ""), "--vouch.reason: found "),
        (("--timeframe", "1Week"), "Invalid value for '--timeframe'"),
    ],
)  # fmt: skip
def test_usage(options: tuple[str, ...], told: str, elsewhere: Path) -> None:
    result = mlflow_ppo("import", "a.pt", "--name", "desk", "--tracking-uri", "sqlite:///never.db", *options)
    assert result.code == 2
    assert f"Error: {told}" in result.err
    assert not Path("never.db").exists()


def test_a_spec_that_cannot_be_read(elsewhere: Path, tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text("{")
    result = mlflow_ppo("import", "a.pt", "--name", "desk", "--spec", str(tmp_path / "spec.json"))
    assert (result.code, "spec.json: found Expecting property name" in result.err) == (2, True)
    os.truncate(tmp_path / "spec.json", 2**40)
    result = mlflow_ppo("import", "a.pt", "--name", "desk", "--spec", str(tmp_path / "spec.json"))
    assert (result.code, "spec.json: found more than 4194304 bytes, expected a spec" in result.err) == (2, True)
