"""`ppo-file:///folder`: MLflow's local artifact repository, which changes nothing that a guarded version consists of.

Reads are MLflow's own. What writes asks first where it would really write, links and all, and whom that belongs to.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, Callable, Collection, Sequence
from pathlib import Path
from typing import BinaryIO

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_CONFLICT
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import validate_path_within_directory

from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.registry.folders import (
    SCHEME,
    destination,
    entry_path,
    file_uri,
    freezes,
    links_below,
    true_path,
)
from mlflow_ppo_flavor.registry.frozen_versions import FrozenVersion, check_guarded, frozen_versions
from mlflow_ppo_flavor.registry.write_lock import writing


class FrozenRepository(LocalArtifactRepository):
    """A local repository in an MLflow server with a guarded registry.

    Every write is refused (HTTP 409) that would change, add or remove a file in the folder of a registered version
    with the ppo flavor, remove or replace a folder or link on the way there, until that version is deleted.
    """

    def __init__(self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> None:
        check_guarded()
        super().__init__(file_uri(artifact_uri), tracking_uri, registry_uri)
        if artifact_uri.partition(":")[0].lower() == SCHEME:
            _check_within_destination(artifact_uri, Path(self.artifact_dir))

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """MLflow's own, where the file's place isn't frozen."""
        self._check_write(self._place(local_file, artifact_path))
        super().log_artifact(local_file, artifact_path)  # type: ignore[no-untyped-call]

    def log_artifact_from_stream(
        self, stream: BinaryIO, artifact_file_name: str, artifact_path: str | None = None
    ) -> None:
        """MLflow's own, where the file's place isn't frozen."""
        self._check_write(self._place(artifact_file_name, artifact_path))
        super().log_artifact_from_stream(stream, artifact_file_name, artifact_path)

    async def log_artifact_from_async_stream(
        self, chunks: AsyncIterable[bytes], artifact_file_name: str, artifact_path: str | None = None
    ) -> None:
        """MLflow's own, where the file's place isn't frozen; asked off the event loop."""
        await asyncio.to_thread(self._check_write, self._place(artifact_file_name, artifact_path))
        await super().log_artifact_from_async_stream(chunks, artifact_file_name, artifact_path)

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        """Each file by itself: MLflow's own writes into files that are there, and so through links and hard links."""
        for folder, _, names in os.walk(local_dir):
            within = os.path.normpath(os.path.join(artifact_path or "", os.path.relpath(folder, local_dir)))  # noqa: PTH118
            for name in names:
                self.log_artifact(str(Path(folder, name)), None if within == "." else within)

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """MLflow's own, where nothing that goes is frozen."""
        given = str(Path(self.artifact_dir, artifact_path)) if artifact_path else str(self.artifact_dir)
        # once more decoded, as MLflow does here
        place = local_file_uri_to_path(given)
        validate_path_within_directory(self.artifact_dir, place)
        with writing():
            self._check_delete(Path(place))
            super().delete_artifacts(artifact_path)  # type: ignore[no-untyped-call]

    def _publish_staged_artifact(
        self,
        temp_file_path: str,
        destination_file_path: str,
        finalize_temp_path: Callable[[str], None] | None = None,
    ) -> None:
        """MLflow's last step, a rename: asked again, since a version may have been registered during the upload."""
        with writing():
            self._check_write(Path(destination_file_path))
            super()._publish_staged_artifact(temp_file_path, destination_file_path, finalize_temp_path)

    def _place(self, file_name: str, artifact_path: str | None) -> Path:
        """Where MLflow writes a file."""
        return Path(self.artifact_dir, os.path.normpath(artifact_path or "."), Path(file_name).name)

    def _check_write(self, place: Path) -> None:
        replaced = place.is_symlink() or place.is_dir()
        self._check(place, "written", (place, *_real(place)), _real(place) if replaced else ())

    def _check_delete(self, place: Path) -> None:
        above = _real(place) if place.is_symlink() or place.is_dir() else ()
        linked = [] if place.is_symlink() else [true_path(link) for link in links_below(place)]
        self._check(place, "deleted", (place, *_real(place)), (*above, *linked))

    def _check(self, place: Path, verb: str, inside: Collection[Path], above: Collection[Path]) -> None:
        owners = frozen_versions().owners(inside, above)
        if owners:
            raise _refusal(os.path.relpath(place, self.artifact_dir), verb, owners)


def _real(place: Path) -> tuple[Path, Path]:
    """The entry of a directory that a path names, and what it leads to where that is a link."""
    return entry_path(place), true_path(place)


def _check_within_destination(uri: str, folder: Path) -> None:
    """Whoever can name a URI (a version's source, an experiment's location) reads and writes nothing else by it."""
    root = destination()
    if not freezes() or root is None or not true_path(folder).is_relative_to(root):
        raise MlflowException(
            f"artifacts: found {uri}, expected the folder of --artifacts-destination, with {SCHEME}:///, or one in it",
            error_code=INVALID_PARAMETER_VALUE,
        )


def _refusal(path: str, verb: str, owners: Sequence[FrozenVersion]) -> MlflowException:
    others = f" (and of {len(owners) - 1} more)" if owners[1:] else ""
    fact = f"Refused: the artifacts of {owners[0]}{others} are frozen"
    remedy = "register another version, or delete this one first"
    expected = f"the artifacts of {owners[0]}{others} to stay as they were registered"
    finding = Finding("frozen", "safety", path, f"a file or folder to be {verb}", expected, remedy)
    return MlflowException(
        f"{fact} since it was registered: {path} can't be {verb}: {remedy}",
        error_code=RESOURCE_CONFLICT,
        findings=[finding.to_dict()],
    )
