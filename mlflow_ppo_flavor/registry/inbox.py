"""Inbox: the tags that are requests to the gate. They are read and handed to the guard, and never kept as tags."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.request import Approve, OverrideRequest, Retire, Reverify, Rollback, Withdraw
from mlflow_ppo_flavor.errors import SpecError
from mlflow_ppo_flavor.registry.attestations import ATTEST_TAG, parse_attestation
from mlflow_ppo_flavor.registry.display import is_reserved
from mlflow_ppo_flavor.registry.fleet import ANNOUNCE_TAG, parse_announcement
from mlflow_ppo_flavor.registry.petitions import Petitions
from mlflow_ppo_flavor.registry.recall import Recall
from mlflow_ppo_flavor.registry.resolution import VersionKey

Require = Callable[[Session], Any]


class Inbox:
    """Takes the requests of one store's clients."""

    def __init__(self, petitions: Petitions, recall: Recall) -> None:
        self._petitions, self._recall = petitions, recall
        self._of_model: Mapping[str, Callable[[str, Any, Require], None]] = {
            ANNOUNCE_TAG: self._announce,
            Retire.tag: lambda model, text, require: petitions.retire(model, Retire.parse(text), require),
            Rollback.tag: self._roll_back,
            Withdraw.tag: self._withdraw,
        }
        self._of_version: Mapping[str, Callable[[VersionKey, Any, Require], None]] = {
            ATTEST_TAG: lambda key, text, require: petitions.attest(key, parse_attestation(text), require),
            Approve.tag: lambda key, text, require: petitions.approve(key, Approve.parse(text), require),
            OverrideRequest.tag: lambda key, text, require: petitions.override(
                key, OverrideRequest.parse(text), require
            ),
            Reverify.tag: self._reverify,
        }

    def take_model_tag(self, model: str, tag: Any, require: Require) -> bool:
        """Whether a registered model's tag was a request: it has been dealt with. Another tag of the gate's is refused.

        Errors: 400 with the dotted path for what can't be read, 409 for what the gate refuses, MLflow's own.
        """
        return _take(self._of_model.get(tag.key), model, tag, require)

    def take_version_tag(self, key: VersionKey, tag: Any, require: Require) -> bool:
        """Whether a version's tag was a request, as `take_model_tag`."""
        return _take(self._of_version.get(tag.key), key, tag, require)

    def _announce(self, model: str, text: Any, require: Require) -> None:
        self._petitions.announce(parse_announcement(model, text), require)

    def _roll_back(self, model: str, text: Any, require: Require) -> None:
        self._recall.roll_back(Reference(model, Rollback.parse(text).reference), require)

    def _withdraw(self, model: str, text: Any, require: Require) -> None:
        self._recall.withdraw(Reference(model, Withdraw.parse(text).reference), require)

    def _reverify(self, key: VersionKey, text: Any, require: Require) -> None:
        Reverify.parse(text)
        self._petitions.reverify(key, require)


def _take(handle: Callable[[Any, Any, Require], None] | None, of: Any, tag: Any, require: Require) -> bool:
    if handle is None:
        refuse_reserved(tag.key)
        return False
    with as_invalid():
        handle(of, tag.value, require)
    return True


@contextmanager
def as_invalid() -> Iterator[None]:
    """What can't be read is the client's fault: 400, with the dotted path."""
    try:
        yield
    except SpecError as error:
        raise MlflowException(str(error), INVALID_PARAMETER_VALUE, path=error.path) from error


def refuse_reserved(key: object) -> None:
    """Refuse a tag that only the gate writes: 400."""
    if is_reserved(key):
        raise MlflowException(
            f"{key}: found a tag that starts with ppo., expected another name: the gate alone writes these",
            error_code=INVALID_PARAMETER_VALUE,
        )
