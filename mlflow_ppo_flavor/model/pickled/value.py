"""Values of plain types that pickles spell as calls: own code builds them, for arguments that it knows."""

from __future__ import annotations

from typing import Any

from mlflow_ppo_flavor.model.pickled.holder import Holder
from mlflow_ppo_flavor.model.pickled.machine import Known, PickleMachine

_POINTER = 64
_BUILTINS = ("builtins", "__builtin__")


def _ordered_dict(machine: PickleMachine, args: tuple[Any, ...]) -> Any:
    """A dict: of no arguments, or of a list of pairs as Python 2 wrote it."""
    if not args:
        return {}
    pairs = args[0]
    if len(args) != 1 or type(pairs) is not list:
        return NotImplemented
    if any(type(pair) not in (list, tuple) or len(pair) != 2 for pair in pairs):
        return NotImplemented
    machine.charge(_POINTER * len(pairs))
    made: dict[Any, Any] = {}
    machine.put(made, [member for pair in pairs for member in pair])
    return made


def _set(machine: PickleMachine, args: tuple[Any, ...]) -> Any:
    return _gathered(machine, args, set)


def _frozenset(machine: PickleMachine, args: tuple[Any, ...]) -> Any:
    return _gathered(machine, args, frozenset)


def _gathered(machine: PickleMachine, args: tuple[Any, ...], kind: type[set[Any]] | type[frozenset[Any]]) -> Any:
    if len(args) != 1 or type(args[0]) not in (list, tuple):
        return NotImplemented
    machine.charge(256 + _POINTER * len(args[0]))
    machine.check_keys(args[0])
    return kind(args[0])


def _encoded(machine: PickleMachine, args: tuple[Any, ...]) -> Any:
    """Bytes as protocols 0 to 2 write them."""
    if len(args) != 2 or type(args[0]) is not str or args[1] not in ("latin1", "latin-1"):
        return NotImplemented
    machine.charge(len(args[0]))
    return args[0].encode("latin-1")


def _bytes(_: PickleMachine, args: tuple[Any, ...]) -> Any:
    return NotImplemented if args else b""


def _bytearray(machine: PickleMachine, args: tuple[Any, ...]) -> Any:
    data = _encoded(machine, args) if len(args) == 2 else args[0] if len(args) == 1 else b""
    if len(args) > 2 or type(data) is not bytes:
        return NotImplemented
    machine.charge(len(data))
    return bytearray(data)


def _complex(_: PickleMachine, args: tuple[Any, ...]) -> Any:
    return complex(*args) if len(args) == 2 and all(type(part) is float for part in args) else NotImplemented


def _reconstructed(_: PickleMachine, args: tuple[Any, ...]) -> Any:
    """An object as protocols 0 and 1 write it: (class, base, what the base holds)."""
    if len(args) != 3 or not isinstance(args[0], Holder) or args[0].args is not None:
        return NotImplemented
    return Holder(args[0].module, args[0].name, () if args[2] is None else (args[2],))


PLAIN: Known = {
    ("collections", "OrderedDict"): _ordered_dict,
    ("_codecs", "encode"): _encoded,
    **{(module, "set"): _set for module in _BUILTINS},
    **{(module, "frozenset"): _frozenset for module in _BUILTINS},
    **{(module, "bytes"): _bytes for module in _BUILTINS},
    **{(module, "bytearray"): _bytearray for module in _BUILTINS},
    **{(module, "complex"): _complex for module in _BUILTINS},
    **{(module, "_reconstructor"): _reconstructed for module in ("copyreg", "copy_reg")},
}
