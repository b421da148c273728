"""The routes of `/ppo/`: the page, the same as JSON, and its files. Only GET: nothing is changed here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, jsonify, render_template, request
from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
from mlflow.exceptions import MlflowException
from mlflow.server import handlers
from mlflow.server.workspace_helpers import resolve_workspace_for_request_if_enabled
from mlflow.utils.workspace_context import set_server_request_workspace

from mlflow_ppo_flavor.registry.page import words
from mlflow_ppo_flavor.registry.page.access import Access
from mlflow_ppo_flavor.registry.page.asked import Asked
from mlflow_ppo_flavor.registry.page.reading import Reading, reading
from mlflow_ppo_flavor.registry.page.view import Found, find
from mlflow_ppo_flavor.registry.store import GuardMixin

_JSON = ("standing.json", "history.json", "guard.json")
UNGUARDED = "This server's registry isn't guarded: start it with mlflow-ppo server, or with --registry-store-uri ppo:…"
# nothing from other hosts, nothing inline, in no other site's frame
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Unguarded(Exception):
    """The server's registry store isn't a guarded one."""


def make_blueprint(access: Access) -> Blueprint:
    """The routes, under MLflow's static prefix, for whom `access` lets in."""
    blueprint = Blueprint(
        "ppo",
        __name__,
        url_prefix=handlers._add_static_prefix("/ppo"),  # noqa: SLF001 every route of MLflow's asks it
        template_folder="templates",
        static_folder="static",
    )
    for name, told in words.FILTERS.items():
        blueprint.add_app_template_filter(told, f"ppo_{name}")

    def page() -> Any:
        with _found(access) as found:
            return render_template("ppo_page.html", **_frame(), **words.told(found, _link, datetime.now(UTC)))

    def standing() -> Any:
        with _found(access) as found:
            return jsonify(found.standing())

    def history() -> Any:
        with _found(access) as found:
            return jsonify(found.events())

    def guard() -> Any:
        with _reading(access) as read:
            return jsonify(read.guard())

    blueprint.add_url_rule("/", "page", page)
    for name, answer in zip(_JSON, (standing, history, guard), strict=True):
        blueprint.add_url_rule(f"/{name}", answer.__name__, answer)
    blueprint.before_request(lambda: _admit(access))
    blueprint.after_request(_protect)
    blueprint.register_error_handler(MlflowException, _failed)
    blueprint.register_error_handler(Unguarded, _unguarded)
    return blueprint


def paths() -> list[str]:
    """Every path that the blueprint answers, under MLflow's static prefix."""
    files = [f"static/{file.name}" for file in (Path(__file__).parent / "static").iterdir()]
    root = _frame()["root"]
    return [root.rstrip("/"), root, *(f"{root}{name}" for name in (*_JSON, *files))]


def _admit(access: Access) -> Any:
    """A login where one is needed; then the workspace that the URL names, where there are several."""
    refusal = access.refusal()
    if refusal is None and request.args.get("workspace"):
        workspace = resolve_workspace_for_request_if_enabled(request.path, request.args["workspace"])
        set_server_request_workspace(workspace.name if workspace else None)
    return refusal


def _protect(response: Response) -> Response:
    response.headers.update(_HEADERS)
    if request.endpoint != "ppo.static":
        # what a user may read today is nobody's tomorrow
        response.headers["Cache-Control"] = "no-store"
    return response


@contextmanager
def _reading(access: Access) -> Iterator[Reading]:
    store = handlers._get_model_registry_store()  # noqa: SLF001 as MLflow's own handlers do
    if not isinstance(store, GuardMixin):
        raise Unguarded
    with reading(store, access.readable()) as read:
        yield read


@contextmanager
def _found(access: Access) -> Iterator[Found]:
    asked = Asked.of(request.args)
    with _reading(access) as read:
        yield find(read, asked)


def _frame() -> dict[str, Any]:
    """What every page needs: where it stands, and where MLflow does."""
    prefix = os.environ.get(handlers.STATIC_PREFIX_ENV_VAR, "").rstrip("/")
    return {"root": f"{prefix}/ppo/", "mlflow": f"{prefix}/", "workspaces": MLFLOW_ENABLE_WORKSPACES.get()}


def _link(**values: Any) -> str:
    """This page with these parameters, and the workspace that it shows."""
    kept = {"workspace": request.args.get("workspace"), **values}
    query = urlencode({name: value for name, value in kept.items() if value not in (None, "")})
    return f"{_frame()['root']}?{query}" if query else _frame()["root"]


def _failed(error: MlflowException) -> Any:
    return _say(error.message, error.get_http_status_code())


def _unguarded(_: Unguarded) -> Any:
    return _say(UNGUARDED, 404)


def _say(message: str, status: int) -> Any:
    if request.path.endswith(".json"):
        return jsonify(error=message), status
    return render_template("ppo_frame.html", **_frame(), title="The gate", message=message), status
