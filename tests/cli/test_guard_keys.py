"""`mlflow-ppo guard init` and `public-key`: keys are made by one command alone, and their private half stays put."""

import stat
from pathlib import Path

import pytest

from mlflow_ppo_flavor.cli.guard.command import SUBCOMMANDS
from mlflow_ppo_flavor.cli.main import main
from mlflow_ppo_flavor.contract.keys import SigningKey, VerifyingKey
from tests.cli.commands import mlflow_ppo
from tests.mlflow_state import pointed_at
from tests.registry import databases

VARIABLE = "MLFLOW_PPO_SIGNING_KEY_FILE"


def secret(path: Path) -> str:
    """What of a key's file nobody may see."""
    return path.read_text().splitlines()[1][20:]


@pytest.mark.parametrize("by", ["option", "variable"])
def test_it_makes_a_key_for_its_owner_alone_and_prints_the_public_one(tmp_path: Path, by: str) -> None:
    path = tmp_path / "key.pem"
    option, env = (["--key-file", str(path)], {}) if by == "option" else ([], {VARIABLE: str(path)})
    outcome = mlflow_ppo("guard", "init", *option, **env)
    key = SigningKey.read(path)
    assert (outcome.code, outcome.out) == (0, key.public.pem)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = outcome.err.splitlines()
    assert told[0] == f"Key {key.public.key_id}: the private key is in {path}, the public one is above."
    assert told[1] == "Next:"
    expected = ("Keep a copy of", f"{VARIABLE}={path}", "`mlflow-ppo guard install URI --adopt`", "--verdict-key FILE")
    for line, words in zip(told[2:], expected, strict=True):
        assert words in line
    assert secret(path) not in outcome.out + outcome.err


def test_a_file_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("mine")
    outcome = mlflow_ppo("guard", "init", "--key-file", str(path))
    assert (outcome.code, outcome.out) == (2, "")
    assert f"Error: {path}: found a file, expected none: give another path: a key is never overwritten" in outcome.err
    assert path.read_text() == "mine"


def test_without_a_path_it_makes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    outcome = mlflow_ppo("guard", "init")
    assert outcome.code == 2
    assert f"--key-file: found none, expected a path for the new key: give it or set {VARIABLE}" in outcome.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("by", ["option", "variable"])
def test_the_public_key_is_printed_and_the_private_one_never(tmp_path: Path, by: str) -> None:
    path, key = tmp_path / "key.pem", SigningKey.generate()
    key.write(path)
    option, env = (["--key-file", str(path)], {}) if by == "option" else ([], {VARIABLE: str(path)})
    outcome = mlflow_ppo("guard", "public-key", *option, **env)
    assert (outcome.code, outcome.out, outcome.err) == (0, key.public.pem, "")
    assert VerifyingKey.from_pem(outcome.out) == key.public
    path.chmod(0o644)
    outcome = mlflow_ppo("guard", "public-key", *option, **env)
    assert (outcome.code, outcome.out) == (2, "")
    assert f"{path}: found mode 0644, expected a key that its owner alone reads: chmod 600 {path}" in outcome.err
    assert secret(path) not in outcome.err


def test_a_public_key_is_not_taken_for_a_private_one_that_others_read(tmp_path: Path) -> None:
    path = tmp_path / "public.pem"
    path.write_text(SigningKey.generate().public.pem)
    path.chmod(0o644)
    outcome = mlflow_ppo("guard", "public-key", "--key-file", str(path))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"Error: {path}: found a public key, expected an Ed25519 private key (PEM PKCS#8")


def test_neither_file_nor_server_and_both_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (VARIABLE, "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(variable, raising=False)
    outcome = mlflow_ppo("guard", "public-key")
    assert outcome.code == 2
    assert "--key-file: found none, expected the private key's file or a server: give it, set" in outcome.err
    outcome = mlflow_ppo("guard", "public-key", "--key-file", "x", "--tracking-uri", "http://127.0.0.1:1")
    assert outcome.code == 2
    assert "--key-file: found a file and a server, expected one of them" in outcome.err


def test_a_registry_without_a_gate_has_no_public_key(tmp_path: Path) -> None:
    with pointed_at():
        outcome = mlflow_ppo("guard", "public-key", "--tracking-uri", databases.fresh(tmp_path))
    assert (outcome.code, outcome.out) == (2, "")
    assert "Error: registry: found no gate, expected one that signs its verdicts: start the server with" in outcome.err


def test_the_group_is_a_table_of_commands() -> None:
    outcome = mlflow_ppo("guard", "--help")
    assert outcome.code == 0
    assert [name for name in SUBCOMMANDS if f"\n  {name} " in outcome.out] == sorted(SUBCOMMANDS)
    assert "guard" in main.list_commands(None)
