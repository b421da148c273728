"""The zip container of torch.save since 1.6: where each member's bytes stand, checked before any is read.

Members are stored as they are, each at its own place: a compressed, overlapping or doubled one is refused.
"""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Mapping
from itertools import pairwise
from typing import BinaryIO, NamedTuple

from mlflow_ppo_flavor.errors import CheckpointError
from mlflow_ppo_flavor.model.pickled.refusal import unreadable

# a directory entry of torch takes about 70 bytes: this is room for some ten thousand tensors
_LARGEST_DIRECTORY = 2**22
_HEADER = struct.Struct("<4s22xHH")
_ENCRYPTED = 0x1


class Span(NamedTuple):
    """Where a member's bytes stand in the file."""

    start: int
    size: int


class Archive:
    """The members of an archive, by name, in the file's order. CheckpointError for one that can't be trusted.

    `file` stays open as long as members are read; `place` is how messages call it.
    """

    def __init__(self, file: BinaryIO, place: str) -> None:
        self._file, self.place = file, place
        self.members: Mapping[str, Span] = self._read_directory()

    def read(self, name: str, most: int) -> bytes:
        """The bytes of one member; CheckpointError where it isn't there or has more than `most`."""
        span = self.span(name)
        if span.size > most:
            raise unreadable(f"{self.place}: {name[:80]}", f"{span.size} bytes", f"at most {most}")
        data = bytearray(span.size)
        self.read_into(name, memoryview(data))
        return bytes(data)

    def read_into(self, name: str, target: memoryview) -> None:
        """Fill `target`, as long as the member is, with its bytes."""
        self._file.seek(self.span(name).start)
        if self._file.readinto(target) != len(target):  # type: ignore[attr-defined]
            raise unreadable(f"{self.place}: {name[:80]}", "its end", f"{len(target)} bytes (the file is truncated)")

    def span(self, name: str) -> Span:
        """Where a member stands; CheckpointError where it isn't there."""
        if name not in self.members:
            raise unreadable(self.place, f"no member {name[:80]}", "every part of a checkpoint in its archive")
        return self.members[name]

    def _read_directory(self) -> dict[str, Span]:
        try:
            with zipfile.ZipFile(_Shy(self._file, self.place)) as archive:
                listed = archive.infolist()
        except CheckpointError:
            raise
        except Exception as error:  # noqa: BLE001 (the standard reader raises a dozen kinds for broken archives)
            kind = type(error).__name__
            raise unreadable(self.place, f"a zip archive without a whole directory ({kind})", "a whole one") from None
        self._refuse_packed(listed)
        spans: dict[str, Span] = {}
        for member in listed:
            if member.filename in spans:
                raise unreadable(self.place, f"two members {member.filename[:80]}", "each once")
            spans[member.filename] = self._locate(member)
        self._refuse_overlaps(listed, spans)
        return spans

    def _refuse_packed(self, listed: list[zipfile.ZipInfo]) -> None:
        size, unfolded = self._file.seek(0, os.SEEK_END), sum(member.file_size for member in listed)
        packed = any(member.compress_type or member.file_size != member.compress_size for member in listed)
        if packed or unfolded > size:
            found = f"{unfolded} bytes packed into {size}"
            raise unreadable(self.place, found, "members stored as they are")
        for member in listed:
            odd = member.filename.startswith("/") or ".." in member.filename.split("/") or "\\" in member.filename
            if odd or member.filename != member.orig_filename or member.flag_bits & _ENCRYPTED:
                found = f"the member {member.orig_filename[:80]!r}"
                raise unreadable(self.place, found, "plain names inside the archive, not encrypted")

    def _locate(self, member: zipfile.ZipInfo) -> Span:
        size = self._file.seek(0, os.SEEK_END)
        # a directory may say anything, also before the beginning
        self._file.seek(member.header_offset if 0 <= member.header_offset < size else size)
        header = self._file.read(_HEADER.size)
        if len(header) != _HEADER.size or header[:4] != b"PK\x03\x04":
            raise unreadable(f"{self.place}: {member.filename[:80]}", "no header", "the member's own before its bytes")
        _, name, extra = _HEADER.unpack(header)
        return Span(member.header_offset + _HEADER.size + name + extra, member.file_size)

    def _refuse_overlaps(self, listed: list[zipfile.ZipInfo], spans: Mapping[str, Span]) -> None:
        size = self._file.seek(0, os.SEEK_END)
        ends = sorted((member.header_offset, sum(spans[member.filename]), member.filename) for member in listed)
        for (_, end, name), (following, _, _) in pairwise([*ends, (size, size, "")]):
            if end > following:
                found = f"bytes up to {end} that belong to the next member, or to none"
                raise unreadable(f"{self.place}: {name[:80]}", found, "members side by side")


class _Shy:
    """A file for the standard library's zip reader, which believes any length that it finds."""

    def __init__(self, file: BinaryIO, place: str) -> None:
        self.seek, self.tell, self.seekable, self._file, self._place = file.seek, file.tell, file.seekable, file, place

    def read(self, count: int = -1) -> bytes:
        """The next `count` bytes, or what is left of the file: it looks for the directory in its last 64 kB."""
        if count > _LARGEST_DIRECTORY:
            raise unreadable(self._place, f"a directory of {count} bytes", f"at most {_LARGEST_DIRECTORY}")
        return self._file.read(count if count >= 0 else _LARGEST_DIRECTORY)
