"""The contract of a model that is told by its URI: only its MLmodel is fetched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlflow_ppo_flavor.cli.connection import answering, connect
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.errors import RegistryError, SpecError
from mlflow_ppo_flavor.registry.artifacts import read_mlmodel
from mlflow_ppo_flavor.registry.contracts import Contract, parse_mlmodel
from mlflow_ppo_flavor.registry.display import proof_of

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

# What only a tracking server can find; folders and object stores are read where they are.
_OF_A_SERVER = ("models", "runs", "mlflow-artifacts")


@dataclass(frozen=True, slots=True)
class ReadableContract:
    """A contract that has a spec. `proof` says in words how it is proven, and who vouches for it where it isn't."""

    spec: ModelSpec
    digest: str
    proven: bool
    proof: str


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
    return ReadableContract(contract.spec, contract.digest, contract.proven, proof_of(contract))


def registered_version(uri: str, tracking_uri: str | None, registry_uri: str | None) -> ModelVersion | None:
    """The registered version that a `models:/…` URI loads now; None for any other URI, connected to where it needs one.

    RegistryError where it loads nothing, or the registry can't be asked.
    """
    scheme = uri.partition(":/")[0]
    if scheme not in _OF_A_SERVER:
        return None
    client = connect(tracking_uri, registry_uri)
    if scheme != "models":
        return None
    from mlflow.store.artifact.utils.models import get_model_name_and_version

    with answering():
        found = get_model_name_and_version(client, uri)
        # a logged model's id stands alone
        return client.get_model_version(*found) if len(found) > 1 else None


def _location(uri: str, tracking_uri: str | None, registry_uri: str | None) -> str:
    found = registered_version(uri, tracking_uri, registry_uri)
    if found is None:
        return uri
    with answering():
        return str(connect(tracking_uri, registry_uri).get_model_version_download_uri(found.name, found.version))
