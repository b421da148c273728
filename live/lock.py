"""One process on a state directory: a lock that the operating system takes back when its holder dies, however it
dies.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self

from mlflow_ppo_flavor.errors import JournalError

NAME = "lock"


class StateLock:
    """The lock of one state directory; the file tells which process holds it."""

    def __init__(self, state_dir: Path) -> None:
        """Take the lock of a directory, made if need be; JournalError, with the holder, where somebody was first."""
        self.path = state_dir / NAME
        try:
            state_dir.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            found = f"found one that can't be used ({error.strerror})"
            raise JournalError(
                f"{state_dir}: {found}, expected a directory to write to: give another --state-dir"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._file, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._file)
            remedy = "one trader a state directory: stop that process, or give another --state-dir"
            raise JournalError(f"{self.path}: held by process {holder}, expected to be free: {remedy}") from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let the next process in. The file stays: removing it would let two processes lock two files of one name."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        """The lock, held."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release it."""
        self.release()
