"""What torch.save writes since 1.6: an archive with `data.pkl`, `byteorder`, and `data/<key>` for each storage."""

from __future__ import annotations

import io
import sys
from typing import Any, BinaryIO

import torch

from mlflow_ppo_flavor.model.pickled.archive import Archive
from mlflow_ppo_flavor.model.pickled.machine import Known, PickleMachine
from mlflow_ppo_flavor.model.pickled.opcodes import run
from mlflow_ppo_flavor.model.pickled.refusal import unreadable
from mlflow_ppo_flavor.model.pickled.stream import PickleStream
from mlflow_ppo_flavor.model.pickled.tensor import DTYPES, persistent_storages, settle

_LARGEST_PICKLE, _LARGEST_NOTE = 2**28, 64
_IMPORT = "register it with `mlflow-ppo import`"
_OTHERS = {
    "constants.pkl": ("a TorchScript archive, which holds code", "save the state dict with save_checkpoint instead"),
    "archive_format": ("a torch.export archive (.pt2)", "save the state dict with save_checkpoint instead"),
    "serialized_exported_program.json": ("a torch.export archive (.pt2)", "save its state dict instead"),
}


def read_torch_archive(file: BinaryIO, place: str, known: Known) -> Any:
    """The value of an archive that torch.save wrote; CheckpointError for any other."""
    archive = Archive(file, place)
    root = _root(archive)
    _check_byte_order(archive, root)
    data = archive.read(f"{root}data.pkl", _LARGEST_PICKLE)
    stream = PickleStream(io.BytesIO(data), f"{place}: data.pkl")
    storages = _Storages(archive, root)
    return run(PickleMachine(stream, known, DTYPES, persistent_storages(storages.of)))


def _root(archive: Archive) -> str:
    """The folder, with its slash, that everything is in: whatever the file was called when it was written."""
    for name in archive.members:
        folder, _, last = name.rpartition("/")
        if last in _OTHERS and folder.count("/") <= 1:
            found, remedy = _OTHERS[last]
            raise unreadable(archive.place, found, "a checkpoint of torch.save", remedy)
    roots = [name.removesuffix("data.pkl") for name in archive.members if name.endswith("/data.pkl")]
    if "policy.pth" in archive.members:
        raise unreadable(archive.place, "a model of stable-baselines3", "a checkpoint of torch.save", _IMPORT)
    if len(roots) != 1:
        found = f"a zip archive with {len(roots) or 'no'} data.pkl ({', '.join(archive.members)[:80] or 'empty'})"
        raise unreadable(archive.place, found, "one of torch.save")
    return roots[0]


def _check_byte_order(archive: Archive, root: str) -> None:
    name = f"{root}byteorder"
    order = archive.read(name, _LARGEST_NOTE) if name in archive.members else b"little"
    if order != sys.byteorder.encode():
        found = f"the byte order {order.decode('ascii', 'replace')!r}"
        raise unreadable(archive.place, found, f"this machine's, {sys.byteorder}", "save it again on a machine like it")


class _Storages:
    """The storages of an archive, each read once, when it is first asked for."""

    def __init__(self, archive: Archive, root: str) -> None:
        self._archive, self._root = archive, root
        self._read: dict[str, tuple[torch.dtype, torch.UntypedStorage]] = {}

    def of(self, key: str, dtype: torch.dtype, count: int, machine: PickleMachine) -> torch.UntypedStorage:
        """The bytes of `count` elements; refused where the member has another length, or was of another type."""
        if key not in self._read:
            self._read[key] = dtype, self._load(f"{self._root}data/{key}", dtype, count)
        first, storage = self._read[key]
        if first is not dtype or storage.nbytes() != count * dtype.itemsize:
            machine.refuse(f"storage {key[:80]} a second time as {count} of {dtype}", f"{first} as before")
        return storage

    def _load(self, name: str, dtype: torch.dtype, count: int) -> torch.UntypedStorage:
        span = self._archive.span(name)
        if span.size != count * dtype.itemsize:
            place = f"{self._archive.place}: data/{name.rpartition('/')[2]}"
            raise unreadable(place[:200], f"{span.size} bytes", f"{count * dtype.itemsize} ({count} of {dtype})")
        data = torch.empty(span.size, dtype=torch.uint8)
        self._archive.read_into(name, data.numpy().data)
        settle(data, dtype)
        return data.untyped_storage()
