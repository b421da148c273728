"""`mlflow-ppo server`: what it refuses before anything starts, and where it leads artifacts."""

from pathlib import Path

import pytest

from mlflow_ppo_flavor.cli.server import frozen
from mlflow_ppo_flavor.contract.keys import SigningKey
from tests.cli.commands import mlflow_ppo


def test_a_policy_that_says_nonsense_starts_no_server(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("references: {Production: {approvals: -1}}\n")
    refused = mlflow_ppo("server", "--policy", str(policy))
    assert (refused.code, refused.out) == (2, "")
    assert f"{policy}: references.Production.approvals: found -1, expected " in refused.err
    missing = mlflow_ppo("server", "--policy", str(tmp_path / "none.yaml"))
    assert (missing.code, "no file that can be read" in missing.err) == (2, True)
    named = mlflow_ppo("server", MLFLOW_PPO_POLICY_FILE=str(policy))
    assert (named.code, named.err) == (2, refused.err)


def test_a_key_that_others_can_read_starts_no_server(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    SigningKey.generate().write(key)
    key.chmod(0o644)
    refused = mlflow_ppo("server", "--signing-key", str(key))
    assert refused.code == 2
    assert refused.err.startswith(f"Error: {key}: found mode 0644, expected a key that its owner alone reads: ")
    assert "PRIVATE" not in refused.err


def test_a_public_key_starts_no_server_and_announces_none(tmp_path: Path) -> None:
    key = tmp_path / "public.pem"
    key.write_text(SigningKey.generate().public.pem)
    key.chmod(0o644)
    refused = mlflow_ppo("server", "--signing-key", str(key))
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith(f"Error: {key}: found a public key, expected an Ed25519 private key (PEM PKCS#8")


def test_what_a_file_says_does_not_steer_the_terminal(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text('"\\e[31mred\\u202e\\x9b": 1\n')
    refused = mlflow_ppo("server", "--policy", str(policy))
    assert refused.code == 2
    assert refused.err.startswith(f"Error: {policy}: ")
    assert refused.err.rstrip("\n").isprintable()
    assert "[31mred" in refused.err


def test_users_need_what_mlflow_needs_for_them(tmp_path: Path) -> None:
    pytest.importorskip("flask_wtf", reason="MLflow's basic-auth: install mlflow-ppo-flavor[dev]")
    refused = mlflow_ppo("server", "--app-name", "basic-auth", MLFLOW_FLASK_SERVER_SECRET_KEY="")
    assert refused.code == 2
    assert "--app-name basic-auth: A static secret key needs to be set for CSRF protection." in refused.err


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        ("/srv/artifacts", "ppo-file:///srv/artifacts"),
        ("./mlartifacts", f"ppo-file://{Path.cwd()}/mlartifacts"),
        ("file:///srv/artifacts", "ppo-file:///srv/artifacts"),
        ("ppo-file:///srv/artifacts", "ppo-file:///srv/artifacts"),
        ("/srv/a b%20c", "ppo-file:///srv/a%20b%2520c"),
        ("file:///srv/a%20b", "ppo-file:///srv/a%20b"),
        ("s3://bucket/artifacts", "s3://bucket/artifacts"),
        ("mlflow-artifacts:/x", "mlflow-artifacts:/x"),
    ],
)
def test_a_local_folder_of_artifacts_becomes_one_that_is_frozen(given: str, becomes: str) -> None:
    assert frozen(given) == becomes
