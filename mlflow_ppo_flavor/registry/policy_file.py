"""The policy's file: YAML, read whole within bounds or refused with the file and the dotted path of what is wrong."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.mlmodel import check_events, check_values
from mlflow_ppo_flavor.errors import SpecError
from mlflow_ppo_flavor.registry.policy import Policy

POLICY_FILE_VARIABLE = "MLFLOW_PPO_POLICY_FILE"
MOST_BYTES = 1024 * 1024
_INTEGER = "tag:yaml.org,2002:int"
# YAML 1.1 reads 010 as 8 and 1:30 as 90, YAML 1.2 as 10 and as a text
_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")


def policy_from_environment() -> Policy:
    """The policy of the file that MLFLOW_PPO_POLICY_FILE names; the default one where it names none.

    SpecError for a file that can't be read: a gate that was given a policy never rules by another.
    """
    named = os.environ.get(POLICY_FILE_VARIABLE, "")
    return read_policy(named) if named else Policy()


def read_policy(path: str | Path) -> Policy:
    """The policy in a YAML file; SpecError for a file that can't be read, and for what no policy says."""
    place = str(path)
    try:
        with Path(path).open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise SpecError(place, f"no file that can be read ({error.strerror})", "a policy (YAML)") from error
    if len(data) > MOST_BYTES:
        raise SpecError(place, f"more than {MOST_BYTES} bytes", "a policy's few hundred")
    try:
        loaded = _load(data)
        return Policy.from_dict(loaded)
    except SpecError as error:
        raise SpecError(f"{place}: {error.path}", error.found, error.expected, error.remedy) from error


def _load(data: bytes) -> Any:
    """What the document says; SpecError for no YAML, for more than a policy holds, for a key that stands twice, and for
    a number that isn't plain.
    """
    kind = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        check_events(yaml.parse(data, Loader=kind), "policy")
        loader = kind(data)
        try:
            node = loader.get_single_node()
            _check_nodes(node)
            loaded = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except SpecError:
        raise
    # yaml's own errors, and what Python's dates and integers refuse
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise SpecError("policy", f"no YAML ({parsing.told(error)})", "a mapping of policy keys") from error
    check_values(loaded, "policy")
    return loaded


def _check_nodes(root: yaml.Node | None) -> None:
    """Refuse a key that stands twice in one mapping, since YAML would let the last one win without a word, and whole
    numbers that readers of YAML read differently.
    """
    waiting, seen = [(root, "")], set()
    while waiting:
        node, path = waiting.pop()
        # an alias leads to a node a second time
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            _check_number(node, path)
        elif isinstance(node, yaml.SequenceNode):
            waiting.extend((each, f"{path}[{i}]") for i, each in enumerate(node.value))
        elif isinstance(node, yaml.MappingNode):
            waiting.extend(_members(node, path))


def _members(node: yaml.MappingNode, path: str) -> list[tuple[yaml.Node, str]]:
    members, keys = [], set()
    for key, value in node.value:
        written = str(key.value)
        where = parsing.join(path, parsing.show_key(written))
        if isinstance(key, yaml.ScalarNode):
            _check_number(key, where)
            if (key.tag, written) in keys:
                raise SpecError(where, f"a second time, on line {key.start_mark.line + 1}", "each key once")
        keys.add((key.tag, written))
        members.append((value, where))
    return members


def _check_number(node: yaml.ScalarNode, path: str) -> None:
    if node.tag == _INTEGER and not _DECIMAL.fullmatch(node.value):
        expected, remedy = "a whole number in plain decimal digits", "write it so, or in quotes where a text is meant"
        raise SpecError(path or "policy", parsing.show(node.value), expected, remedy)
