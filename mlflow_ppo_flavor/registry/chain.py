"""Chain: the moves that the history tells of each reference, in order. Its end is what the last verdict is on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, func, or_, select
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.errors import SpecError
from mlflow_ppo_flavor.registry import kept
from mlflow_ppo_flavor.registry.snapshot import Held, chunks
from mlflow_ppo_flavor.registry.tables import HISTORY, VERDICTS

AGAIN = (
    "look who wrote to the database, then promote the version that is meant once more, to a stage with "
    "--archive-existing"
)
_H = HISTORY.c
_COLUMNS = (_H.id, _H.at, _H.model, _H.operation, _H.moves, _H.digests)
_ADOPTED = _H.operation.like('{"kind":"adopt"%')
_RENAMED = _H.operation.like('{"kind":"rename"%')


@dataclass(frozen=True, slots=True)
class Told:
    """An allowed move as the history tells it: its row, when (ms since 1970), what the reference then loads.

    `digest`: of what was adopted by `guard install`, of which the row tells no version; empty: nothing. None of a move.
    """

    row: int
    at: int
    version: int | None = None
    digest: str | None = None

    def is_of(self, at: int, version: int | None, digest: str) -> bool:
        """Whether a verdict of that moment on that version, with that digest, is the verdict on this move."""
        return self.at == at and (version == self.version if self.digest is None else digest == self.digest)

    def __str__(self) -> str:
        if self.digest is None:
            return "emptied it" if self.version is None else f"moved it to version {self.version}"
        return f"adopted digest {self.digest[:12]}…" if self.digest else "adopted it as empty"


@dataclass(frozen=True, slots=True)
class Chains:
    """What the history tells: {reference as text: its moves}, and what is wrong with the rows of each model."""

    moves: dict[str, list[Told]] = field(default_factory=dict)
    damages: dict[str, list[Finding]] = field(default_factory=dict)

    def of(self, reference: Reference) -> Sequence[Told]:
        """The moves of a reference, the oldest first."""
        return self.moves.get(str(reference), ())


def read_chains(session: Session, workspace: str, models: Iterable[str]) -> Chains:
    """What the history tells of the references of these models. A rename stands in the rows of the old name."""
    names = list(models)
    rows = list(_rows(session, workspace, _RENAMED))
    for part in chunks(names):
        rows += _rows(session, workspace, _H.model.in_(part), or_(_H.moves != "[]", _ADOPTED), ~_RENAMED)
    found, known = Chains(), set(names)
    for row in sorted(rows, key=lambda row: row["id"]):
        try:
            for reference, told in _told(row):
                found.moves.setdefault(reference, []).append(told)
        except SpecError as error:
            if row["model"] in known:
                found.damages.setdefault(row["model"], []).append(kept.entry_damage(row["id"], error))
    return found


def chain_finding(held: Held, chains: Chains) -> Finding | None:
    """How the last verdict on a reference differs from the last move in the history; None where it is on that, or where
    a row of the model's history can't be read, which is a finding of its own.
    """
    told, last = chains.of(held.reference), held.last
    if held.reference.model in chains.damages:
        return None
    end = told[-1] if told else None
    if last is None:
        # what is loaded without any verdict is told as such
        if held.version is not None or end is None or not (end.version or end.digest):
            return None
        found = "no verdict"
    else:
        if end is not None and end.is_of(last.at, last.version, last.digest):
            return None
        loads = "nothing" if last.version is None else f"version {last.version}"
        found = f"verdict {last.sequence}, of {_time(last.at)}, for {loads} as the last one"
    expected = "the history tells of no move there"
    if end is not None:
        expected = f"the last in the history, row {end.row} of {_time(end.at)}, {end}"
    return Finding("history_differs", "safety", held.reference.label, found, expected, AGAIN)


def chain_findings(
    session: Session, workspace: str, held: Iterable[Held], chains: Chains
) -> Mapping[Reference, Finding]:
    """The same of many references; what moved between the reading of its verdict and of the history is left out."""
    found = {each.reference: (each, finding) for each in held if (finding := chain_finding(each, chains))}
    now = _last(session, workspace, {reference.model for reference in found})
    return {
        reference: finding
        for reference, (each, finding) in found.items()
        if now.get(reference) == (each.last and each.last.sequence)
    }


def _rows(session: Session, workspace: str, *where: ColumnElement[bool]) -> Sequence[RowMapping]:
    query = select(*_COLUMNS).where(_H.workspace == workspace, _H.allowed, *where)
    return session.execute(query).mappings().all()


def _told(row: RowMapping) -> Iterator[tuple[str, Told]]:
    number, at = row["id"], row["at"]
    moves = kept.moves(row["moves"])
    if not moves and str(row["operation"]).startswith('{"kind":"adopt"'):
        for reference, digest in kept.digests(row["digests"]).items():
            yield reference, Told(number, at, digest=parsing.text(digest, "digests"))
    # all of them are read before any is told
    yield from [(move["reference"], Told(number, at, _after(move))) for move in moves]


def _after(move: Mapping[str, Any]) -> int | None:
    after = move.get("after")
    if after is None:
        return None
    version = after.get("version") if isinstance(after, dict) else None
    if type(version) is not int:
        raise SpecError("moves.after", parsing.show(after), "a version, or null")
    return version


def _last(session: Session, workspace: str, models: Iterable[str]) -> dict[Reference, int]:
    found: dict[Reference, int] = {}
    table = VERDICTS.c
    for part in chunks(sorted(models)):
        query = select(table.model, table.label, func.max(table.sequence)).group_by(table.model, table.label)
        for model, label, top in session.execute(query.where(table.workspace == workspace, table.model.in_(part))):
            found[Reference(model, label)] = top
    return found


def _time(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
