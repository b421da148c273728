"""Who may see what on the page: everybody all, or with MLflow's basic-auth what its own permissions say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

Readable = Callable[[str], bool]


class Access(Protocol):
    """Decides for the request in hand."""

    def refusal(self) -> Any:
        """The answer to a request without a valid login; None where it has one or needs none."""

    def readable(self) -> Readable:
        """Whether the request's user may read a model of this name, in the active workspace."""


class Everybody:
    """A server without users."""

    def refusal(self) -> Any:
        """None: nobody logs in."""
        return None

    def readable(self) -> Readable:
        """Every model."""
        return _all


class Users:
    """A server with MLflow's basic-auth, which is imported already where this is used."""

    def refusal(self) -> Any:
        """MLflow's own answer to a request without a valid login; also on paths that MLflow leaves open."""
        from flask import Response, g
        from mlflow.server import auth

        # each time that a password is checked takes long
        if getattr(g, "mlflow_authenticated_user", None):
            return None
        answer = auth.authenticate_request()
        if isinstance(answer, Response):
            return answer
        g.mlflow_authenticated_user = answer.username
        return None

    def readable(self) -> Readable:
        """The models that MLflow's own lists would show to this user with their versions; to an admin all."""
        from flask import g
        from mlflow.entities.model_registry import RegisteredModel
        from mlflow.server import auth

        user = g.mlflow_authenticated_user
        if auth.store.get_user(user).is_admin:
            return _all
        can_read = auth._rm_or_prompt_version_read_predicate(user)  # noqa: SLF001 MLflow's own rule, not a copy
        return lambda name: bool(can_read(RegisteredModel(name)))


def _all(_: str) -> bool:
    return True
