"""Weight files: safetensors read out of a buffer that is in memory already, its large tensors copied once at most.

The format is https://huggingface.co/docs/safetensors. Its own reader copies every tensor twice: loading took twice as
long. It writes our files, and stands beside this one in the tests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.errors import SpecError
from mlflow_ppo_flavor.model.hashed_file import ALIGNMENT, Bytes
from mlflow_ppo_flavor.model.layers import aligned

_KINDS = {"F32": torch.float32, "F64": torch.float64}
_HEADER = 8
_LONGEST_HEADER = 1 << 20
_MOST = 2**62
_METADATA = "__metadata__"


def best_shift(path: Path) -> int:
    """Where a file's bytes should begin, behind a multiple of ALIGNMENT, for its largest tensor to be aligned there.

    A guess, by bytes that nobody has checked: where it is wrong, `read_weights` copies. OSError.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_HEADER), "little")
        text = file.read(min(length, _LONGEST_HEADER))
    try:
        header = _read_header(np.frombuffer(length.to_bytes(_HEADER, "little") + text, dtype=np.uint8), "")[0]
        entries = [_entry(name, header[name], "") for name in header if name != _METADATA]
    except SpecError:
        return 0
    largest = max(entries, key=lambda entry: entry.end - entry.begin, default=None)
    return 0 if largest is None else -(_HEADER + length + largest.begin) % ALIGNMENT


class _Entry(NamedTuple):
    """A tensor as the header describes it; its bytes stand at [begin, end) behind the header."""

    begin: int
    end: int
    name: str
    kind: torch.dtype
    shape: tuple[int, ...]


def read_weights(content: Bytes, path: str) -> dict[str, torch.Tensor]:
    """Tensors by name, float32 and float64, each at an aligned address; they may share memory with `content`.

    SpecError, beginning with `path`, for bytes that aren't a whole safetensors file, hold another kind of number, leave
    bytes over or give them to two tensors.
    """
    header, data = _read_header(content, path)
    entries = sorted(_entry(name, header[name], path) for name in header if name != _METADATA)
    reached = 0
    for entry in entries:
        if entry.begin != reached:
            raise SpecError(f"{path}.{entry.name}", f"bytes from {entry.begin}", f"bytes from {reached}")
        reached = entry.end
    if reached != len(data):
        raise SpecError(path, f"{len(data)} bytes of tensors", f"{reached}, as its header says")
    return {entry.name: _tensor(entry, data) for entry in entries}


def _read_header(content: Bytes, path: str) -> tuple[Mapping[str, Any], Bytes]:
    """The header's JSON, and the bytes behind it."""
    length = int.from_bytes(content[:_HEADER].tobytes(), "little")
    if len(content) < _HEADER + length:
        raise SpecError(path, f"{len(content)} bytes", "a whole safetensors file")
    try:
        header = json.loads(content[_HEADER : _HEADER + length].tobytes().decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise SpecError(path, f"a header that isn't JSON ({error})", "a safetensors file") from None
    if not isinstance(header, Mapping):
        raise SpecError(path, parsing.show(header), "a header of tensors by name")
    return header, content[_HEADER + length :]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, each of whose keys stands once: two readers could take different ones."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _entry(name: str, described: object, path: str) -> _Entry:
    at = parsing.join(path, name)
    read = parsing.mapping(described, at, ("dtype", "shape", "data_offsets"))
    size = partial(parsing.integer, low=0, high=_MOST)
    kind = _KINDS[parsing.take(read, "dtype", at, parsing.choice, of=tuple(_KINDS))]
    shape = parsing.take(read, "shape", at, partial(parsing.sequence, read=size))
    offsets = parsing.take(read, "data_offsets", at, partial(parsing.sequence, read=size))
    if len(offsets) != 2 or offsets[1] - offsets[0] != prod(shape) * kind.itemsize:
        raise SpecError(f"{at}.data_offsets", parsing.show(list(offsets)), f"two, as far apart as {list(shape)} needs")
    return _Entry(*offsets, name, kind, shape)


def _tensor(entry: _Entry, data: Bytes) -> torch.Tensor:
    if entry.begin == entry.end:
        return torch.empty(entry.shape, dtype=entry.kind)
    raw = torch.from_numpy(data[entry.begin : entry.end])
    # a view as another kind of number wants its own alignment, whatever the header's length
    return aligned(raw).view(entry.kind).reshape(entry.shape)
