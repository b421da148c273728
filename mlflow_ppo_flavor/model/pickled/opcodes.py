"""Pickle's opcodes, protocols 0 to 5, each a step of our machine; as `pickletools` of the standard library has them."""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable, Mapping
from typing import Any

from mlflow_ppo_flavor.errors import CheckpointError
from mlflow_ppo_flavor.model.pickled.holder import Holder
from mlflow_ppo_flavor.model.pickled.machine import PickleMachine

# a checkpoint of a large policy takes some ten thousand
MOST_STEPS = 2_000_000
_STOP = ord(".")

Step = Callable[[PickleMachine], None]


def run(machine: PickleMachine) -> Any:
    """The value of the machine's pickle; CheckpointError for one that is broken, or out of proportion."""
    try:
        return _run(machine)
    except CheckpointError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise machine.stream.refusal(f"a broken pickle ({type(error).__name__})", "a whole one") from None


def _run(machine: PickleMachine) -> Any:
    next_byte = machine.stream.byte
    for _ in range(MOST_STEPS):
        code = next_byte()
        if code == _STOP:
            break
        step = _BY_CODE.get(code)
        if step is None:
            machine.refuse(f"the byte 0x{code:02x}, {_REFUSED.get(code, 'no opcode')}", "a plain pickle")
        step(machine)
    else:
        machine.refuse(f"more than {MOST_STEPS} steps", "a checkpoint's few")
    return machine.stack.pop()


def _push(read: Callable[[PickleMachine], Any]) -> Step:
    """The step that pushes what `read` answers."""

    def step(machine: PickleMachine) -> None:
        # first read: it may put another stack in place
        value = read(machine)
        machine.stack.append(value)

    return step


def _number(machine: PickleMachine, size: int, signed: bool = False) -> int:
    return int.from_bytes(machine.stream.read(size), "little", signed=signed)


