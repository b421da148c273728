"""Sheets: a report on one model as the rows and columns that the page shows, and an event in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlflow_ppo_flavor.registry.resolution import Operation
from mlflow_ppo_flavor.registry.terms import Terms

# What isn't an operation of the registry's resolution: the guard's own commands.
_COMMANDS = {
    "announce": "announcing trader {trader_id} ({version}) for {reference}",
    "attest": "trader {trader_id} ({trader_version}) attesting version {version}",
    "approve": "approving version {version} for {reference}",
    "override": "overriding for version {version} at {reference}: {reason}",
    "reverify": "reading version {version} again",
    "adopt": "adopting what stands",
}
_MODES = {
    "block": "version findings block",
    "warn": "version findings warn",
    "warn-until-announced": "version findings warn until a trader announces",
}


def sheet(report: Mapping[str, Any], versions: int, below: int | None = None) -> dict[str, Any]:
    """One model: its references with their columns, its versions with their cells, the newest first.

    `report` is its `standing`, asked for one more than `versions`; `older` is the number to go on below, or None. What
    a reference loads is always shown.
    """
    # stages first: Production is what a person looks for
    ordered = sorted(report["references"], key=lambda reference: (reference["label"][0] == "@", reference["label"]))
    references, cells = [_reference(each) for each in ordered], [_cells(each) for each in ordered]
    numbers = [version["version"] for version in report["versions"]]
    behind = [number for number in numbers if below is None or number < below]
    shown = set(behind[:versions]) | {reference["loads"] for reference in references}
    told = {version["version"]: version for version in report["versions"]}
    return {
        "name": report["model"],
        "references": references,
        "more_references": report["next"] is not None,
        "rows": [_row(told[number], references, cells) for number in numbers if number in shown],
        "older": behind[versions - 1] if len(behind) > versions else None,
    }


def event_words(operation: Mapping[str, Any]) -> str:
    """What was asked, in words: `moving version 3 to Production`."""
    kind = str(operation.get("kind", "unknown"))
    if kind == "retire":
        return f"retiring trader {operation.get('trader_id')} of {operation.get('reference') or 'every reference'}"
    known = {each.kind: each.words for each in _operations(Operation)} | _COMMANDS
    try:
        return known[kind].format(**operation)
    except KeyError:
        told = ", ".join(f"{name} {value}" for name, value in operation.items() if name not in ("kind", "model"))
        return f"{kind}: {told}" if told else kind


def terms_words(terms: Terms) -> list[str]:
    """What the policy asks of a version that is to enter a reference, in words."""
    words = [_MODES[terms.mode]]
    words += [f"metric {name} {threshold.text}" for name, threshold in terms.metrics.items()]
    words += [f"tag {key}" if value is None else f"tag {key} = {value}" for key, value in terms.required_tags.items()]
    if terms.require_attestation:
        words.append("an attestation for each trader version")
    if terms.approvals:
        words.append(f"{terms.approvals} approval{'s' if terms.approvals > 1 else ''} by other users")
    return words


def _reference(report: Mapping[str, Any]) -> dict[str, Any]:
    announced = {trader["trader_id"]: trader for trader in report["traders"]}
    of_one_version = next(iter(_cells(report).values()), [])
    traders = [_trader(cell, announced) for cell in of_one_version]
    return {
        "label": report["label"],
        "loads": report["version"],
        "verdict": report["verdict"],
        "traders": traders or [{**trader, "default": False} for trader in report["traders"]],
    }


def _cells(report: Mapping[str, Any]) -> dict[int, list[Mapping[str, Any]]]:
    """The cells of each version, in the order of the traders."""
    cells: dict[int, list[Mapping[str, Any]]] = {}
    for cell in report["cells"]:
        cells.setdefault(cell["version"], []).append(cell)
    return cells


def _trader(cell: Mapping[str, Any], announced: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A column: a trader that announced, or a released one that stands for those that didn't."""
    if cell["default"]:
        return {"trader_id": cell["trader_id"], "version": cell["trader_version"], "default": True}
    return {**announced[cell["trader_id"]], "default": False}


def _row(
    version: Mapping[str, Any],
    references: Sequence[Mapping[str, Any]],
    cells: Sequence[Mapping[int, Sequence[Mapping[str, Any]]]],
) -> dict[str, Any]:
    told = []
    for reference, by_version in zip(references, cells, strict=True):
        loaded = reference["loads"] == version["version"]
        for place, cell in enumerate(by_version.get(version["version"], ())):
            kept = {key: cell[key] for key in ("allowed", "findings", "trader_id", "trader_version")}
            told.append({**kept, "reference": reference["label"], "first": place == 0, "loaded": loaded})
    return {**version, "cells": told}


def _operations(kind: type[Operation]) -> Iterator[type[Operation]]:
    """The operations that exist, by their classes."""
    for each in kind.__subclasses__():
        yield each
        yield from _operations(each)
