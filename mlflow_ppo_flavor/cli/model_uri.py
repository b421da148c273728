"""The contract of a model that is told by its URI: only its MLmodel is fetched."""

from __future__ import annotations

from dataclasses import dataclass

from mlflow_ppo_flavor.cli.connection import answering, connect
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.errors import RegistryError, SpecError
from mlflow_ppo_flavor.registry.artifacts import read_mlmodel
from mlflow_ppo_flavor.registry.contracts import Contract, parse_mlmodel

# What only a tracking server can find; folders and object stores are read where they are.
_OF_A_SERVER = ("models", "runs", "mlflow-artifacts")


@dataclass(frozen=True, slots=True)
class ReadableContract:
    """A contract that has a spec."""

    spec: ModelSpec
    digest: str
    proven: bool


def read_contract_of(uri: str, tracking_uri: str | None, registry_uri: str | None) -> Contract:
    """The contract of a folder, `runs:/…`, `models:/…` or artifact URI; RegistryError where there is no MLmodel."""
    location = _location(uri, tracking_uri, registry_uri)
    try:
        return parse_mlmodel(read_mlmodel(location))
    except RegistryError as error:
        expected = "expected a logged model: its folder, runs:/…, models:/… or another artifact URI"
        raise RegistryError(f"{uri}: {error}: {expected}") from error


def read_readable(uri: str, tracking_uri: str | None, registry_uri: str | None) -> ReadableContract:
    """The same, where only a spec will do: SpecError for a model without one."""
    contract = read_contract_of(uri, tracking_uri, registry_uri)
    if contract.spec is None:
        raise SpecError(uri, contract.reason, "a model with the ppo flavor")
    return ReadableContract(contract.spec, contract.digest, contract.proven)


def _location(uri: str, tracking_uri: str | None, registry_uri: str | None) -> str:
    scheme = uri.partition(":/")[0]
    if scheme not in _OF_A_SERVER:
        return uri
    client = connect(tracking_uri, registry_uri)
    if scheme != "models":
        return uri
    from mlflow.store.artifact.utils.models import get_model_name_and_version

    with answering():
        found = get_model_name_and_version(client, uri)
        if len(found) == 1:
            return uri
        return str(client.get_model_version_download_uri(*found))
