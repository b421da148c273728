"""Names of foreign weights: without wrappers' prefixes, renamed as the user says, and the part that each belongs to."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.model.foreign.fault import fault

TRUNK, ACTOR, CRITIC = "trunk", "actor", "critic"
_WORDS: Mapping[str, frozenset[str]] = {
    ACTOR: frozenset({"actor", "pi", "policy", "action", "actions", "logit", "logits"}),
    CRITIC: frozenset({"critic", "vf", "v", "value", "values"}),
    TRUNK: frozenset({"trunk", "shared"}),
}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_COMPILED, _PARALLEL = "_orig_mod", "module"


def plain_name(name: str) -> str:
    """A weight's name without what torch.compile and DataParallel put into it."""
    parts = [part for part in name.split(".") if part != _COMPILED]
    return ".".join(parts[1:] if parts[0] == _PARALLEL and len(parts) > 2 else parts)


def renamed(
    weights: Iterable[tuple[str, Any]], rules: Sequence[tuple[str, str]]
) -> tuple[dict[str, Any], list[Finding]]:
    """Named weights under plain names, renamed by the rules (old, new): a whole name, or one that others begin with up
    to a point. The first rule that fits decides. A rule that fits nothing, and two weights of one name, are findings.
    """
    findings, unused, found, names = [], dict(rules), dict[str, Any](), []
    for name, tensor in weights:
        plain = plain_name(name)
        names.append(plain)
        old, new = next(((o, n) for o, n in rules if plain == o or plain.startswith(f"{o}.")), ("", ""))
        target = new + plain.removeprefix(old) if old else plain
        unused.pop(old, None)
        if target in found:
            remedy = "give each layer a name of its own"
            findings.append(fault(f"policy_state_dict.{name}", f"a second weight {target}", "each name once", remedy))
        found[target] = tensor
    for old, new in unused.items():
        known = ", ".join(names) or "nothing"
        expected = "the name of a weight or layer, or what names begin with up to a point"
        findings.append(fault(f"--map {old}={new}", "no such weight", expected, f"the weights are {known}"))
    return found, findings


def parts_of(names: Collection[str]) -> dict[str, frozenset[str]]:
    """{layer's name: the parts that it speaks of}; what all names begin with tells nothing.

    Words of both heads in one word of the path (`actor_critic`) tell nothing either; `trunk` counts where no head does.
    """
    paths = {name: name.split(".") for name in names}
    while len(paths) > 1 and min(map(len, paths.values())) > 1 and len({path[0] for path in paths.values()}) == 1:
        paths = {name: path[1:] for name, path in paths.items()}
    return {name: _spoken(path) for name, path in paths.items()}


def series_of(name: str) -> tuple[str, tuple[tuple[int, str], ...]]:
    """A name's series and its place there: `layers.2.linear` is 2 of `layers.#.linear`. Numbers are compared by their
    digits: Python makes none of thousands.
    """
    digits = (found.lstrip("0") for found in re.findall(r"[0-9]+", name))
    return re.sub(r"[0-9]+", "#", name), tuple((len(number), number) for number in digits)


def _spoken(path: Sequence[str]) -> frozenset[str]:
    """The parts that a path's words speak of."""
    spoken = set()
    for member in path:
        words = {word.lower() for word in _WORD.findall(member)}
        heads = {part for part in (ACTOR, CRITIC) if words & _WORDS[part]}
        spoken |= heads if len(heads) == 1 else {TRUNK} if words & _WORDS[TRUNK] else set()
    return frozenset(spoken - {TRUNK} or spoken)