def _sized(size: int, convert: Callable[[bytes], Any]) -> Step:
    """The step that pushes the bytes behind their length, a number of `size` bytes."""
    return _push(lambda machine: convert(machine.stream.read(_number(machine, size))))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _old_text(data: bytes) -> str | bytes:
    """Python 2's string: text where it is UTF-8, as torch reads it, else bytes."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


def _line_number(machine: PickleMachine) -> int | bool:
    text = machine.stream.line()
    if text in (b"00", b"01"):
        return text == b"01"
    if len(text) > 4_300:  # reading decimals takes time by the square
        machine.refuse(f"a number of {len(text)} digits", "a checkpoint's few")
    return int(text.removesuffix(b"L"))


def _line_text(machine: PickleMachine) -> str | bytes:
    quoted = machine.stream.line()
    if len(quoted) < 2 or quoted[:1] not in (b"'", b'"') or quoted[-1:] != quoted[:1]:
        machine.refuse("a string without quotes", "a whole pickle")
    return _old_text(codecs.escape_decode(quoted[1:-1])[0])


def _proto(machine: PickleMachine) -> None:
    protocol = machine.stream.byte()
    if protocol > 5:
        machine.refuse(f"pickle protocol {protocol}", "0 to 5")


def _pop(machine: PickleMachine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.items()


def _pop_mark(machine: PickleMachine) -> None:
    machine.items()


def _frame(machine: PickleMachine) -> None:
    machine.stream.read(8)


def _mark(machine: PickleMachine) -> None:
    machine.marks.append(machine.stack)
    machine.stack = []


def _last(count: int) -> Step:
    """The step that makes a tuple of the `count` topmost values."""

    def step(machine: PickleMachine) -> None:
        values = tuple(machine.stack[-count:])
        if len(values) != count:
            raise IndexError
        machine.stack[-count:] = [values]

    return step


def _dict(machine: PickleMachine) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    machine.put(made, machine.items())
    return made


def _set(machine: PickleMachine) -> set[Any]:
    machine.charge(256)
    return set()


def _frozenset(machine: PickleMachine) -> frozenset[Any]:
    members = machine.items()
    machine.charge(256)
    machine.check_keys(members)
    return frozenset(members)


def _two(use: Callable[[PickleMachine, Any, list[Any]], None]) -> Step:
    """The step that gives what was pushed since the mark to the value below it."""

    def step(machine: PickleMachine) -> None:
        values = machine.items()
        use(machine, machine.stack[-1], values)

    return step


def _append(machine: PickleMachine) -> None:
    value = machine.stack.pop()
    machine.extend(machine.stack[-1], [value])


def _set_item(machine: PickleMachine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    machine.put(machine.stack[-1], [key, value])


def _global(machine: PickleMachine) -> Any:
    module, name = machine.stream.line(), machine.stream.line()
    return machine.name(_text(module), _text(name))


def _stack_global(machine: PickleMachine) -> Any:
    name, module = machine.stack.pop(), machine.stack.pop()
    if type(name) is not str or type(module) is not str:
        machine.refuse("a name that isn't text", "a whole pickle")
    return machine.name(module, name)


def _reduce(machine: PickleMachine) -> Any:
    args, function = machine.stack.pop(), machine.stack.pop()
    return machine.call(function, args)


def _new_with_keywords(machine: PickleMachine) -> Any:
    keywords, args, kind = machine.stack.pop(), machine.stack.pop(), machine.stack.pop()
    made = machine.call(kind, args)
    if isinstance(made, Holder) and isinstance(keywords, dict):
        made.keywords = keywords
    return made


def _instance(machine: PickleMachine) -> Any:
    kind = _global(machine)
    return machine.call(kind, tuple(machine.items()))


def _object(machine: PickleMachine) -> Any:
    kind, *args = machine.items()
    return machine.call(kind, tuple(args))


def _get(index: Callable[[PickleMachine], int]) -> Step:
    return _push(lambda m: m.memo[index(m)])


def _put(index: Callable[[PickleMachine], int]) -> Step:
    return lambda m: m.store(index(m))


def _integer(size: int, signed: bool = False) -> Callable[[PickleMachine], int]:
    return lambda m: _number(m, size, signed)


def _byte(machine: PickleMachine) -> int:
    return machine.stream.byte()


def _long(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


# fmt: off
_STEPS: Mapping[bytes, Step] = {
    b"\x80": _proto, b"\x95": _frame,
    b"N": _push(lambda _: None), b"\x88": _push(lambda _: True), b"\x89": _push(lambda _: False),
    b"I": _push(_line_number), b"L": _push(_line_number), b"F": _push(lambda m: float(m.stream.line())),
    b"J": _push(_integer(4, signed=True)), b"K": _push(_byte), b"M": _push(_integer(2)),
    b"\x8a": _sized(1, _long), b"\x8b": _sized(4, _long),
    b"G": _push(lambda m: struct.unpack(">d", m.stream.read(8))[0]),
    b"S": _push(_line_text), b"T": _sized(4, _old_text), b"U": _sized(1, _old_text),
    b"B": _sized(4, bytes), b"C": _sized(1, bytes), b"\x8e": _sized(8, bytes), b"\x96": _sized(8, bytearray),
    b"V": _push(lambda m: m.stream.line().decode("raw-unicode-escape")),
    b"X": _sized(4, _text), b"\x8c": _sized(1, _text), b"\x8d": _sized(8, _text),
    b"]": _push(lambda _: []), b"l": _push(PickleMachine.items), b"a": _append, b"e": _two(PickleMachine.extend),
    b")": _push(lambda _: ()), b"t": _push(lambda m: tuple(m.items())),
    b"\x85": _last(1), b"\x86": _last(2), b"\x87": _last(3),
    b"}": _push(lambda _: {}), b"d": _push(_dict), b"s": _set_item, b"u": _two(PickleMachine.put),
    b"\x8f": _push(_set), b"\x90": _two(PickleMachine.add), b"\x91": _push(_frozenset),
    b"(": _mark, b"0": _pop, b"1": _pop_mark, b"2": _push(lambda m: m.stack[-1]),
    b"g": _get(_line_number), b"h": _get(_byte), b"j": _get(_integer(4)),
    b"p": _put(_line_number), b"q": _put(_byte), b"r": _put(_integer(4)), b"\x94": _put(lambda m: len(m.memo)),
    b"c": _push(_global), b"\x93": _push(_stack_global), b"i": _push(_instance), b"o": _push(_object),
    b"R": _push(_reduce), b"\x81": _push(_reduce), b"\x92": _push(_new_with_keywords), b"b": PickleMachine.build,
    b"P": _push(lambda m: m.persist(m.stream.line())), b"Q": _push(lambda m: m.persist(m.stack.pop())),
}
_BY_CODE = {code[0]: step for code, step in _STEPS.items()}
_REFUSED = {
    **dict.fromkeys((0x82, 0x83, 0x84), "a number from a registry of extensions"),
    **dict.fromkeys((0x97, 0x98), "a buffer outside of the pickle"),
}
# fmt: on
