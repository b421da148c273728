"""Read what other code pickled, inertly: plain types, tensors and arrays are themselves, all else becomes Holders.

Nothing is imported, nothing called, nothing of a file is believed before it was compared: its time and memory are
bounded by its size.
"""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO

from mlflow_ppo_flavor.errors import CheckpointError
from mlflow_ppo_flavor.model.pickled.array import ARRAYS
from mlflow_ppo_flavor.model.pickled.contents import check_contents
from mlflow_ppo_flavor.model.pickled.holder import Holder, plain_state
from mlflow_ppo_flavor.model.pickled.machine import PickleMachine
from mlflow_ppo_flavor.model.pickled.opcodes import run
from mlflow_ppo_flavor.model.pickled.refusal import unreadable
from mlflow_ppo_flavor.model.pickled.regular_file import open_regular
from mlflow_ppo_flavor.model.pickled.stream import PickleStream
from mlflow_ppo_flavor.model.pickled.tensor import DTYPES, TENSORS
from mlflow_ppo_flavor.model.pickled.torch_archive import read_torch_archive
from mlflow_ppo_flavor.model.pickled.torch_stream import read_torch_stream
from mlflow_ppo_flavor.model.pickled.value import PLAIN

__all__ = ["Holder", "plain_state", "read_pickle", "read_torch", "read_torch_file"]

_KNOWN = {**PLAIN, **ARRAYS, **TENSORS}
_LARGEST_FILE = 2**33
_TAR_MARK = slice(257, 262)


def read_torch_file(path: str | os.PathLike[str]) -> Any:
    """What torch.save wrote to `path`, in the zip format or the one before 1.6.

    Plain Python types, dicts in place of OrderedDicts, dense tensors on the CPU without gradients (of whatever device
    they were), numpy arrays of plain dtypes, and Holders for objects, classes and functions of every other kind.
    CheckpointError, in one sentence, for what isn't there, is truncated, broken, or out of proportion.
    """
    try:
        with open_regular(path) as file:
            return read_torch(file, str(path))
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}: expected a checkpoint file") from error


def read_torch(file: BinaryIO, place: str) -> Any:
    """The same from an open file, from its beginning; `place` is how messages call it."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(_TAR_MARK.stop)
    file.seek(0)
    if not start:
        raise unreadable(place, "an empty file", "a checkpoint")
    if size > _LARGEST_FILE:
        raise unreadable(place, f"{size} bytes", f"at most {_LARGEST_FILE}")
    if start[_TAR_MARK] == b"ustar":
        remedy = "load it with a torch of that time and save it again"
        raise unreadable(place, "a tar archive, as torch wrote before 0.1.10", "a checkpoint of torch.save", remedy)
    if start.startswith(b"PK"):
        value = read_torch_archive(file, place, _KNOWN)
    elif start.startswith(b"\x80"):
        value = read_torch_stream(file, place, _KNOWN)
    else:
        raise unreadable(place, f"bytes that start with {start[:8]!r}", "a checkpoint of torch.save")
    check_contents(value, place)
    return value


def read_pickle(data: bytes, place: str = "pickle") -> Any:
    """The value of a plain pickle of protocol 0 to 5, read as `read_torch_file` reads; CheckpointError as there."""
    value = run(PickleMachine(PickleStream(io.BytesIO(data), place), _KNOWN, DTYPES))
    check_contents(value, place)
    return value
