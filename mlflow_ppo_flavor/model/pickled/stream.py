"""The bytes of one pickle, read piece by piece: no claim of a length is believed before it was compared."""

from __future__ import annotations

import os
from typing import BinaryIO

from mlflow_ppo_flavor.errors import CheckpointError
from mlflow_ppo_flavor.model.pickled.refusal import unreadable

# shorter reads need no comparison: what isn't there isn't allocated in any harmful number
_SMALL = 65_536
# of a text opcode: protocol 0 writes bytes this way
_LONGEST_LINE = 2**26


class PickleStream:
    """A file from its present position on. `place` is how messages call it; reading stops where the pickle does."""

    __slots__ = ("_file", "_size", "place")

    def __init__(self, file: BinaryIO, place: str) -> None:
        self._file, self.place = file, place
        position = file.tell()
        self._size = file.seek(0, os.SEEK_END)
        file.seek(position)

    @property
    def left(self) -> int:
        """How many bytes there are still."""
        return self._size - self._file.tell()

    def byte(self) -> int:
        """The next byte."""
        data = self._file.read(1)
        if not data:
            raise self._truncated()
        return data[0]

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes; CheckpointError where there are fewer."""
        if count > _SMALL and count > self.left:
            raise self.refusal(f"a length of {count}, {self.left} bytes are left", "a whole pickle")
        data = self._file.read(count)
        if len(data) != count:
            raise self._truncated()
        return data

    def line(self) -> bytes:
        """The bytes up to the next line feed, without it."""
        data = self._file.readline(_LONGEST_LINE)
        if not data.endswith(b"\n"):
            raise self.refusal("text without an end", "a whole pickle")
        return data[:-1]

    def refusal(self, found: str, expected: str) -> CheckpointError:
        """The error to raise for what was found here."""
        return unreadable(self.place, found, expected)

    def _truncated(self) -> CheckpointError:
        return self.refusal("its end in the middle of a value", "a whole pickle (the file is truncated)")
