"""What torch.save wrote before 1.6: pickles one behind the other, then the bytes of each storage behind its length.

Magic number, protocol 1001, system, the value, the storages' keys; then for each key int64 elements and their bytes.
"""

from __future__ import annotations

import sys
from typing import Any, BinaryIO

import torch

from mlflow_ppo_flavor.model.pickled.holder import shown_kind
from mlflow_ppo_flavor.model.pickled.machine import Known, PickleMachine
from mlflow_ppo_flavor.model.pickled.opcodes import run
from mlflow_ppo_flavor.model.pickled.refusal import unreadable
from mlflow_ppo_flavor.model.pickled.stream import PickleStream
from mlflow_ppo_flavor.model.pickled.tensor import DTYPES, persistent_storages, settle

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


def read_torch_stream(file: BinaryIO, place: str, known: Known) -> Any:
    """The value of a stream that torch.save wrote, from the file's position on; CheckpointError for any other."""
    stream = PickleStream(file, place)

    def next_value() -> Any:
        return run(PickleMachine(stream, {}, {}))

    magic = next_value()
    if type(magic) is not int or magic != _MAGIC:
        raise unreadable(place, f"a pickle of {shown_kind(magic)} alone", "a checkpoint of torch.save")
    protocol, system = next_value(), next_value()
    if type(protocol) is not int or protocol != _PROTOCOL:
        raise unreadable(place, "another stream than torch's", f"protocol {_PROTOCOL}")
    if not isinstance(system, dict) or system.get("little_endian") is not (sys.byteorder == "little"):
        raise unreadable(place, "another byte order", f"this machine's, {sys.byteorder}", "save it on one like it")
    storages = _Storages(stream.left)
    value = run(PickleMachine(stream, known, DTYPES, persistent_storages(storages.of)))
    storages.fill(file, next_value(), stream)
    return value


class _Storages:
    """The storages that a stream's value asks for: their bytes come behind it. `room` bytes can there be at most."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._asked: dict[str, tuple[torch.dtype, torch.Tensor]] = {}

    def of(self, key: str, dtype: torch.dtype, count: int, machine: PickleMachine) -> torch.UntypedStorage:
        """Memory for `count` elements, still without their bytes; refused where the file is too short for it."""
        size = count * dtype.itemsize
        if key not in self._asked:
            self._room -= size
            if self._room < 0:
                machine.refuse(f"a storage of {size} bytes", "no more than the file has")
            self._asked[key] = dtype, torch.empty(size, dtype=torch.uint8)
        first, data = self._asked[key]
        if first is not dtype or data.numel() != size:
            machine.refuse(f"storage {key[:80]} a second time as {count} of {dtype}", f"{first} as before")
        return data.untyped_storage()

    def fill(self, file: BinaryIO, keys: Any, stream: PickleStream) -> None:
        """Read the bytes of every storage, in the order of `keys`; refused where one is left without."""
        if not isinstance(keys, list) or set(map(str, keys)) != set(self._asked) or len(keys) != len(self._asked):
            raise stream.refusal("other storages than its tensors have", "the bytes of each")
        for key in map(str, keys):
            dtype, data = self._asked[key]
            elements = int.from_bytes(stream.read(8), "little", signed=True)
            place = f"{stream.place}: storage {key[:80]}"
            if elements * dtype.itemsize != data.numel():
                raise unreadable(place, f"{elements} elements", f"{data.numel() // dtype.itemsize} of {dtype}")
            if file.readinto(data.numpy().data) != data.numel():  # type: ignore[attr-defined]
                raise unreadable(place, "its end", f"{data.numel()} bytes (the file is truncated)")
            settle(data, dtype)
