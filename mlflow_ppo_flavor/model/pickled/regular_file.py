"""Opening a file that somebody names: only one with a beginning and an end, and without waiting for anybody."""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """A regular file, open for reading bytes. OSError for one that can't be, and at once for pipes and devices."""
    file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 (the caller closes it)
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "Not a regular file", str(path))


def _open_at_once(path: str, flags: int) -> int:
    # a pipe that nobody writes to would keep a reader waiting
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
