"""Records: what the guard's own rows and tags say of a reference, held against each other and against seals."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.errors import SpecError
from mlflow_ppo_flavor.registry import kept
from mlflow_ppo_flavor.registry.chain import AGAIN
from mlflow_ppo_flavor.registry.snapshot import Held, Ruled, Snapshot, Version, chunks
from mlflow_ppo_flavor.registry.tables import ANNOUNCEMENTS, HISTORY

# the version that a trader announced, and whether it trades on paper
_Said = tuple[str, bool]
# an announcement that is there and can't be read: a finding of its own
_UNREADABLE: _Said = ("", False)
_ADOPT = "look at it, then run mlflow-ppo guard install URI --adopt"
_EMPTIED = ", or run mlflow-ppo guard install URI --adopt where it is meant to load nothing"


def verdict_findings(held: Held, *, strict: bool) -> Iterator[Finding]:
    """Whether a reference loads what the last verdict on it allowed. `strict`: verdicts are kept in this registry."""
    label, version, last = held.reference.label, held.version, held.last
    if last is None:
        if version is not None:
            found, expected = f"version {version.key.version} without a verdict", "the gate rules on all that is loaded"
            yield Finding("no_verdict", "safety" if strict else "warning", label, found, expected, _ADOPT)
        return
    if last.rows != last.sequence:
        found, expected = f"{last.rows} verdicts", f"the last one is number {last.sequence}: some were deleted"
        yield Finding("verdicts_missing", "safety", label, found, expected, AGAIN)
    if _loads_another(version, last):
        ruled = "nothing" if last.version is None else f"version {last.version}"
        found = "nothing" if version is None else f"version {version.key.version}"
        expected = f"the gate's last verdict is for {ruled}"
        if version is not None and version.key.version == last.version:
            expected = "that number was another version when the gate allowed it"
        remedy = f"{AGAIN}{_EMPTIED}" if version is None else AGAIN
        yield Finding("moved_around_the_gate", "safety", label, found, expected, remedy)
    elif version is not None and version.contract is not None and version.contract.digest != last.digest:
        found, expected = f"digest {version.contract.digest[:12]}…", f"the verdict is for {last.digest[:12]}…"
        yield Finding("record_changed", "safety", label, found, expected, AGAIN)


def _loads_another(version: Version | None, last: Ruled) -> bool:
    if version is None or last.version is None:
        return (version is None) != (last.version is None)
    return (version.key.version, version.created, version.location) != (last.version, last.created, last.location)


def history_findings(session: Session, workspace: str, snapshots: Iterable[Snapshot]) -> dict[str, tuple[Finding, ...]]:
    """Rows of the history that can't be read; announcements that it tells of, that nobody retired, and that aren't kept
    as they were: another fleet is judged by.
    """
    found = {}
    for part in chunks(each.model for each in snapshots):
        damages = _suspects(session, workspace, part)
        expected, kept_here = _told_of(session, workspace, part, damages), _kept(session, workspace, part)
        for model in part:
            told, here = expected.get(model, {}), kept_here.get(model, {})
            changed = [who for who in sorted(told) if here.get(who) not in (told[who], _UNREADABLE)]
            missing = (_missing(*who, told[who], here.get(who)) for who in changed)
            found[model] = (*dict.fromkeys(damages.get(model, ())), *missing)
    return found


def _suspects(session: Session, workspace: str, models: Sequence[str]) -> dict[str, list[Finding]]:
    """What is wrong with the rows that the database itself sees to be no JSON of their kind, by model. The others are
    many: they are read where they are shown.
    """
    table = HISTORY.c
    shapes = [table[name].not_like("{%}" if name in ("operation", "digests") else "[%]") for name in kept.COLUMNS]
    query = select(HISTORY).where(table.workspace == workspace, table.model.in_(models), or_(*shapes))
    found: dict[str, list[Finding]] = {}
    for row in session.execute(query.order_by(table.id)).mappings():
        found.setdefault(row["model"], []).extend(kept.entry(row)[1])
    return found


def _missing(label: str, trader_id: str, told: _Said, kept: _Said | None) -> Finding:
    if kept is None:
        code, found = "announcement_missing", f"no announcement of {trader_id}"
        expected = "the history tells of it, and of nobody who retired it"
    else:
        code, found = "record_changed", f"an announcement of {trader_id} as {_version(kept)}"
        expected = f"the history tells of {_version(told)}"
    return Finding(code, "safety", label, found, expected, "let the trader start again, or retire it")


def _version(said: _Said) -> str:
    version, paper = said
    return f"{version} ({'paper' if paper else 'real money'})"


def _told_of(
    session: Session, workspace: str, models: Sequence[str], damages: dict[str, list[Finding]]
) -> dict[str, dict[tuple[str, str], _Said]]:
    """{(label, trader id): what it said} of the announcements that the history leaves standing, by model. What can't be
    read of them is put with the `damages`.
    """
    table = HISTORY.c
    kinds = or_(table.operation.like('{"kind":"announce"%'), table.operation.like('{"kind":"retire"%'))
    query = select(table.id, table.model, table.operation).where(table.workspace == workspace, table.model.in_(models))
    found: dict[str, dict[tuple[str, str], _Said]] = {}
    for number, model, text in session.execute(query.where(kinds, table.allowed).order_by(table.id)):
        try:
            operation = kept.operation(text)
        except SpecError as error:
            damages.setdefault(model, []).append(kept.entry_damage(number, error))
            continue
        label, trader_id = operation.get("reference"), operation["trader_id"]
        standing = found.setdefault(model, {})
        if operation["kind"] == "announce":
            standing[str(label), trader_id] = (operation["version"], operation["paper"])
        else:
            for each in [each for each in standing if each[1] == trader_id and label in (None, each[0])]:
                del standing[each]
    return found


def _kept(session: Session, workspace: str, models: Sequence[str]) -> dict[str, dict[tuple[str, str], _Said]]:
    table = ANNOUNCEMENTS.c
    query = select(table.model, table.label, table.trader_id, table.announcement)
    query = query.where(table.workspace == workspace, table.model.in_(models))
    found: dict[str, dict[tuple[str, str], _Said]] = {}
    for model, label, trader_id, text in session.execute(query):
        found.setdefault(model, {})[label, trader_id] = _said(text)
    return found


def _said(text: str) -> _Said:
    """What an announcement says, as cheaply as it can be read."""
    try:
        trader = json.loads(text)["trader"]
        return trader["version"], trader["paper"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return _UNREADABLE
