"""Sealed: whether rows of verdicts are what this server's key signed, the last of a reference and all older ones.

A row that its key signed is held against the seal. Of rows from before that key (unsealed, or sealed with a key that it
replaced) only the history can tell whether they were changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.contract.keys import VerifyingKeys
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.seal import Seal
from mlflow_ppo_flavor.errors import SpecError
from mlflow_ppo_flavor.registry.chain import AGAIN, Chains, Told
from mlflow_ppo_flavor.registry.setting import Setting
from mlflow_ppo_flavor.registry.snapshot import Held, chunks
from mlflow_ppo_flavor.registry.tables import VERDICTS

_ADOPT = "look at it, then run mlflow-ppo guard install URI --adopt"
_BACKUP = "look who wrote to the database, and take the row from a backup: a rollback passes it over"


@dataclass(frozen=True, slots=True)
class Row:
    """What a row of the verdicts says, and its seal's text."""

    sequence: int
    version: int | None
    digest: str
    at: int
    seal: str | None


@dataclass(frozen=True, slots=True)
class Notary:
    """The keys that rows are known by, and what every seal here names."""

    keys: VerifyingKeys
    registry_id: str
    workspace: str

    @classmethod
    def of(cls, setting: Setting, workspace: str) -> Notary:
        """The server's own."""
        keys = VerifyingKeys() if setting.signer is None else VerifyingKeys((setting.signer.public,))
        return cls(keys, setting.registry_id, workspace)


def last_findings(held: Held, notary: Notary) -> Iterator[Finding]:
    """What is wrong with the last verdict on a reference, where there are keys: one of them must have sealed it."""
    last, label = held.last, held.reference.label
    if not notary.keys or last is None or (last.version is None and last.seal is None):
        return
    if last.seal is None:
        found, expected = f"verdict {last.sequence} without a seal", "this registry seals its verdicts"
        yield Finding("no_seal", "safety", label, found, expected, _ADOPT)
        return
    row = Row(last.sequence, last.version, last.digest, last.at, last.seal)
    try:
        seal = _read(row)
    except SpecError as error:
        yield _unreadable(label, error, _ADOPT)
        return
    if notary.keys.fault(seal):
        yield _unsigned(label, seal, notary.keys, _ADOPT)
        return
    yield from _sealed_otherwise(label, held.reference, row, seal, notary, AGAIN)


def older_findings(
    reference: Reference, rows: Sequence[Row], notary: Notary, told: Sequence[Told]
) -> Iterator[tuple[Row, Finding]]:
    """What is wrong with rows of a reference's verdicts, the oldest first, where there are keys. `told`: its moves in
    the history. A warning is of a row that a key which this server no longer has may have sealed.
    """
    sealed = own = False
    for row in rows if notary.keys else ():
        place = f"{reference.label}, verdict {row.sequence}"
        if row.seal is None:
            if row.version is not None:
                yield from ((row, each) for each in _without_seal(place, row, told, behind=sealed))
            continue
        sealed = True
        try:
            seal = _read(row)
        except SpecError as error:
            yield row, _unreadable(place, error, _BACKUP)
            continue
        faults = list(_sealed_otherwise(place, reference, row, seal, notary, _BACKUP))
        if notary.keys.find(seal.key_id) is None:
            faults = faults or _of_another_key(place, row, seal, notary, told, behind=own)
        elif notary.keys.fault(seal):
            faults = [_unsigned(place, seal, notary.keys, _BACKUP)]
        else:
            own = True
        yield from ((row, each) for each in faults)


def audit_older(
    session: Session, notary: Notary, held: Sequence[Held], chains: Chains
) -> dict[Reference, list[Finding]]:
    """What is wrong with the verdicts before the last one, of many references; nothing without a key."""
    if not notary.keys:
        return {}
    last = {each.reference: each.last.sequence for each in held if each.last is not None and each.last.sequence > 1}
    found: dict[Reference, list[Finding]] = {}
    for part in chunks(sorted({reference.model for reference in last})):
        rows = session.execute(_rows(notary.workspace, part))
        for (model, label), group in groupby(rows, key=lambda row: (row[0], row[1])):
            reference = Reference(model, label)
            older = [Row(*row[2:]) for row in group if row[2] < last.get(reference, 0)]
            wrong = older_findings(reference, older, notary, chains.of(reference))
            found[reference] = [finding for _, finding in wrong]
    return found


def _rows(workspace: str, models: Sequence[str]) -> Any:
    table = VERDICTS.c
    read = (table.model, table.label, table.sequence, table.version, table.digest, table.at, table.seal)
    query = select(*read).where(table.workspace == workspace, table.model.in_(models))
    return query.order_by(table.model, table.label, table.sequence)


def _read(row: Row) -> Seal:
    return Seal.from_dict(parsing.json_text(row.seal, "seal", expected="a seal"), "seal")


def _unreadable(place: str, error: SpecError, remedy: str) -> Finding:
    return Finding("seal", "safety", place, "a seal that can't be read", str(error), remedy)


def _unsigned(place: str, seal: Seal, keys: VerifyingKeys, remedy: str) -> Finding:
    found, _, expected = keys.fault(seal).removeprefix("found ").partition(", ")
    return Finding("seal", "safety", place, found, expected or "nobody else signs here", remedy)


def _sealed_otherwise(
    place: str, reference: Reference, row: Row, seal: Seal, notary: Notary, remedy: str
) -> Iterator[Finding]:
    """How a row differs from what its seal says."""
    said = seal.verdict
    sealed = (said.registry, said.workspace, said.reference, said.version, said.digest, said.sequence)
    here = (notary.registry_id, notary.workspace, reference, row.version, row.digest, row.sequence)
    for name, theirs, ours in zip(
        ("registry", "workspace", "reference", "version", "digest", "sequence"), sealed, here, strict=True
    ):
        if theirs != ours:
            found = f"no {name}" if ours in (None, "") else f"{name} {ours}"
            yield Finding("record_changed", "safety", place, found, f"the seal says {theirs}", remedy)


def _without_seal(place: str, row: Row, told: Sequence[Told], *, behind: bool) -> list[Finding]:
    if behind:
        expected = "a verdict before it has one, so this registry sealed its verdicts by then"
        return [Finding("no_seal", "safety", place, "no seal", expected, _BACKUP)]
    return [] if _is_told(row, told) else [_untold(place, row, "without a seal")]


def _of_another_key(
    place: str, row: Row, seal: Seal, notary: Notary, told: Sequence[Told], *, behind: bool
) -> list[Finding]:
    if not _is_told(row, told):
        return [_untold(place, row, f"with a seal of key {seal.key_id}, which isn't this server's")]
    if behind:
        found, known = f"key {seal.key_id}", ", ".join(key.key_id for key in notary.keys.keys)
        expected = f"a verdict before it has a seal of {known}, this server's key"
        return [Finding("seal", "warning", place, found, expected, _BACKUP)]
    return []


def _is_told(row: Row, told: Sequence[Told]) -> bool:
    return any(each.is_of(row.at, row.version, row.digest) for each in told)


def _untold(place: str, row: Row, how: str) -> Finding:
    found = f"version {row.version} {how}"
    return Finding("record_changed", "safety", place, found, "the history tells of no such move then", _BACKUP)
