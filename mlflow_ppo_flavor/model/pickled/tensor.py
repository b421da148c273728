"""Torch's tensors as pickles spell them: rebuilt on the CPU from stored bytes, every bound checked before.

The spelling is that of `torch._utils._rebuild_tensor_v2` and `torch.serialization`. Tensors come without gradient. What
isn't dense (sparse, quantized, nested, of a subclass) stays a Holder.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from mlflow_ppo_flavor.model.pickled.holder import Holder
from mlflow_ppo_flavor.model.pickled.machine import Known, PickleMachine

_MOST_AXES = 64
_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "ComplexDoubleStorage": torch.complex128,
    "ComplexFloatStorage": torch.complex64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
    # quantized tensors stay holders, around the numbers as they are stored
    "QInt8Storage": torch.int8,
    "QUInt8Storage": torch.uint8,
    "QInt32Storage": torch.int32,
}
_STORAGE_MODULES = ("torch", "torch.storage", "torch.cuda")
# those without a storage type of their own
_UNTYPED = (torch.uint16, torch.uint32, torch.uint64)
_DTYPES = (*dict.fromkeys(_STORAGES.values()), *_UNTYPED)
DTYPES = {("torch", str(dtype).removeprefix("torch.")): dtype for dtype in _DTYPES}

# (key, dtype, number of elements, where to complain) -> the bytes
Source = Callable[[str, torch.dtype, int, PickleMachine], torch.UntypedStorage]


class Storage(Holder):
    """`count` elements of `dtype`, from element `start` of stored bytes on. What isn't made a tensor stays a Holder."""

    __slots__ = ("count", "dtype", "start", "untyped")

    def __init__(self, kind: Holder, untyped: torch.UntypedStorage, dtype: torch.dtype, start: int, count: int) -> None:
        super().__init__(kind.module, kind.name, ())
        self.untyped, self.dtype, self.start, self.count = untyped, dtype, start, count


def persistent_storages(source: Source) -> Callable[[PickleMachine, Any], Any]:
    """The meaning of torch's persistent ids, with bytes from `source`: ("storage", type, key, location, count), in old
    files with a view (key, offset, count) or None behind; ("module", class, file, source) is the class.
    """

    def persistent(machine: PickleMachine, identifier: Any) -> Any:
        if type(identifier) is not tuple or not identifier or type(identifier[0]) is not str:
            machine.refuse("a persistent id that isn't torch's", "a tuple")
        if identifier[0] == "module" and len(identifier) > 1:
            return identifier[1]
        if identifier[0] != "storage" or len(identifier) not in (5, 6):
            machine.refuse(f"a persistent id of {len(identifier)} parts", "a storage's")
        _, kind, key, _, count, *view = identifier
        dtype = _dtype_of(kind, machine)
        if type(key) not in (str, int) or not _counts(count):
            machine.refuse("a storage without key and number of elements", "a whole pickle")
        untyped = source(str(key), dtype, count, machine)
        start, count = _view(view, count, machine)
        return Storage(kind, untyped, dtype, start, count)

    return persistent


def settle(data: torch.Tensor, dtype: torch.dtype) -> None:
    """Make stored bytes uint8[n] values: a bool's byte is 0 or 1, another one would be neither true nor false."""
    if dtype is torch.bool:
        data.clamp_(max=1)


def _dtype_of(kind: Any, machine: PickleMachine) -> torch.dtype:
    known = isinstance(kind, Holder) and kind.args is None and kind.module in _STORAGE_MODULES
    if not known or kind.name not in _STORAGES:
        named = kind.path[:80] if isinstance(kind, Holder) else type(kind).__name__
        machine.refuse(f"a storage of type {named}", f"one of {', '.join(_STORAGES)}")
    return _STORAGES[kind.name]


def _view(view: list[Any], count: int, machine: PickleMachine) -> tuple[int, int]:
    """(start, count) within a storage of `count` elements."""
    if not view or view[0] is None:
        return 0, count
    if type(view[0]) is not tuple or len(view[0]) != 3 or not all(map(_counts, view[0][1:])):
        machine.refuse("a storage's view that isn't one", "key, offset and number of elements")
    _, start, viewed = view[0]
    if start + viewed > count:
        machine.refuse(f"a view of elements {start} to {start + viewed}", f"one inside a storage of {count}")
    return start, viewed


def _counts(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**62


def _rebuild(machine: PickleMachine, args: tuple[Any, ...]) -> Any:
    """(storage, offset, size, stride), and perhaps requires_grad, hooks, metadata."""
    if not 4 <= len(args) <= 7 or (len(args) == 7 and args[6]):  # conjugated or negated lazily
        return NotImplemented
    return _tensor(machine, args[:4], None)


def _rebuild_untyped(machine: PickleMachine, args: tuple[Any, ...]) -> Any:
    """(storage, offset, size, stride, requires_grad, hooks, dtype), and perhaps metadata."""
    if len(args) not in (7, 8) or (len(args) == 8 and args[7]) or not any(args[6] is dtype for dtype in _UNTYPED):
        return NotImplemented
    return _tensor(machine, args[:4], args[6])


def _tensor(machine: PickleMachine, spelled: tuple[Any, ...], dtype: torch.dtype | None) -> torch.Tensor:
    """The tensor of (storage, offset, size, stride); of `dtype` where the storage is of bytes."""
    storage, offset, size, stride = spelled
    if not isinstance(storage, Storage):
        machine.refuse(f"a tensor of a {type(storage).__name__}", "one of a storage")
    if type(size) is not tuple or type(stride) is not tuple or len(size) != len(stride) or len(size) > _MOST_AXES:
        machine.refuse("a tensor's size and stride that aren't", f"two tuples of the same length, at most {_MOST_AXES}")
    if not all(map(_counts, (offset, *size, *stride))) or math.prod(n or 1 for n in size) >= 2**62:
        machine.refuse("a tensor's size, stride or offset that can't be", "whole numbers of elements")
    machine.charge(512)
    if not all(size):
        return torch.empty(size, dtype=dtype or storage.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    start, count = storage.start, storage.count
    if dtype is not None:
        if start % dtype.itemsize or storage.dtype is not torch.uint8:
            machine.refuse(f"a tensor {dtype} inside a storage of {storage.dtype}", "one of bytes")
        start, count = start // dtype.itemsize, count // dtype.itemsize
    if last >= count:
        machine.refuse(f"a tensor {list(size)} that ends at element {last}", f"one inside its storage of {count}")
    return torch.empty(0, dtype=dtype or storage.dtype).set_(storage.untyped, start + offset, size, stride)


def _parameter(_: PickleMachine, args: tuple[Any, ...]) -> Any:
    """(tensor, requires_grad, hooks), and perhaps state."""
    return args[0] if args and isinstance(args[0], torch.Tensor) else NotImplemented


def _from_type(machine: PickleMachine, args: tuple[Any, ...]) -> Any:
    """(function, type, arguments, state): a tensor or parameter with attributes of its own."""
    if len(args) != 4 or not isinstance(args[1], Holder):
        return NotImplemented
    if args[1].path not in ("torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter"):
        return NotImplemented
    made = machine.call(args[0], args[2])
    return made if isinstance(made, torch.Tensor) else NotImplemented


def _size(_: PickleMachine, args: tuple[Any, ...]) -> Any:
    whole = len(args) == 1 and type(args[0]) is tuple and all(map(_counts, args[0]))
    return args[0] if whole else NotImplemented


TENSORS: Known = {
    ("torch._utils", "_rebuild_tensor"): _rebuild,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_untyped,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _from_type,
    ("torch", "Size"): _size,
}
