"""Setting: what a guarded store was opened with: the policy, the key that it seals verdicts with, who it is."""

from __future__ import annotations

from dataclasses import dataclass

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from sqlalchemy import Engine, select

from mlflow_ppo_flavor.contract.keys import SigningKey
from mlflow_ppo_flavor.errors import SpecError
from mlflow_ppo_flavor.registry.policy import Policy
from mlflow_ppo_flavor.registry.policy_file import policy_from_environment
from mlflow_ppo_flavor.registry.signing import signer_from_environment
from mlflow_ppo_flavor.registry.tables import REGISTRY


@dataclass(frozen=True, slots=True)
class Setting:
    """`registry_id`: the UUID that the database got with the guard's tables; `database`: sqlite or postgresql."""

    policy: Policy
    signer: SigningKey | None
    registry_id: str
    database: str


def read_setting(engine: Engine) -> Setting:
    """The setting of a store on this database, from the environment.

    MlflowException for a database that doesn't say who it is, and for a policy or a key that is named and can't be
    used: a gate never rules by another policy than it was given, nor leaves verdicts unsealed that it was told to seal.
    """
    try:
        policy = policy_from_environment()
    except SpecError as error:
        raise MlflowException(str(error), INVALID_PARAMETER_VALUE, path=error.path) from error
    with engine.connect() as connection:
        ids = connection.execute(select(REGISTRY.c.registry_id)).scalars().all()
    if len(ids) != 1:
        raise MlflowException(
            f"ppo_registry: found {len(ids)} rows, expected the one that the database got with the gate's tables: "
            "look who wrote to the database, and put its UUID back, which every seal names",
            INVALID_PARAMETER_VALUE,
        )
    return Setting(policy, signer_from_environment(), ids[0], engine.dialect.name)
