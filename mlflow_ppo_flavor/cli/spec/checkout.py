"""A checkout of this package as `spec bump` edits it: releases.py and the changelog, as texts."""

from __future__ import annotations

import ast
import json
import re
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.util import module_from_spec, spec_from_file_location
from itertools import accumulate
from pathlib import Path
from types import ModuleType

from mlflow_ppo_flavor.contract.releases import (
    CURRENT_MODEL_VERSION,
    CURRENT_TRADER_VERSION,
    MODEL_SPECS,
    MODEL_TRADER_COMPATIBILITY,
)
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.errors import LockError

RELEASES = Path("mlflow_ppo_flavor", "contract", "releases.py")
CHANGELOG = Path("CHANGELOG.md")
_UNRELEASED = re.compile(r"^## .*(?:not released|unreleased).*$", re.IGNORECASE | re.MULTILINE)
_WIDTH = 120
Edit = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a bump changes: the current versions after it; for a new model version also its spec."""

    model_version: str
    trader_version: str
    spec: ModelSpec | None = None

    @property
    def lowest_trader(self) -> str:
        """The lowest trader version that the new model version needs."""
        return (self.spec and self.spec.min_trader_version) or ""

    @property
    def specs(self) -> Mapping[str, ModelSpec]:
        """The released specs after it."""
        return dict(MODEL_SPECS) | ({} if self.spec is None else {self.spec.version: self.spec})

    @property
    def matrix(self) -> Mapping[str, str]:
        """The compatibility matrix after it."""
        return dict(MODEL_TRADER_COMPATIBILITY) | ({} if self.spec is None else {self.spec.version: self.lowest_trader})

    @property
    def line(self) -> str:
        """Its line in the changelog."""
        if self.spec is None:
            return f"Trader version {self.trader_version}."
        why = f": {self.spec.breaking_changes}" if self.spec.breaking_changes else ""
        needs = f", for traders from {self.lowest_trader} on"
        new_trader = f" Trader version {self.trader_version}." if self.trader_version != CURRENT_TRADER_VERSION else ""
        return f"Model version {self.model_version}{needs}{why}.{new_trader}"


def bumped_releases(source: str, plan: Plan) -> str:
    """releases.py after the bump, proven by running it apart from everything; LockError where it isn't as expected."""
    try:
        edits = sorted(_edits(ast.parse(source), source, plan))
    except SyntaxError as error:
        raise _unknown(f"a file that Python can't read (line {error.lineno})", "one that it can") from None
    data = source.encode()
    for start, end, text in reversed(edits):
        data = data[:start] + text.encode() + data[end:]
    edited = data.decode()
    _prove(edited, plan)
    return edited


def bumped_changelog(text: str, plan: Plan) -> str:
    """The changelog with the bump's line under `### Changed` of its unreleased heading; LockError without one."""
    heading = _UNRELEASED.search(text)
    if heading is None:
        expected = "one, such as '## 1.1.0 (not released)' or '## [Unreleased]': write it"
        raise LockError(f"{CHANGELOG}: found no heading of what isn't released yet, expected {expected}")
    following = re.search(r"^## ", text[heading.end() :], re.MULTILINE)
    end = heading.end() + following.start() if following else len(text)
    before, block, after = text[: heading.end()], text[heading.end() : end], text[end:]
    line = textwrap.fill(plan.line, _WIDTH - 2, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)
    changed = re.search(r"^### Changed\n(?:(?!### ).*\n?)*", block, re.MULTILINE)
    if changed:
        place = len(block[: changed.end()].rstrip())
        block = f"{block[:place]}\n{line}{block[place:]}"
    else:
        block = f"{block.rstrip()}\n\n### Changed\n{line}\n" + ("\n" if after else "")
    return before + block + after


