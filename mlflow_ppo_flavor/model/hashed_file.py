"""Files read once: their bytes, and the sha256 of exactly these."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
ALIGNMENT = 64
_PIECE = 1 << 18


def read_hashed(path: Path, shift: int = 0) -> tuple[Bytes, str]:
    """(bytes, sha256 as 64 hexadecimal digits) of a file; they begin `shift` bytes behind a multiple of ALIGNMENT.

    OSError where it can't be read. A file that shrinks or grows meanwhile gives what was read, and its hash.
    """
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        size = path.stat().st_size
        # NumPy asks for large pages, which come in half the time
        room = np.empty(size + 2 * ALIGNMENT, dtype=np.uint8)
        begin = (shift - room.ctypes.data) % ALIGNMENT
        content = room[begin : begin + size]
        read = 0
        # piece by piece: what is hashed is still in the processor's cache; a thread for it gained nothing
        while (count := file.readinto(content[read : read + _PIECE].data)) > 0:
            digest.update(content[read : read + count].data)
            read += count
    return content[:read], digest.hexdigest()
