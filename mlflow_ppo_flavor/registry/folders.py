"""Where a model's files lie: one text for each folder, whichever URI, link or spelling leads to it."""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlparse

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import validate_path_is_safe

SCHEME = "ppo-file"
DESTINATION = "_MLFLOW_SERVER_ARTIFACT_DESTINATION"
_ANCHOR = "/api/2.0/mlflow-artifacts/artifacts"


def file_uri(uri: str) -> str:
    """The `file:` URI of a `ppo-file:` one, others as they are; 400 for one that isn't `ppo-file:///absolute/folder`."""
    parsed = urlparse(uri)
    if parsed.scheme != SCHEME:
        return uri
    if parsed.netloc or not parsed.path.startswith("/") or parsed.query or parsed.fragment:
        raise MlflowException(
            f"artifacts: found {uri}, expected {SCHEME}:///an/absolute/folder, percent-encoded as in file:///",
            error_code=INVALID_PARAMETER_VALUE,
        )
    return f"file://{parsed.path}"


def local_path(uri: str) -> Path | None:
    """The path of a URI on this machine, absolute; None where it leads elsewhere."""
    if urlparse(uri).scheme not in ("", "file", SCHEME):
        return None
    return Path(local_file_uri_to_path(file_uri(uri))).absolute()


def destination() -> Path | None:
    """The local folder in which this server keeps artifacts, links resolved; None for another store, or no server."""
    uri = os.environ.get(DESTINATION, "")
    path = local_path(uri) if uri else None
    return None if path is None else true_path(path)


def freezes() -> bool:
    """Whether this process is a server that freezes the artifacts of guarded versions."""
    return urlparse(os.environ.get(DESTINATION, "")).scheme == SCHEME


def folder_of(uri: str) -> str:
    """The one text of the folder at an artifact URI.

    `mlflow-artifacts:/<path>` in an MLflow server's own repository, whatever its host; `file://<path>` elsewhere on
    this machine; links resolved and percent-encoded, both; any other URI as it is.
    """
    parsed = urlparse(uri)
    if parsed.scheme == "mlflow-artifacts":
        return proxied_folder(parsed.path)
    if parsed.scheme in ("http", "https") and _ANCHOR in parsed.path:
        return proxied_folder(parsed.path.partition(_ANCHOR)[2])
    path = local_path(uri)
    return uri if path is None else texts_of(true_path(path), destination())[0]


def proxied_folder(path: str) -> str:
    """The one text of a folder in the MLflow server's own repository: links in it are resolved where it is local."""
    relative = posixpath.normpath(validate_path_is_safe(path.strip("/")) or ".")
    root = destination()
    return _in_repository(relative) if root is None else texts_of(true_path(root / relative), root)[0]


def texts_of(path: Path, root: Path | None) -> list[str]:
    """The texts under which a local folder may be known, the one that is written first; `root`: the destination."""
    known = [f"file://{quote(str(path))}"]
    if root is not None and path.is_relative_to(root):
        known.insert(0, _in_repository(path.relative_to(root).as_posix()))
    return known


def with_parents(text: str) -> Iterator[str]:
    """The text of a folder and those of all folders above it, to the root of its repository or file system."""
    scheme, _, path = text.partition(":")
    yield text
    for end in range(len(path) - 1, 0, -1):
        if path[end] == "/" and path[end - 1] != "/":
            yield f"{scheme}:{path[:end]}"
    yield f"{scheme}:///" if path.startswith("///") else f"{scheme}:/"


def true_path(path: Path) -> Path:
    """A path without links, `.` and `..`, every name spelled as its directory lists it."""
    found = Path("/")
    for name in Path(os.path.realpath(path)).parts[1:]:
        found /= _listed_name(found, name)
    return found


def entry_path(path: Path) -> Path:
    """A path whose last name may be a link that stays one: the directory's entry, not what it leads to."""
    entry = Path(os.path.normpath(path))
    folder = true_path(entry.parent)
    return folder / _listed_name(folder, entry.name)


def links_below(path: Path) -> Iterator[Path]:
    """Every link in a folder, at any depth; what links lead to isn't entered."""
    for folder, folders, files in os.walk(path):
        yield from (found for name in (*folders, *files) if (found := Path(folder, name)).is_symlink())


def _in_repository(relative: str) -> str:
    return f"mlflow-artifacts:/{'' if relative == '.' else quote(relative)}"


def _listed_name(folder: Path, name: str) -> str:
    """A name as its directory lists it: some file systems open `MLmodel` as `mlmodel` too, or a composed é decomposed.

    Judged by the identity of what is opened, and not by folding names: most file systems tell these names apart.
    """
    others = {name.swapcase(), unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)} - {name}
    identity = _identity(folder / name)
    if identity is None or all(_identity(folder / other) != identity for other in others):
        return name
    listed = sorted(each.name for each in folder.iterdir())
    if name in listed:
        return name
    alike = (each for each in listed if _folded(each) == _folded(name) and _identity(folder / each) == identity)
    return next(alike, name)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
