"""Signing: the key that this server seals its verdicts with, from its environment. It is never made here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from mlflow_ppo_flavor.contract.keys import SigningKey
from mlflow_ppo_flavor.errors import SpecError

SIGNING_KEY_VARIABLE = "MLFLOW_PPO_SIGNING_KEY_FILE"


def signer_from_environment(environ: Mapping[str, str] = os.environ) -> SigningKey | None:
    """The key of the file that MLFLOW_PPO_SIGNING_KEY_FILE names; None where it isn't set or empty.

    MlflowException (400, never retried) for a file that can't be used: verdicts without a seal would look like a
    registry that was told to sign none. It shows nothing of the file.
    """
    path = environ.get(SIGNING_KEY_VARIABLE, "")
    if not path:
        return None
    try:
        return SigningKey.read(Path(path))
    except SpecError as error:
        message = f"{SIGNING_KEY_VARIABLE}: {error}"
        raise MlflowException(message, error_code=INVALID_PARAMETER_VALUE) from None
