"""Reads a version's MLmodel where it lies: inside the MLflow server (never by HTTP to itself) or in a direct client."""

from __future__ import annotations

import os
import posixpath
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlparse, urlunparse

from mlflow.exceptions import MlflowException
from mlflow.prompt.constants import _PROMPT_SOURCE_PLACEHOLDERS
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository
from mlflow.tracking._tracking_service.utils import _get_store
from mlflow.utils.uri import append_to_uri_path

from mlflow_ppo_flavor.contract.mlmodel import MOST_BYTES
from mlflow_ppo_flavor.errors import RegistryError
from mlflow_ppo_flavor.registry import folders
from mlflow_ppo_flavor.registry.contracts import Contract, parse_mlmodel
from mlflow_ppo_flavor.registry.deadline import within

MLMODEL = "MLmodel"
PATIENCE = 15.0
"""Seconds: a request waits for it, and any client may name a source that never answers."""
_USER, _QUERY = re.compile(r"://[^/\s]*@"), re.compile(r"\?[^\s'\")]+")


def read_contract(location: str) -> Contract:
    """The contract of the model at a storage location; one with a reason where it can't be read. Never raises.

    Where the bytes can't be fetched it isn't known whether the model has the flavor: `known` is False. An artifact
    store that doesn't answer and a file that isn't there look alike through most stores; both may be other tomorrow.
    """
    if location in _PROMPT_SOURCE_PLACEHOLDERS:
        return Contract.unreadable("a prompt, no model")
    try:
        data, root, beside = _fetch(location)
    except RegistryError as error:
        return Contract.unknown(f"try again later: {error}")
    return replace(parse_mlmodel(data), root=root, beside=beside)


def read_mlmodel(location: str) -> bytes:
    """The first bytes of the MLmodel at a storage location, one more than may be parsed at most.

    RegistryError where none can be fetched.
    """
    return _fetch(location)[0]


def locate(location: str) -> tuple[str, str]:
    """The folders that a load of the model at a storage location draws from; nothing is read. MLflow's own errors."""
    roots = list(_roots(location))
    return _named(roots, roots[0])


def check_source(source: str, run_id: str | None, model_id: str | None) -> None:
    """400 for a `ppo-file:` source outside of its run's or logged model's artifacts, in a server.

    As MLflow has it for `file:`, which it can't know this scheme to be: who registers a version reads what lies there.
    """
    if urlparse(source).scheme != folders.SCHEME or _handlers() is None:
        return
    within = _tracking().get_logged_model(model_id).artifact_location if model_id else None
    if within is None and run_id:
        within = _tracking().get_run(run_id).info.artifact_uri
    if within is None or not f"{folders.folder_of(source)}/".startswith(f"{folders.folder_of(within)}/"):
        raise MlflowException(
            f"Invalid model version source: '{source}'. The run_id or model_id request parameter must identify the "
            "run or logged model whose artifacts contain the source.",
            error_code=INVALID_PARAMETER_VALUE,
        )


def _fetch(location: str) -> tuple[bytes, str, str]:
    """The first bytes of MLmodel, and the names of the folder that it lies in and of the one beside it."""
    reasons = []
    try:
        roots = list(_roots(location))
        for root in roots:
            try:
                return (within(PATIENCE, partial(_read, root)), *_named(roots, root))
            except Exception as error:  # noqa: BLE001 any artifact store's own errors: they become the reason
                reasons.append(_told(error))
    except Exception as error:  # noqa: BLE001 a run or logged model that isn't found
        reasons.append(_told(error))
    raise RegistryError(
        f"MLmodel can't be read: {reasons[0]}: expected the MLmodel of a logged model at {_public(location)}"
    )


def _roots(location: str) -> Iterator[str]:
    """The artifact URIs at which a storage location's model may lie, the likely one first."""
    scheme = urlparse(location).scheme
    if scheme == "runs":
        yield from _run_roots(location)
    elif scheme == "models":
        model_id = urlparse(location).path.strip("/")
        yield _tracking().get_logged_model(model_id).artifact_location
    else:
        yield location


def _run_roots(location: str) -> Iterator[str]:
    """A run's own folder, or the model that the run logged under this name (MLflow 3 keeps those apart)."""
    tracking = _tracking()
    run_id, path = RunsArtifactRepository.parse_runs_uri(location)
    run = tracking.get_run(run_id)
    name, _, rest = (path or "").partition("/")
    if name and "'" not in name:
        wanted = f"name = '{name}' AND source_run_id = '{run_id}'"
        for model in tracking.search_logged_models([run.info.experiment_id], filter_string=wanted):
            yield append_to_uri_path(model.artifact_location, rest) if rest else model.artifact_location
    yield append_to_uri_path(run.info.artifact_uri, path) if path else run.info.artifact_uri


def _named(roots: Sequence[str], read: str) -> tuple[str, str]:
    """The names of the folder that MLmodel was read in and of the other one that MLflow merges into a download of it.

    MLflow takes the run's own folder, the last one, and the first model that the run logged under this name.
    """
    beside = next((root for root in (roots[-1], roots[0]) if root != read), "")
    return _name(read), beside and _name(beside)


def _name(root: str) -> str:
    handlers = _handlers()
    if handlers is None or not handlers._is_servable_proxied_run_artifact_root(root):  # noqa: SLF001
        return folders.folder_of(root)
    path = handlers._get_proxied_run_artifact_destination_path(root)  # noqa: SLF001
    return folders.proxied_folder(handlers._get_workspace_scoped_repo_path_if_enabled(path) or "")  # noqa: SLF001


def _read(root: str) -> bytes:
    """The bytes of MLmodel below an artifact URI."""
    repository, folder = _repository(root)
    with tempfile.TemporaryDirectory(prefix="mlflow-ppo-") as directory:
        path = Path(directory) / MLMODEL
        repository._download_file(posixpath.join(folder, MLMODEL), str(path))  # noqa: SLF001 no thread pool for one file
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)


def _repository(root: str) -> tuple[ArtifactRepository, str]:
    """The artifact repository of a URI, and the folder in it; the server reads what it proxies from its destination."""
    handlers = _handlers()
    if handlers is None or not handlers._is_servable_proxied_run_artifact_root(root):  # noqa: SLF001
        return get_artifact_repository(root), ""
    path = handlers._get_proxied_run_artifact_destination_path(root)  # noqa: SLF001
    folder = handlers._get_workspace_scoped_repo_path_if_enabled(path)  # noqa: SLF001
    return handlers._get_artifact_repo_mlflow_artifacts(), folder or ""  # noqa: SLF001


def _tracking() -> Any:
    handlers = _handlers()
    return _get_store() if handlers is None else handlers._get_tracking_store()  # noqa: SLF001


def _handlers() -> Any:
    """MLflow's request handlers where this process is a server; None in a client that opened the database itself."""
    in_server = os.environ.get("_MLFLOW_SERVER_FILE_STORE")
    return sys.modules.get("mlflow.server.handlers") if in_server else None


def _public(location: str) -> str:
    """A location as a message shows it: without the user, password and query that a URI may hold, and not too long."""
    parts = urlparse(location)
    shown = urlunparse(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))
    return shown if len(shown) <= 200 else shown[:199] + "…"


def _told(error: Exception) -> str:
    """What an artifact store's error says, without the passwords and queries of the URIs in it, and not too long."""
    told = _QUERY.sub("", _USER.sub("://", " ".join(str(error).split())))
    return told[:200] or type(error).__name__