def _edits(tree: ast.Module, source: str, plan: Plan) -> Iterator[Edit]:
    values = {name: value for node in tree.body for name, value in _assigned(node)}
    lines = [0, *accumulate(map(len, source.encode().splitlines(keepends=True)))]

    def span(node: ast.expr) -> tuple[int, int]:
        return lines[node.lineno - 1] + node.col_offset, lines[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)

    for name, old, new in (
        ("CURRENT_MODEL_VERSION", CURRENT_MODEL_VERSION, plan.model_version),
        ("CURRENT_TRADER_VERSION", CURRENT_TRADER_VERSION, plan.trader_version),
    ):
        value = values.get(name)
        if not isinstance(value, ast.Constant) or value.value != old:
            raise _unknown(f"no {name} = {old!r}", "the literal of the code that runs")
        yield *span(value), _literal(new)
    if plan.spec is not None:
        entry = _matrix_entry(values.get("MODEL_TRADER_COMPATIBILITY"))
        indent = " " * 8
        yield (
            span(entry)[1],
            span(entry)[1],
            f",\n{indent}{_literal(plan.spec.version)}: {_literal(plan.lowest_trader)}",
        )
        call = _spec_entry(values.get("MODEL_SPECS"))
        text = _copied(call, source, plan.spec)
        yield span(call)[1], span(call)[1], f",\n{textwrap.indent(text, ' ' * call.col_offset)}"


def _assigned(node: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    value = getattr(node, "value", None)
    if len(targets) == 1 and isinstance(targets[0], ast.Name) and value is not None:
        yield targets[0].id, value


def _matrix_entry(value: ast.expr | None) -> ast.expr:
    """The value of the current version's entry in the matrix."""
    table = value.args[0] if isinstance(value, ast.Call) and value.args else None
    if isinstance(table, ast.Dict):
        for key, lowest in zip(table.keys, table.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == CURRENT_MODEL_VERSION:
                return lowest
    raise _unknown(f"no entry {CURRENT_MODEL_VERSION!r} in MODEL_TRADER_COMPATIBILITY", "a dict of literals")


def _spec_entry(value: ast.expr | None) -> ast.Call:
    """The call of `_released` that makes the current version's spec."""
    for node in ast.walk(value) if value is not None else ():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_released":
            version = node.args[0] if node.args else None
            known = isinstance(version, ast.Constant) and version.value == CURRENT_MODEL_VERSION
            if known and len(node.args) in (3, 4) and not node.keywords:
                return node
    expected = "one with features, actions and breaking changes by position"
    raise _unknown(f"no _released({CURRENT_MODEL_VERSION!r}, …) in MODEL_SPECS", expected)


def _copied(call: ast.Call, source: str, spec: ModelSpec) -> str:
    arguments = [_literal(spec.version), *(ast.get_source_segment(source, each) or "" for each in call.args[1:3])]
    if spec.breaking_changes:
        arguments.append(_literal(spec.breaking_changes))
    return "\n".join(["_released(", *(f"    {each}," for each in arguments), ")"])


def _literal(text: str) -> str:
    """A Python string in double quotes, in single ones where that saves escapes."""
    quoted = json.dumps(text, ensure_ascii=False)
    return quoted if '"' not in text or "'" in text else repr(text)


def _prove(edited: str, plan: Plan) -> None:
    """Run the edited file by itself: it must hold exactly what the plan says; LockError with what differs."""
    found = _run(edited)
    for name, expected in (
        ("CURRENT_MODEL_VERSION", plan.model_version),
        ("CURRENT_TRADER_VERSION", plan.trader_version),
        ("MODEL_TRADER_COMPATIBILITY", plan.matrix),
        ("MODEL_SPECS", plan.specs),
    ):
        if getattr(found, name, None) != expected:
            raise _unknown(f"another {name} after the edit than was meant", "the file of the code that runs")


def _run(source: str) -> ModuleType:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, RELEASES.name)
        path.write_text(source, encoding="utf-8")
        spec = spec_from_file_location("bumped_releases", path)
        if spec is None or spec.loader is None:
            raise _unknown("a file that can't be imported", "a Python module")
        module = module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            told = " ".join(f"{type(error).__name__}: {error}".split())
            raise _unknown(f"after the edit a file that fails with {told}", "one that runs") from error
        return module


def _unknown(found: str, expected: str) -> LockError:
    return LockError(f"{RELEASES}: found {found}, expected {expected}: nothing was changed; bump it by hand")


def next_spec(version: str, lowest_trader: str, breaking_changes: str) -> ModelSpec:
    """The current spec under a new version; LockError where that version is released already."""
    if version in MODEL_SPECS:
        raise LockError(f"{RELEASES}: found a spec of {version} already, expected none: nothing was changed")
    current = MODEL_SPECS[CURRENT_MODEL_VERSION]
    return replace(current, version=version, requires_trader=f">={lowest_trader}", breaking_changes=breaking_changes)
