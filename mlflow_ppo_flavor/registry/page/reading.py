"""What the page shows, read from the guarded store in one transaction: models, the gate's setting, history."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.request import GUARD_MODEL, Question
from mlflow_ppo_flavor.registry import answers, kept
from mlflow_ppo_flavor.registry.report import iso
from mlflow_ppo_flavor.registry.setting import Setting
from mlflow_ppo_flavor.registry.snapshot import chunks
from mlflow_ppo_flavor.registry.store import GuardMixin
from mlflow_ppo_flavor.registry.tables import HISTORY
from mlflow_ppo_flavor.registry.terms import Terms

Readable = Callable[[str], bool]
# references of one model on a page: one with more shows the first ones
MOST_REFERENCES = 50


@dataclass(frozen=True)
class Part:
    """One page of something longer: what stands on it, and where the next one starts; None at the end."""

    items: list[Any]
    next: int | None


class Reading:
    """One transaction over a guarded store, for a user who may read the models that `readable` says."""

    def __init__(self, session: Session, workspace: str, setting: Setting, readable: Readable) -> None:
        self._known = (session, workspace, setting)
        self._readable = readable

    def guard(self) -> dict[str, Any]:
        """What the server is set to; of its policy, what speaks of models that the user may read."""
        told = answers.answered(Question("guard"), *self._known, [GUARD_MODEL])[GUARD_MODEL]
        references = told["policy"].get("references", {})
        kept = {key: terms for key, terms in references.items() if self._may_see(key)}
        return {**told, "policy": {**told["policy"], **({"references": kept} if references else {})}}

    def names(self, report: str) -> list[str]:
        """The models that have something in a report and that the user may read."""
        found = answers.named(answers.Search(Question(report), None), *self._known)
        return [name for name in found if self._readable(name)]

    def standing(self, names: Sequence[str], versions: int, below: int | None = None) -> list[dict[str, Any]]:
        """References × versions × traders of these models, judged now: their newest versions, or those below one."""
        question = Question("standing", limit=MOST_REFERENCES, versions=versions, below=below)
        return list(answers.answered(question, *self._known, names).values())

    def asks(self, model: str, label: str) -> Terms:
        """What the policy asks of a version that is to enter a reference."""
        return self._known[2].policy.terms(Reference(model, label))

    def history(self, wants: Callable[[str], bool], most: int, before: int | None = None) -> Part:
        """The newest events of the models that are wanted and that the user may read."""
        known = answers.named(answers.Search(Question("history"), None), *self._known)
        names = [name for name in known if wants(name) and self._readable(name)]
        rows = self._rows(None if len(names) == len(known) else names, most + 1, before)
        events = [_event(row) for row in rows[:most]]
        # a rename speaks of two models
        told = [event for event in events if self._readable(event["operation"].get("new_name", event["model"]))]
        return Part(told, events[-1]["id"] if len(rows) > most else None)

    def _rows(self, names: Sequence[str] | None, most: int, before: int | None) -> list[Any]:
        """Rows of the history, the newest first; of every model without names."""
        session, workspace, _ = self._known
        table = HISTORY.c
        query = select(HISTORY).where(table.workspace == workspace).order_by(table.id.desc()).limit(most)
        if before is not None:
            query = query.where(table.id < before)
        queries = [query] if names is None else [query.where(table.model.in_(part)) for part in chunks(names)]
        found = [row for each in queries for row in session.execute(each).mappings()]
        return sorted(found, key=lambda row: -row["id"])[:most]

    def _may_see(self, key: str) -> bool:
        """Whether a key of the policy's references, a label or a whole reference, names no model that isn't theirs."""
        model, at, _ = key.partition("@")
        if not at:
            model = key.rpartition("/")[0]
        return not model or self._readable(model)


@contextmanager
def reading(store: GuardMixin, readable: Readable) -> Iterator[Reading]:
    """Read in the active workspace of the request in hand."""
    with store.ManagedSessionMaker() as session:
        workspace = store._get_active_workspace()  # noqa: SLF001 MLflow gives no other
        yield Reading(session, workspace, store.setting, readable)


def _event(row: Any) -> dict[str, Any]:
    told, read = {key: row[key] for key in ("id", "who", "model", "allowed", "fact")}, kept.told_entry(row)
    return {**told, **{key: read[key] for key in ("operation", "findings")}, "at": iso(row["at"])}
