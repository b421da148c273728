"""The bounds within which an MLmodel is read: no small file crashes a process, or fills its memory or time. Pure.

YAML is loaded by recursion in C, and its aliases, merge keys and base-60 numbers unfold. So both readers of an MLmodel,
the registry's and the trader's, walk its events first, which needs no recursion: `check_events(yaml.parse(…), path)`;
then they load it; then `check_values` counts what the aliases have unfolded to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mlflow_ppo_flavor.errors import SpecError

# A logged model has a few kilobytes, nests 7 deep, and has about 300 values, keys counted.
MOST_BYTES = 4 * 1024 * 1024
DEEPEST = 64
MOST_VALUES = 100_000
LONGEST_NUMBER = 1_000
_NUMERALS = "0123456789+-.:_"
_MERGE = "tag:yaml.org,2002:merge"


def check_events(events: Iterable[object], path: str) -> None:
    """Refuse a YAML document that is too deep, too large, or unfolds while it is loaded; SpecError says which.

    `events` are those of `yaml.parse`, taken one by one: what is refused isn't read to its end.
    """
    depth = seen = 0
    for event in events:
        kind = type(event).__name__
        # two levels are the stream's and the document's own
        depth += kind.endswith("StartEvent") - kind.endswith("EndEvent")
        if depth > DEEPEST + 2:
            raise SpecError(path, f"values nested more than {DEEPEST} deep", "a model's handful of levels")
        seen += not kind.endswith("EndEvent")
        if seen > MOST_VALUES:
            raise _too_many(path)
        if kind == "ScalarEvent":
            _check_scalar(event, path)


def check_values(value: object, path: str) -> None:
    """Refuse a loaded value of more than MOST_VALUES values, counted as JSON would write them out; SpecError."""
    room, waiting = MOST_VALUES, [value]
    while waiting:
        room -= 1
        if room < 0:
            raise _too_many(path)
        node = waiting.pop()
        if isinstance(node, Mapping):
            waiting.extend(node.values())
        elif isinstance(node, list | tuple | set):
            waiting.extend(node)


def _check_scalar(event: object, path: str) -> None:
    text, style, tag = (getattr(event, key, None) or "" for key in ("value", "style", "tag"))
    if (text == "<<" and not style) or tag == _MERGE:
        raise SpecError(path, "a merge key (<<)", "every value written out")
    # a quoted text is no number, unless its tag says so
    if (tag or not style) and len(text) > LONGEST_NUMBER and not text[: LONGEST_NUMBER + 1].strip(_NUMERALS):
        raise SpecError(path, f"a number of more than {LONGEST_NUMBER} digits", "a model's ordinary numbers")


def _too_many(path: str) -> SpecError:
    return SpecError(path, f"more than {MOST_VALUES} values", "a model's few hundred")
