"""A foreign `.npz` of plain arrays: each is checked against what is owed before anything is made of it."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt

from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.errors import CheckpointError
from mlflow_ppo_flavor.model.foreign.fault import fault
from mlflow_ppo_flavor.model.foreign.members import read_members

Array = npt.NDArray[Any]
_SUFFIX = ".npy"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_LONGEST_HEADER, _LONGEST, _MOST_AXES = 10_000, 2**32, 32
_KINDS = {"float32": "f4", "float64": "f8", "int64": "i8"}
_LAST_CHARACTER, _SURROGATES = 0x10FFFF, (0xD800, 0xE000)
_REMEDY = "see docs/golden-file.md"


@dataclass(frozen=True, slots=True)
class Owed:
    """An array that a file owes: its dtype (`text` is numpy's unicode), its shape in named lengths, and whether it may
    be left out.
    """

    dtype: str
    shape: tuple[str, ...] = ()
    optional: bool = False

    def __str__(self) -> str:
        """`float64[bars]`, `a text`."""
        if not self.shape:
            return f"a single {self.dtype}"
        return f"{self.dtype}[{', '.join(self.shape)}]"

    def fits(self, array: Array) -> bool:
        """Whether an array is of this dtype and has as many dimensions."""
        kind = "U" if self.dtype == "text" else _KINDS[self.dtype]
        own = array.dtype.kind if self.dtype == "text" else array.dtype.str[1:]
        return own == kind and array.ndim == len(self.shape)


def read_arrays(path: str | os.PathLike[str], owed: Mapping[str, Owed]) -> tuple[dict[str, Array], list[Finding]]:
    """The arrays of a `.npz` file that are as owed, in native byte order, and a finding for each that isn't, is missing
    or isn't known. Pickled objects are never read.

    CheckpointError for a file that is no whole archive.
    """
    members, found, findings = _read(path), dict[str, Array](), list[Finding]()
    names = [name.removesuffix(_SUFFIX) for name in members]
    for member, name in zip(members, names, strict=True):
        if name not in owed or not member.endswith(_SUFFIX):
            findings.append(fault(f"{path}: {name}", "an unknown array", f"one of {', '.join(owed)}", _REMEDY))
            continue
        array, wrong = _parse(members[member], path, name)
        if array is None or not owed[name].fits(array):
            shown = wrong if array is None else show_array(array)
            findings.append(fault(f"{path}: {name}", shown, str(owed[name]), _REMEDY))
        else:
            found[name] = array
    for name, one in owed.items():
        if name not in names and not one.optional:
            findings.append(fault(f"{path}: {name}", "no such array", str(one), _REMEDY))
    return found, findings


def _read(path: str | os.PathLike[str]) -> Mapping[str, bytes]:
    try:
        return read_members(path)
    except CheckpointError as error:
        raise CheckpointError(f"{error}: a golden file is written by numpy.savez, not savez_compressed") from error


def length_findings(
    path: str | os.PathLike[str], arrays: Mapping[str, Array], owed: Mapping[str, Owed], lengths: Mapping[str, int]
) -> list[Finding]:
    """A finding for each array whose lengths aren't those that their names stand for."""
    findings = []
    for name, array in arrays.items():
        wanted = tuple(lengths.get(length, -1) for length in owed[name].shape)
        if any(here != there for here, there in zip(array.shape, wanted, strict=True) if there >= 0):
            told = [f"{n} = {lengths[n]}" for n in owed[name].shape if n in lengths]
            expected = f"{owed[name]} with {', '.join(told)}"
            findings.append(fault(f"{path}: {name}", show_array(array), expected, _REMEDY))
    return findings


def show_array(array: Array) -> str:
    """Dtype and shape: `float32[24, 7]`."""
    return f"{'text' if array.dtype.kind == 'U' else array.dtype}{list(array.shape)}"


def _parse(content: bytes, path: str | os.PathLike[str], name: str) -> tuple[Array | None, str]:
    """The array in the bytes of a `.npy` member, or None and what stands there instead."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        if version not in _HEADERS:
            return None, f"a .npy of format {version[0]}.{version[1]}"
        shape, fortran, dtype = _HEADERS[version](stream, max_header_size=_LONGEST_HEADER)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError, TokenError) as error:
        found = f"no array ({str(error) or type(error).__name__})"
        raise CheckpointError(f"{path}: {name}: found {found}, expected one of numpy.savez") from error
    if dtype.hasobject or dtype.fields is not None or dtype.subdtype is not None:
        return None, f"{dtype}: pickled objects and records aren't read"
    held = len(content) - stream.tell()
    plain = len(shape) <= _MOST_AXES and all(type(length) is int and 0 <= length <= _LONGEST for length in shape)
    # text without a character takes no byte in a file, and four of each in memory
    if not plain or prod(shape) * dtype.itemsize != held or (not dtype.itemsize and prod(shape) > len(content)):
        return None, f"{held} bytes that say they are {dtype}{list(shape)}"
    if not dtype.itemsize:
        return np.empty(shape, dtype), ""
    flat = np.frombuffer(content, dtype, offset=stream.tell())
    if dtype.kind == "U" and not _is_text(flat):
        return None, "text with numbers that are no characters"
    array = flat.reshape(shape, order="F" if fortran else "C").astype(dtype.newbyteorder("="), order="C")
    return array, ""


def _is_text(array: Array) -> bool:
    """Whether numpy's unicode holds characters alone: it believes any number, Python fails at those that are none."""
    points = array.view(f"{array.dtype.byteorder}u4")
    return not ((points > _LAST_CHARACTER) | ((points >= _SURROGATES[0]) & (points < _SURROGATES[1]))).any()
