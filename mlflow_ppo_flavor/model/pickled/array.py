"""Numpy's arrays and scalars as pickles spell them, decoded from their bytes: plain dtypes alone, never objects.

The spelling is that of `numpy.ndarray.__reduce__`, `numpy.dtype.__reduce__` and `numpy._core.numeric._frombuffer`. What
is no plain array stays a Holder.
"""

from __future__ import annotations

import math
import re
from functools import partial
from typing import Any

import numpy as np

from mlflow_ppo_flavor.model.pickled.holder import Holder
from mlflow_ppo_flavor.model.pickled.machine import Known, Pending, PickleMachine

_CORES = ("numpy.core", "numpy._core")
_PLAIN_DTYPE = re.compile(r"b1|[iu][1248]|f[248]|c8|c16")
_ORDERS = ("<", ">", "=", "|")
_MOST_AXES = 32


def _dtype(_: PickleMachine, args: tuple[Any, ...]) -> Any:
    if not args or type(args[0]) is not str or not _PLAIN_DTYPE.fullmatch(args[0]):
        return NotImplemented
    return Pending("numpy", "dtype", args, partial(_finish_dtype, args[0]))


def _finish_dtype(code: str, _: Pending, state: Any, machine: PickleMachine) -> Any:
    """Its byte order: (3, "<", …)."""
    if type(state) is not tuple or len(state) < 2 or type(state[1]) is not str or state[1] not in _ORDERS:
        machine.refuse("a numpy.dtype without its byte order", "a whole pickle")
    return np.dtype(f"{'' if state[1] == '|' else state[1]}{code}")


def _reconstruct(_: PickleMachine, args: tuple[Any, ...]) -> Any:
    kind = args[0] if args else None
    if not isinstance(kind, Holder) or (kind.module, kind.name, kind.args) != ("numpy", "ndarray", None):
        return NotImplemented
    return Pending("numpy", "ndarray", args, _finish_array)


def _finish_array(pending: Pending, state: Any, machine: PickleMachine) -> Any:
    """An array's state: (1, shape, dtype, Fortran order, bytes)."""
    pending.state = state
    if type(state) is not tuple or len(state) != 5 or not isinstance(state[2], np.dtype):
        return pending
    _, shape, dtype, fortran, data = state
    # text is what Python 2 wrote its bytes as
    data = data.encode("utf-8") if type(data) is str else data
    return _array(machine, data, dtype, shape, "F" if fortran is True or fortran == 1 else "C")


def _from_buffer(machine: PickleMachine, args: tuple[Any, ...]) -> Any:
    if len(args) != 4 or not isinstance(args[1], np.dtype):
        return NotImplemented
    data, dtype, shape, order = args
    return _array(machine, data, dtype, shape, "F" if type(order) is str and order == "F" else "C")


def _scalar(machine: PickleMachine, args: tuple[Any, ...]) -> Any:
    if len(args) != 2 or not isinstance(args[0], np.dtype):
        return NotImplemented
    data = args[1].encode("utf-8") if type(args[1]) is str else args[1]
    return _array(machine, data, args[0], (), "C")[()]


def _array(machine: PickleMachine, data: Any, dtype: np.dtype[Any], shape: Any, order: str) -> Any:
    """An array of its own memory, in this machine's byte order."""
    if type(shape) is not tuple or len(shape) > _MOST_AXES or any(type(n) is not int or n < 0 for n in shape):
        machine.refuse("an array's shape that isn't one", f"at most {_MOST_AXES} whole numbers")
    if type(data) not in (bytes, bytearray) or math.prod(shape) * dtype.itemsize != len(data):
        held = f"{len(data)} bytes" if isinstance(data, bytes | bytearray) else f"a {type(data).__name__}"
        machine.refuse(f"{held} for an array {dtype}{list(shape)}", "as many as it takes")
    machine.charge(len(data) + 256)
    stored = np.frombuffer(data, np.uint8 if dtype.kind == "b" else dtype)
    # a byte of a bool is 0 or 1: another one would be neither true nor false
    own = stored != 0 if dtype.kind == "b" else stored.astype(dtype.newbyteorder("="))
    return own.reshape(shape, order="F" if order == "F" else "C")


ARRAYS: Known = {
    ("numpy", "dtype"): _dtype,
    **{(f"{core}.multiarray", "_reconstruct"): _reconstruct for core in _CORES},
    **{(f"{core}.multiarray", "scalar"): _scalar for core in _CORES},
    **{(f"{core}.numeric", "_frombuffer"): _from_buffer for core in _CORES},
}
