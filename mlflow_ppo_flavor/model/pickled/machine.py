"""An own pickle machine: what pickle's opcodes do, without their power. Nothing is imported, nothing called.

A name becomes a Holder; a call of it becomes a Holder with its arguments, unless the name is one of a short table whose
values own code builds. Memory and the hashing of keys are bounded, whatever the bytes say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import torch

from mlflow_ppo_flavor.model.pickled.holder import Holder
from mlflow_ppo_flavor.model.pickled.stream import PickleStream

# what values may take beyond four times the bytes that describe them
_SPARE_BYTES = 2**26
# Python's hashes of numbers aren't secret: chosen ones all collide, and a dict of them takes time by the square
_MOST_KEY_COST, _NUMBER_COST, _TUPLE_COST, _LARGEST_TUPLE = 50_000, 1, 16, 64

Known = Mapping[tuple[str, str], Callable[["PickleMachine", tuple[Any, ...]], Any]]


class Pending(Holder):
    """A value whose state comes later: `finish(pending, state, machine)` answers the value, or the pending itself."""

    __slots__ = ("finish", "places")

    def __init__(
        self, module: str, name: str, args: tuple[Any, ...], finish: Callable[[Pending, Any, PickleMachine], Any]
    ) -> None:
        super().__init__(module, name, args)
        self.finish, self.places = finish, list[int]()


class PickleMachine:
    """The state of one run over one pickle, and what opcodes may do to it.

    `known` builds the values of names: each takes the machine and the arguments, and answers NotImplemented for those
    that it doesn't know. `constants` are the values of names themselves. `persistent` answers for persistent ids.
    """

    def __init__(
        self,
        stream: PickleStream,
        known: Known,
        constants: Mapping[tuple[str, str], Any],
        persistent: Callable[[PickleMachine, Any], Any] | None = None,
    ) -> None:
        self.stream, self._known, self._constants, self._persistent = stream, known, constants, persistent
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self._names: dict[tuple[str, str], Any] = {}
        self._room = _SPARE_BYTES + 4 * stream.left
        self._key_cost = 0

    def refuse(self, found: str, expected: str) -> NoReturn:
        """Raise CheckpointError for what was found."""
        raise self.stream.refusal(found, expected)

    def charge(self, count: int) -> None:
        """Take room for a value of `count` bytes that the pickle doesn't hold itself, or more than once."""
        self._room -= count
        if self._room < 0:
            self.refuse("values that unfold to many times its size", "a checkpoint's few")

    def items(self) -> list[Any]:
        """What was pushed since the last mark, taken off."""
        items, self.stack = self.stack, self.marks.pop()
        return items

    def name(self, module: str, name: str) -> Any:
        """The value of a name: always the same Holder for the same name, or a constant."""
        key = (module, name)
        if key not in self._names:
            constant = self._constants.get(key)
            self._names[key] = Holder(module, name) if constant is None else constant
        return self._names[key]

    def call(self, function: Any, args: Any) -> Any:
        """What stands for `function(*args)`."""
        if not isinstance(function, Holder) or type(args) is not tuple:
            self.refuse(f"a call of a {type(function).__name__}", "one of a name with a tuple of arguments")
        if function.args is not None:
            return Holder(function.module, function.name, (function, args))
        build = self._known.get((function.module, function.name))
        value = NotImplemented if build is None else build(self, args)
        return Holder(function.module, function.name, args) if value is NotImplemented else value

    def persist(self, identifier: Any) -> Any:
        """The value of a persistent id."""
        if self._persistent is None:
            self.refuse("a persistent id", "a pickle that stands alone")
        return self._persistent(self, identifier)

    def store(self, index: int) -> None:
        """Keep the topmost value in the memo."""
        value = self.stack[-1]
        self.memo[index] = value
        if isinstance(value, Pending):
            value.places.append(index)

    def build(self) -> None:
        """Give the topmost value but one its state."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Pending):
            self.stack[-1] = value = target.finish(target, state, self)
            for place in target.places:
                if self.memo[place] is target:
                    self.memo[place] = value
        elif isinstance(target, Holder):
            target.state = state
        elif not isinstance(target, dict):  # an OrderedDict's attributes say nothing
            self.refuse(f"a state for a {type(target).__name__}", "one for an object")

    def extend(self, target: Any, values: Sequence[Any]) -> None:
        """Append to a list, or to what stands for one."""
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, Holder):
            target.append(values)
        else:
            self.refuse(f"members for a {type(target).__name__}", "a list")

    def put(self, target: Any, flat: Sequence[Any]) -> None:
        """Set items, given as key, value, key, value…"""
        pairs = zip(flat[::2], flat[1::2], strict=True)
        if isinstance(target, dict):
            self.check_keys(flat[::2])
            target.update(pairs)
        elif isinstance(target, Holder):
            target.put(pairs)
        else:
            self.refuse(f"items for a {type(target).__name__}", "a dict")

    def add(self, target: Any, values: Sequence[Any]) -> None:
        """Add to a set, or to what stands for one."""
        if isinstance(target, set):
            self.check_keys(values)
            target.update(values)
        else:
            self.extend(target, values)

    def check_keys(self, keys: Iterable[Any]) -> None:
        """Refuse keys that can't be hashed, whose hashing has no end, and too many whose hashes anybody can choose."""
        for key in keys:
            kind = type(key)
            if kind is str or kind is bytes or isinstance(key, Holder | torch.Tensor) or key is None:
                continue
            self._key_cost += self._cost_of_key(key)
            if self._key_cost > _MOST_KEY_COST:
                self.refuse("many thousands of keys that are numbers or tuples", "a checkpoint's few")

    def _cost_of_key(self, key: Any) -> int:
        if type(key) not in (tuple, frozenset):
            return self._cost_of_number(key)
        waiting, seen = [key], 0
        while waiting:
            member = waiting.pop()
            seen += 1
            if seen > _LARGEST_TUPLE or (type(member) in (tuple, frozenset) and len(member) > _LARGEST_TUPLE):
                self.refuse("a tuple of many members as a key", "a checkpoint's keys")
            if type(member) in (tuple, frozenset):
                waiting.extend(member)
            elif not isinstance(member, str | bytes | Holder | None):
                self._cost_of_number(member)
        return _TUPLE_COST

    def _cost_of_number(self, key: Any) -> int:
        if isinstance(key, int) and not -(2**63) <= key < 2**64:
            self.refuse("a whole number of more than 64 bits as a key", "a checkpoint's keys")
        if not isinstance(key, bool | int | float | np.integer | np.floating | np.bool_):
            self.refuse(f"a key of type {type(key).__name__}", "a checkpoint's keys")
        return _NUMBER_COST
