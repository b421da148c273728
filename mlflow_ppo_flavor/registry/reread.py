"""Reading again what registered versions are made of: each location once, many at a time, hashed, compared, listed."""

from __future__ import annotations

import json
import os
import posixpath
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlparse

from mlflow.prompt.constants import _PROMPT_SOURCE_PLACEHOLDERS
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.contract.digest import file_sha256, sha256_hex
from mlflow_ppo_flavor.contract.mlmodel import MOST_BYTES
from mlflow_ppo_flavor.registry.artifacts import MLMODEL, _handlers, _name, _repository, _roots, _told
from mlflow_ppo_flavor.registry.contracts import FLAVOR, Contract, parse_kept, parse_mlmodel
from mlflow_ppo_flavor.registry.listing import listing_findings
from mlflow_ppo_flavor.registry.snapshot import Version

# a network is waited for; files of this machine are hashed, and more threads than cores only fight for Python's lock
_THREADS_AWAY, _THREADS_HERE = 16, os.cpu_count() or 1
_HERE = ("", "file", "ppo-file")


@dataclass(frozen=True, slots=True)
class Reread:
    """What lies at a location now: the contract there, each listed file that isn't what MLmodel lists, and why, and
    what else lies there that may not: findings whose place is the path below its folder.

    `root`: the text of the folder that the location leads to, as `folders` has it; empty where the guard's own row was
    asked instead.
    """

    contract: Contract
    changed: tuple[tuple[str, str], ...] = ()
    strange: tuple[Finding, ...] = ()
    root: str = ""


def read_again(versions: Iterable[Version]) -> dict[str, Reread]:
    """{location: what lies there now}. Never raises for what is there: a contract that can't be read says why."""
    wanted = {version.location: version for version in reversed(list(versions))}
    here = {where: version for where, version in wanted.items() if urlparse(where).scheme in _HERE}
    away = {where: version for where, version in wanted.items() if where not in here}
    return _read_all(here, _THREADS_HERE) | _read_all(away, _THREADS_AWAY)


def _read_all(wanted: Mapping[str, Version], threads: int) -> dict[str, Reread]:
    if not wanted:
        return {}
    # each call in a copy of this context: the workspace of the request in hand is part of it
    with ThreadPoolExecutor(min(threads, len(wanted)), thread_name_prefix="mlflow-ppo-audit") as pool:
        running = {where: pool.submit(copy_context().run, _read, version) for where, version in wanted.items()}
    return {where: each.result() for where, each in running.items()}


def _read(version: Version) -> Reread:
    if version.location in _PROMPT_SOURCE_PLACEHOLDERS:
        return Reread(Contract.unreadable("a prompt, no model"))
    reasons = []
    try:
        for root, repository, folder in _places(version):
            try:
                return replace(_read_at(repository, folder, version.contract), root=root)
            except Exception as error:  # noqa: BLE001 any artifact store's own errors: they become the reason
                reasons.append(_told(error))
    except Exception as error:  # noqa: BLE001 a run or logged model that isn't found
        reasons.append(_told(error))
    return Reread(Contract.unknown(f"MLmodel can't be read: {reasons[0] if reasons else 'nothing is there'}"))


def _places(version: Version) -> Iterator[tuple[str, ArtifactRepository, str]]:
    """Where a version's model may lie: where it was read when it was registered, then where its location leads, with
    that folder's text. Of a location that leads there by itself nothing else is believed.
    """
    root = "" if version.contract is None else version.contract.root
    if root and urlparse(version.location).scheme in ("runs", "models"):
        yield "", *_repository_of(root)
    for found in _roots(version.location):
        yield _name(found), *_repository(found)


def _repository_of(root: str) -> tuple[ArtifactRepository, str]:
    """The repository of a kept root, and the folder in it: in a server, that text is the path in its own repository."""
    parsed, handlers = urlparse(root), _handlers()
    if handlers is None or parsed.scheme != "mlflow-artifacts":
        return _repository(root)
    return handlers._get_artifact_repo_mlflow_artifacts(), unquote(parsed.path.strip("/"))  # noqa: SLF001


def _read_at(repository: ArtifactRepository, folder: str, known: Contract | None) -> Reread:
    data = _bytes(repository, posixpath.join(folder, MLMODEL))
    contract = parse_kept(known.flavors) if known is not None and _is_known(known, data) else parse_mlmodel(data)
    if contract.spec is None or not contract.flavors:
        return Reread(contract)
    files: Mapping[str, object] = json.loads(contract.flavors)[FLAVOR]["files"]
    return Reread(contract, tuple(_changed(repository, folder, files)), tuple(_strange(repository, folder, files)))


def _is_known(known: Contract, data: bytes) -> bool:
    """Whether these bytes are those that a contract was read from; parsing them again takes milliseconds."""
    return bool(known.flavors) and known.mlmodel == sha256_hex(data) and _binds(known)


def _binds(known: Contract) -> bool:
    """Whether the flavors that are kept are those that the digest, which seals are made over, was made from."""
    return sha256_hex(known.flavors.encode("utf-8")) == known.digest


def _strange(repository: ArtifactRepository, folder: str, listed: Mapping[str, object]) -> Iterator[Finding]:
    """What lies in the folder and may not; where it can't be listed, that."""
    try:
        yield from listing_findings(repository, folder, listed)
    except Exception as error:  # noqa: BLE001 any artifact store's own errors: they become the finding
        found, remedy = f"a folder that can't be listed: {_told(error)}", "let the server list it, then audit again"
        yield Finding("unread", "safety", "", found, "a trader fetches it whole", remedy)


def _changed(repository: ArtifactRepository, folder: str, files: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, listed in files.items():
        why = _fault(repository, folder, name, listed)
        if why:
            yield name, why


def _fault(repository: ArtifactRepository, folder: str, name: str, listed: object) -> str:
    """What is wrong with one listed file; empty where it is what MLmodel lists."""
    if posixpath.normpath(name) != name or name.startswith(("/", "..")):
        return "a path that leads out of the model's folder"
    try:
        found = _sha256(repository, posixpath.join(folder, name))
    except Exception as error:  # noqa: BLE001 any artifact store's own errors: they become the finding
        return f"a file that can't be read: {_told(error)}"
    return "" if found == listed else f"sha256 {found[:12]}…"


def _bytes(repository: ArtifactRepository, path: str) -> bytes:
    """The first bytes of a file, one more than an MLmodel may have at most."""
    if isinstance(repository, LocalArtifactRepository):
        with (Path(repository.artifact_dir) / path).open("rb") as file:
            return file.read(MOST_BYTES + 1)
    with tempfile.TemporaryDirectory(prefix="mlflow-ppo-") as directory:
        return _fetched(repository, path, directory).read_bytes()[: MOST_BYTES + 1]


def _sha256(repository: ArtifactRepository, path: str) -> str:
    if isinstance(repository, LocalArtifactRepository):
        return file_sha256(Path(repository.artifact_dir) / path)
    with tempfile.TemporaryDirectory(prefix="mlflow-ppo-") as directory:
        return file_sha256(_fetched(repository, path, directory))


def _fetched(repository: ArtifactRepository, path: str, directory: str) -> Path:
    target = Path(directory) / "file"
    repository._download_file(path, str(target))  # noqa: SLF001 no thread pool for one file
    return target
