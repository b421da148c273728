"""Which activation a foreign network has, by what a file readably says or the user does: it is never guessed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.model.architecture import ACTIVATIONS
from mlflow_ppo_flavor.model.foreign.fault import ONNX, fault
from mlflow_ppo_flavor.model.inert import Holder

_TORCH = "torch.nn.modules.activation"
_OPTION = "--activation"
_CHOICES = ", ".join(ACTIVATIONS)
_KEY = re.compile(
    r"(?:(?!output|out|final|last)[a-z]+_)*(?:activation|nonlinearity)(?:_(?:fn|function|func|name|type))?"
)
_CLASS = re.compile(rf"<class '{re.escape(_TORCH)}\.(\w+)'>")
_SPELLED = {name.replace("_", ""): name for name in ACTIVATIONS} | {"swish": "silu"}
# what torch's classes have where nothing else was asked for
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "elu": {"alpha": 1.0},
    "leaky_relu": {"negative_slope": 0.01},
    "gelu": {"approximate": "none"},
    "softplus": {"beta": 1.0, "threshold": 20.0},
    "hardtanh": {"min_val": -1.0, "max_val": 1.0},
}
_DEEPEST, _MOST_VALUES = 8, 10_000


@dataclass(frozen=True, slots=True)
class Mention:
    """A place in a file that speaks of the activation: its name here, "" for one that we don't have, or None where it
    can't be read what it is (code, a class of the file's own).
    """

    place: str
    text: str
    name: str | None


def chosen(mentions: Sequence[Mention], given: str | None, place: str) -> tuple[str, list[Finding]]:
    """The activation that mentions and the user's choice (`--activation`) agree on, and what is wrong.

    "" with a finding where nobody tells, where a mention is of one that we don't have, and where two differ.
    """
    readable = [mention for mention in mentions if mention.name is not None]
    names = {mention.name for mention in readable} | ({given} if given else set())
    told = ", ".join(f"{mention.place}: {mention.text}" for mention in mentions)
    if "" in names:
        return "", [fault(place, told, f"one of {_CHOICES}, with torch's defaults", ONNX)]
    if len(names) > 1:
        found = f"{told}, and {_OPTION} {given}" if given else told
        return "", [fault(place, found, "one activation", f"leave {_OPTION} out, or {ONNX}")]
    if not names:
        remedy = f"say it: {_OPTION} {'|'.join(ACTIVATIONS)}: it can't be told from weights"
        return "", [fault(place, told or "nothing", "a readable activation", remedy)]
    return str(next(iter(names))), []


def of_text(place: str, text: str) -> Mention:
    """What a text says: `tanh`, `nn.ReLU`, `<class 'torch.nn.modules.activation.ELU'>`. Code can't be read."""
    match = _CLASS.fullmatch(text)
    if match is None and text.startswith("<"):
        return Mention(place, parsing.show(text), None)
    word = match[1] if match else text.removesuffix("()").rpartition(".")[2]
    return Mention(place, parsing.show(text), _SPELLED.get(word.lower().replace("_", ""), ""))


def find_mentions(value: object, place: str = "") -> tuple[Mention, ...]:
    """Every mention in inert values: keys such as activation or activation_fn, and torch's activations anywhere."""
    return tuple(_Walk().mentions(value, place, named=False, deeper=_DEEPEST))


@dataclass
class _Walk:
    """Goes through nested values, with a bound on how many."""

    values: int = 0

    def mentions(self, value: object, place: str, *, named: bool, deeper: int) -> Iterator[Mention]:
        self.values += 1
        if deeper < 0 or self.values > _MOST_VALUES:
            return
        if named and isinstance(value, str):
            yield of_text(place, value)
        elif isinstance(value, Holder) and (named or value.module == _TORCH):
            yield _of_holder(place, value)
        else:
            for key, member in _members(value):
                is_key = isinstance(key, str) and _KEY.fullmatch(key.lower()) is not None
                below = parsing.join(place, str(key))
                yield from self.mentions(member, below, named=is_key, deeper=deeper - 1)


def _members(value: object) -> Iterator[tuple[object, object]]:
    """What a mapping, a sequence or a holder holds, by key."""
    if isinstance(value, Holder):
        yield from value.items
        yield from _members(value.state)
    elif isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, list | tuple):
        yield from enumerate(value)


def _of_holder(place: str, held: Holder) -> Mention:
    """What a class or an object says: torch's own with torch's defaults, or an enumeration's text."""
    if held.args is not None and len(held.args) == 1 and isinstance(held.args[0], str):
        return of_text(place, held.args[0])
    if held.module == "functools":
        return Mention(place, held.path, "")
    if held.module.partition(".")[0] != "torch":
        return Mention(place, held.path, None)
    name = _SPELLED.get(held.name.lower().replace("_", ""), "")
    state, owed = held.state if isinstance(held.state, Mapping) else {}, _DEFAULTS.get(name, {})
    unusual = [f"{key}={parsing.show(state[key])}" for key in owed if key in state and state[key] != owed[key]]
    return Mention(place, f"{held.path}({', '.join(unusual)})", "") if unusual else Mention(place, held.path, name)
