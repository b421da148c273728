"""What a file may hold in memory: few levels, no unfolding without end, no tensor of more numbers than are stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.model.pickled.holder import Holder
from mlflow_ppo_flavor.model.pickled.refusal import unreadable

# the deepest of this protocol, an optimizer's state, nests 4 deep and has some thousand values
DEEPEST, MOST_VALUES = 32, 4_000_000
_NESTING = (dict, list, tuple, set, frozenset)
_LONGEST_PLACE = 80
# save_checkpoint counts from each of the checkpoint's keys: below the beginning and the checkpoint itself
_DEEPEST_LEVELS = DEEPEST + 3

# a container's place, what is left of its members with their keys or indexes, and whether these are keys
Level = tuple[str, Iterator[tuple[Any, Any]], bool]


def check_contents(content: Any, source: str) -> None:
    """CheckpointError, with `source` and the dotted place, for what nests too deep, unfolds without end, or claims more
    than it stores.

    A Holder is gone through once, as a beginning of its own: objects may well refer to each other in circles.
    """
    walk = _Walk(source)
    walk.go_through(("", iter([("", content)]), True))
    while walk.waiting:
        place, holder = walk.waiting.pop()
        for member in holder.members:
            walk.go_through(_level(place, member))


class _Walk:
    """One way through everything, with what is left of its length. `waiting` are holders that it came across."""

    def __init__(self, source: str) -> None:
        self._source, self._room, self._seen = source, MOST_VALUES, set[int]()
        self.waiting: list[tuple[str, Holder]] = []

    def go_through(self, level: Level) -> None:
        """Look at the members of a container and all below, up to holders."""
        levels = [level]
        while levels:
            place, members, keyed = levels[-1]
            below = self._next_container(place, members, keyed)
            if below is None:
                levels.pop()
                continue
            levels.append(below)
            if len(levels) > _DEEPEST_LEVELS:
                raise unreadable(f"{self._source}: {below[0]}", f"more than {DEEPEST} levels", "a checkpoint's few")

    def _next_container(self, place: str, members: Iterator[tuple[Any, Any]], keyed: bool) -> Level | None:
        """The next container among the members, what comes before it looked at; None at their end."""
        for key, value in members:
            self._room -= 1
            if self._room < 0:
                found = f"more than {MOST_VALUES} values"
                raise unreadable(f"{self._source}: {_below(place, key, keyed)}", found, "a checkpoint's few")
            if isinstance(value, _NESTING):
                return _level(_below(place, key, keyed), value)
            if isinstance(value, torch.Tensor):
                _check_stored(value, f"{self._source}: {_below(place, key, keyed)}")
            elif isinstance(value, Holder) and id(value) not in self._seen:
                self._seen.add(id(value))
                self.waiting.append((_below(place, key, keyed), value))
        return None


def _level(place: str, value: Any) -> Level:
    """A container's members; a mapping's keys don't nest."""
    keyed = isinstance(value, dict)
    return place, iter(value.items() if keyed else enumerate(value)), keyed


def _below(place: str, key: Any, keyed: bool) -> str:
    name = str(key)[:_LONGEST_PLACE] if isinstance(key, str | int) else "?"
    return (parsing.join(place, name) if keyed else f"{place}[{name}]")[:_LONGEST_PLACE]


def _check_stored(tensor: torch.Tensor, place: str) -> None:
    """Refuse a tensor without numbers of its own: a small file may claim an enormous one."""
    dense = not tensor.is_nested and not tensor.is_meta and tensor.layout == torch.strided
    if not dense or tensor.nbytes > tensor.untyped_storage().nbytes():
        raise unreadable(place, "a tensor that isn't stored whole", "a dense one")
