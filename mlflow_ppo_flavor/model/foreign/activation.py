"""Which activation a foreign network has, by what a file readably says or the user does: it is never guessed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.model.architecture import ACTIVATIONS
from mlflow_ppo_flavor.model.foreign.fault import ONNX, fault
from mlflow_ppo_flavor.model.inert import Holder
from mlflow_ppo_flavor.model.pickled.contents import DEEPEST

_TORCH = "torch.nn.modules.activation"
_OPTION = "--activation"
_CHOICES = ", ".join(ACTIVATIONS)
_WORD, _ENDING = r"(?:activations?|nonlinearity)", r"(?:_(?:fn|function|func|name|type))?"
_KEY = re.compile(r"(?:(?!output|out|final|last)[a-z]+_)*" + _WORD + _ENDING)
_LAST_KEY = re.compile(r"(?:[a-z]+_)*(?:output|out|final|last)_(?:[a-z]+_)*" + _WORD + _ENDING)
_OPTIONS_KEY = re.compile(rf"(?:[a-z]+_)*{_WORD}_(?:kwargs|args|params|parameters|options|config)")
_CLASS = re.compile(r"<class 'torch\.nn\.modules\.\w+\.(\w+)'>")
# behind the last layer: logits stay logits, or become probabilities of the same actions
_HARMLESS = ("", "none", "identity", "linear", "softmax", "logsoftmax")
_SPELLED = {name.replace("_", ""): name for name in ACTIVATIONS} | {"swish": "silu"}
# what torch's classes have where nothing else was asked for
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "elu": {"alpha": 1.0},
    "leaky_relu": {"negative_slope": 0.01},
    "gelu": {"approximate": "none"},
    "softplus": {"beta": 1.0, "threshold": 20.0},
    "hardtanh": {"min_val": -1.0, "max_val": 1.0},
}
# how configs call these parameters where they stand beside the activation's name
_BESIDE: Mapping[str, Mapping[str, float]] = {
    "leaky_relu": dict.fromkeys(("negative_slope", "leaky_relu_slope", "leaky_slope", "leaky_relu_alpha"), 0.01),
    "elu": {"elu_alpha": 1.0},
    "softplus": {"softplus_beta": 1.0, "softplus_threshold": 20.0},
    "hardtanh": {"hardtanh_min_val": -1.0, "hardtanh_max_val": 1.0},
}
_LONGEST_PLACE, _LONGEST_KEY = 200, 100
_NESTING = (Mapping, list, tuple, Holder)


@dataclass(frozen=True, slots=True)
class Mention:
    """A place in a file that speaks of the activation: its name here, "" for one that we don't have, or None where it
    can't be read what it is (code, a class of the file's own). `only` is the activation that an unusual parameter is
    of: it matters where that is chosen.
    """

    place: str
    text: str
    name: str | None
    only: str = ""


def chosen(mentions: Sequence[Mention], given: str | None, place: str) -> tuple[str, list[Finding]]:
    """The activation that mentions and the user's choice (`--activation`) agree on, and what is wrong.

    "" with a finding where nobody tells, where a mention is of one that we don't have, and where two differ.
    """
    named = {mention.name for mention in mentions if not mention.only} | {given}
    mentions = [mention for mention in mentions if not mention.only or mention.only in named]
    names = {mention.name for mention in mentions if mention.name is not None} | ({given} if given else set())
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
    """Every mention in inert values, at any depth that can be read: keys such as activation or activation_fn,
    parameters beside them, and torch's activations anywhere.
    """
    return tuple(_Walk().mentions(_Spot(value, place)))


@dataclass(frozen=True, slots=True)
class _Spot:
    """A value, where it stands, and what its key says: that it is an activation, the last layer's, its options."""

    value: object
    place: str
    key: str = ""
    named: bool = False
    last: bool = False
    options: bool = False
    depth: int = 0

    def below(self) -> Iterator[_Spot]:
        """What it holds, by key. Objects begin anew: they may be in each other."""
        depth = 0 if isinstance(self.value, Holder) else self.depth + 1
        options = self.named or _OPTIONS_KEY.fullmatch(self.key) is not None
        listed = isinstance(self.value, list | tuple)
        for name, member in _members(self.value):
            key = name.lower() if isinstance(name, str) and len(name) <= _LONGEST_KEY else ""
            yield _Spot(
                value=member,
                place=parsing.join(self.place, str(name)[:_LONGEST_KEY])[-_LONGEST_PLACE:],
                key=key,
                named=_KEY.fullmatch(key) is not None or (self.named and listed),
                last=_LAST_KEY.fullmatch(key) is not None or (self.last and listed),
                options=options,
                depth=depth,
            )


@dataclass
class _Walk:
    """Goes through nested values once, which the reader has bounded; through an object's once, wherever it is."""

    seen: set[int] = field(default_factory=set)

    def mentions(self, start: _Spot) -> Iterator[Mention]:
        levels = [iter([start])]
        while levels:
            spot = next(levels[-1], None)
            if spot is None:
                levels.pop()
                continue
            mention = _mention(spot)
            if mention is not None:
                yield mention
            elif isinstance(spot.value, _NESTING) and self._is_new(spot):
                levels.append(spot.below())

    def _is_new(self, spot: _Spot) -> bool:
        if not isinstance(spot.value, Holder):
            return spot.depth <= DEEPEST
        new = id(spot.value) not in self.seen
        self.seen.add(id(spot.value))
        return new


def _mention(spot: _Spot) -> Mention | None:
    """What a value says itself; None where only what it holds may."""
    value, place = spot.value, spot.place
    if spot.last:
        return _of_last(spot)
    if spot.named and isinstance(value, str):
        return of_text(place, value)
    if isinstance(value, Holder) and (spot.named or value.module == _TORCH or _is_bound(value)):
        return _of_holder(place, value)
    return _of_parameter(spot)


def _of_last(spot: _Spot) -> Mention | None:
    """An activation behind the last layer: our heads have none there."""
    value = spot.value
    if isinstance(value, Holder):
        said, shown = value.name, value.path
    elif isinstance(value, str):
        said, shown = value.removesuffix("()").rpartition(".")[2], parsing.show(value)
    else:
        return None
    harmless = said.lower().replace("_", "") in _HARMLESS
    return None if harmless else Mention(spot.place, f"{shown} behind the last layer", "")


def _of_parameter(spot: _Spot) -> Mention | None:
    """A parameter beside an activation's name, other than torch's default."""
    if isinstance(spot.value, bool) or not isinstance(spot.value, int | float | str | np.number):
        return None
    for name, defaults in _DEFAULTS.items():
        told = {**_BESIDE.get(name, {}), **(defaults if spot.options else {})}
        if spot.key in told and spot.value != told[spot.key]:
            return Mention(spot.place, parsing.show(spot.value), "", only=name)
    return None


def _is_bound(held: Holder) -> bool:
    """Whether it is functools.partial of one of torch's activations."""
    given = held.args or ()
    return held.path == "functools.partial" and any(isinstance(x, Holder) and x.module == _TORCH for x in given)


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
