"""The server's signing key: from its environment, usable or told at once; never made by the server."""

from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from mlflow_ppo_flavor.contract.keys import SigningKey
from mlflow_ppo_flavor.registry.signing import SIGNING_KEY_VARIABLE, signer_from_environment


def test_without_the_variable_nothing_is_signed_and_no_key_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert signer_from_environment({}) is None
    assert signer_from_environment({SIGNING_KEY_VARIABLE: ""}) is None
    assert list(tmp_path.iterdir()) == []


def test_the_key_comes_from_the_named_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, path = SigningKey.generate(), tmp_path / "key.pem"
    key.write(path)
    monkeypatch.setenv(SIGNING_KEY_VARIABLE, str(path))
    signer = signer_from_environment()
    assert signer is not None
    assert signer.public == key.public


def test_a_file_that_cannot_be_used_is_refused_as_the_clients_request_would_be(tmp_path: Path) -> None:
    """400 and not 500: MLflow's client would try the same again for minutes."""
    path = tmp_path / "key.pem"
    with pytest.raises(MlflowException) as caught:
        signer_from_environment({SIGNING_KEY_VARIABLE: str(path)})
    assert caught.value.get_http_status_code() == 400
    expected = f"{SIGNING_KEY_VARIABLE}: {path}: found No such file or directory, expected a file with a key"
    assert caught.value.message == expected
    SigningKey.generate().write(path)
    path.chmod(0o644)
    with pytest.raises(MlflowException, match="found mode 0644, expected a key that its owner alone reads"):
        signer_from_environment({SIGNING_KEY_VARIABLE: str(path)})
