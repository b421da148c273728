"""Holder: what stands for an object or a class of somebody else's code. It has its state and none of its behaviour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_NAMES_SHOWN = 5


class Holder:
    """A class, a function or an object of a pickle, by name: nothing of it was imported, nothing called.

    `args` is None for the class or function itself, else what it was called with (and `keywords`). `state` is what the
    object would have restored itself from, mostly its attributes by name; `appended` and `items` (pairs) are what a
    list, set or mapping of this class held. Equal to itself alone, so that it may be a key.
    """

    __slots__ = ("appended", "args", "items", "keywords", "module", "name", "state")

    def __init__(self, module: str, name: str, args: tuple[Any, ...] | None = None) -> None:
        self.module, self.name, self.args = module, name, args
        self.keywords: Mapping[Any, Any] = {}
        self.state: Any = None
        # most hold nothing: a list for each would cost more than the holder
        self.appended: Sequence[Any] = ()
        self.items: Sequence[tuple[Any, Any]] = ()

    @property
    def path(self) -> str:
        """Module and name: `acme.config.TrainingConfig`."""
        return f"{self.module}.{self.name}"

    @property
    def members(self) -> tuple[Any, ...]:
        """The containers of everything that it holds: what a search has to go through."""
        state = () if self.state is None else (self.state,)
        return tuple(held for held in (self.args, self.keywords, state, self.appended, self.items) if held)

    def append(self, values: Sequence[Any]) -> None:
        """Add what a list or set of this class would have taken in."""
        if not isinstance(self.appended, list):
            self.appended = []
        self.appended.extend(values)

    def put(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        """Add what a mapping of this class would have taken in."""
        if not isinstance(self.items, list):
            self.items = []
        self.items.extend(pairs)

    def __repr__(self) -> str:
        kind = "object" if self.args is not None else "name"
        names = [str(name)[:40] for name in plain_state(self)]
        shown = ", ".join(names[:_NAMES_SHOWN]) + (", …" if len(names) > _NAMES_SHOWN else "")
        return f"<{kind} {self.path[:200]}{f' with {shown}' if names else ''}>"


def plain_state(value: object) -> dict[str, Any]:
    """What an object has by name: a holder's attributes, those in slots too, then its items; a mapping's own entries.

    One level, only names that are strings; empty for everything else. What is below may again be Holders.
    """
    if isinstance(value, Mapping):
        return {key: member for key, member in value.items() if isinstance(key, str)}
    if not isinstance(value, Holder):
        return {}
    # an object with slots is pickled as (its __dict__ or None, {slot: value})
    parts = value.state if isinstance(value.state, tuple) else (value.state,)
    found = {
        key: member for part in parts[:2] if isinstance(part, Mapping) for key, member in plain_state(part).items()
    }
    return found | {key: member for key, member in value.items if isinstance(key, str)}


def shown_kind(value: object) -> str:
    """What a value is, for a message: `a list`, `an object of acme.config.Config`, `the name acme.config.Config`."""
    if isinstance(value, Holder):
        return f"{'the name' if value.args is None else 'an object of'} {value.path[:200]}"
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
