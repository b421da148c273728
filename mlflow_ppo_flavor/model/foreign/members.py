"""The members of a foreign zip archive: of a model of stable-baselines3, of a `.npz`."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

from mlflow_ppo_flavor.errors import CheckpointError
from mlflow_ppo_flavor.model.pickled.archive import Archive
from mlflow_ppo_flavor.model.pickled.regular_file import open_regular

_START = b"PK"
# stored as they are, members together are no larger than the file: this bounds one that nobody would write
_MOST_BYTES, _MOST_MEMBERS = 2**32, 4_000


def member_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The names in a zip archive; () for another kind of file. CheckpointError for one that can't be opened."""
    try:
        with open_regular(path) as file:
            return tuple(Archive(file, str(path)).members) if file.read(len(_START)) == _START else ()
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}: expected a file to import") from error


def read_members(path: str | os.PathLike[str], wanted: Collection[str] | None = None) -> Mapping[str, bytes]:
    """The bytes of the wanted members, of those that are there, or of all; stored as they are, not compressed.

    CheckpointError for a file that can't be opened, and an archive that isn't whole or has thousands of members.
    """
    try:
        with open_regular(path) as file:
            archive = Archive(file, str(path))
            names = [name for name in archive.members if wanted is None or name in wanted]
            if len(names) > _MOST_MEMBERS:
                raise CheckpointError(f"{path}: found {len(names)} members, expected at most {_MOST_MEMBERS}")
            return {name: archive.read(name, _MOST_BYTES) for name in names}
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}: expected a file to import") from error
