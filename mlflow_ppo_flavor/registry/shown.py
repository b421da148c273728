"""Shown: what MLflow's pages say in the gate's name of versions, held against what the gate would write there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Select, select, tuple_
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.contract.reference import is_nameable
from mlflow_ppo_flavor.errors import SpecError
from mlflow_ppo_flavor.registry import kept
from mlflow_ppo_flavor.registry.candidates import ATTESTED
from mlflow_ppo_flavor.registry.clerk import told_verdict
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.display import VERDICT_TAG, describe_version, is_reserved, own_text, tags_of
from mlflow_ppo_flavor.registry.mlflow_tables import MODEL_TAGS, TAGS, VERSIONS
from mlflow_ppo_flavor.registry.resolution import VersionKey
from mlflow_ppo_flavor.registry.snapshot import Held, Snapshot, Version, chunks
from mlflow_ppo_flavor.registry.tables import HISTORY

# what the gate writes of a contract alone; `ppo.verdict` tells of the history
_CONTRACT_TAGS = ("ppo.spec", "ppo.requires_trader", "ppo.digest", "ppo.proof")
_OWN_TAGS = (*_CONTRACT_TAGS, VERDICT_TAG)
# operations whose verdict isn't written on a version's page
_UNSHOWN, _RECALLS = ("adopt", "create version"), ("rollback", "withdraw")
_MODEL_OF = re.compile(r"(@[^@]*|/[^/]*)\Z")
_REVERIFY = "run mlflow-ppo reverify on the version"
_PROMOTE = "look who wrote to the database; the next promotion writes it anew"
_DELETE = "look who wrote to the database, and delete it there"


@dataclass(frozen=True, slots=True)
class Told:
    """A verdict that the history has on a version: when (ms since 1970), and its text on the version's page."""

    at: int
    text: str
    digest: str


@dataclass(slots=True)
class Shown:
    """What stands on a version's page, and what the history tells of it, the oldest first; `elsewhere`: it tells of the
    page's verdict under another name of the model.
    """

    tags: dict[str, str] = field(default_factory=dict)
    foreign: list[str] = field(default_factory=list)
    description: str = ""
    attested: int = 0
    told: list[Told] = field(default_factory=list)
    elsewhere: bool = False

    @property
    def verdict(self) -> str:
        """The gate's last word, as the page has it; empty where it has none."""
        return self.tags.get(VERDICT_TAG, "")

    def is_told(self) -> bool:
        """Whether the history tells of the gate's last word, as the page has it, or there is none."""
        return not self.verdict or self.elsewhere or any(each.text == self.verdict for each in self.told)

    def tag(self, key: str) -> str:
        """A tag as a finding shows it."""
        return f"'{self.tags[key]}'" if key in self.tags else "no such tag"


def shown(session: Session, workspace: str, snapshots: Iterable[Snapshot]) -> dict[VersionKey, Shown]:
    """What the pages of all versions that these protected references load show."""
    keys = {held.version.key for each in snapshots for held in each.held if held.version is not None}
    found = {key: Shown() for key in sorted(keys)}
    for part in chunks(found):
        _read_tags(session, workspace, part, found)
        _read_descriptions(session, workspace, part, found)
    for models in chunks(sorted({key.model for key in found})):
        _read_history(session, workspace, models, found)
    _read_history_of_others(session, workspace, found)
    return found


def _read_tags(session: Session, workspace: str, keys: Sequence[VersionKey], found: Mapping[VersionKey, Shown]) -> None:
    table = TAGS.c
    pairs = tuple_(table.name, table.version).in_([(key.model, key.version) for key in keys])
    query = select(table.name, table.version, table.key).where(table.workspace == workspace, pairs)
    own = query.add_columns(table.value).where(table.key.in_(_OWN_TAGS))
    for name, version, key, value in session.execute(own):
        found[VersionKey(name, version)].tags[key] = value
    for name, version, key in session.execute(query.where(table.key.not_in(_OWN_TAGS)).order_by(table.key)):
        if _is_reserved(key):
            found[VersionKey(name, version)].foreign.append(key)


@lru_cache(maxsize=1_024)
def _is_reserved(key: str) -> bool:
    return is_reserved(key)


def _read_descriptions(
    session: Session, workspace: str, keys: Sequence[VersionKey], found: Mapping[VersionKey, Shown]
) -> None:
    v = VERSIONS.c
    pairs = tuple_(v.name, v.version).in_([(key.model, key.version) for key in keys])
    query = select(v.name, v.version, v.description, ATTESTED).where(v.workspace == workspace, pairs)
    for name, version, description, attested in session.execute(query):
        page = found[VersionKey(name, version)]
        page.description, page.attested = description or "", attested


def _read_history(session: Session, workspace: str, models: Sequence[str], found: Mapping[VersionKey, Shown]) -> None:
    here = (HISTORY.c.model.in_(models), HISTORY.c.moves != "[]")
    for row in session.execute(_rows(workspace).where(*here).order_by(HISTORY.c.id)).mappings():
        tellings = _tellings(row)
        if tellings is None:
            # it may be the one that told of what stands there
            for page in (page for key, page in found.items() if key.model == row["model"]):
                page.elsewhere = True
        for key, told in tellings or ():
            if key in found:
                found[key].told.append(told)


def _read_history_of_others(session: Session, workspace: str, found: Mapping[VersionKey, Shown]) -> None:
    """A version that was renamed shows what the gate said of it under its earlier name."""
    strange = {key: page for key, page in found.items() if not page.is_told()}
    seconds = {key: _second(page.verdict) for key, page in strange.items()}
    for part in chunks(sorted({second for second in seconds.values() if second is not None})):
        for row in session.execute(_rows(workspace).where((HISTORY.c.at // 1_000).in_(part))).mappings():
            said = {(key.version, told.text) for key, told in _tellings(row) or ()}
            for key, page in strange.items():
                page.elsewhere = page.elsewhere or (key.version, page.verdict) in said


def _rows(workspace: str) -> Select[Any]:
    table = HISTORY.c
    read = (table.model, table.at, table.allowed, table.fact, table.operation, table.moves, table.digests)
    return select(*read).where(table.workspace == workspace)


def _second(text: str) -> int | None:
    """When a verdict's text says that it was given, in seconds since 1970."""
    try:
        return int(datetime.strptime(text[:19], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None


def _tellings(row: Mapping[Any, Any]) -> list[tuple[VersionKey, Told]] | None:
    """The versions on whose pages the gate wrote what it recorded in a row of the history; None where that can't be
    read, which is a finding of its own.
    """
    try:
        return list(_told_on_pages(row))
    except (SpecError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


def _told_on_pages(row: Mapping[Any, Any]) -> Iterator[tuple[VersionKey, Told]]:
    kind = kept.operation(row["operation"])["kind"]
    moves, digests = json.loads(row["moves"]), json.loads(row["digests"])
    loaded = [(each["reference"], each["after"]) for each in moves if each["after"] is not None]
    if kind in _UNSHOWN or (kind in _RECALLS and not row["allowed"]):
        return
    text = tags_of(Contract(flavored=False), told_verdict(row["at"], row["fact"]))[VERDICT_TAG]
    for after in {(each["model"], each["version"]): each for _, each in loaded}.values():
        name = next(reference for reference, each in loaded if each == after)
        model = _MODEL_OF.sub("", name) if row["allowed"] else after["model"]
        digest = digests.get(f"{after['model']}/{after['version']}", "")
        yield VersionKey(model, after["version"]), Told(row["at"], text, digest)


def notice_findings(held: Held, version: Version, contract: Contract, page: Shown) -> Iterator[Finding]:
    """What a version's page says in the gate's name, and the gate didn't say of what a reference loads."""
    place = f"{held.reference.label}, version {version.key.version}"
    for key in page.foreign:
        found, expected = "a tag that the gate doesn't write", "names that start with ppo. are its own"
        yield Finding("tag_foreign", "safety", f"{place}, {key}", found, expected, _DELETE)
    meant = tags_of(contract, attested=page.attested)
    for key in _CONTRACT_TAGS:
        if meant.get(key) != page.tags.get(key):
            expected = f"its contract says '{meant[key]}'" if key in meant else "its contract says none"
            yield Finding("tag_changed", "safety", f"{place}, {key}", page.tag(key), expected, _REVERIFY)
    due = _due(held, version, contract, page)
    if (page.verdict != due) if due else not page.is_told():
        expected = f"the gate's last word on it is '{due}'" if due else "the history tells of no such verdict"
        yield Finding("tag_changed", "safety", f"{place}, {VERDICT_TAG}", page.tag(VERDICT_TAG), expected, _PROMOTE)
    if due or page.is_told():
        yield from _block_findings(place, contract, due or page.verdict, page)


def _due(held: Held, version: Version, contract: Contract, page: Shown) -> str:
    """The gate's last word on a version since it let it in; empty where it wrote none on its page: what is adopted as
    it stands, or renamed, has its verdict in another row.
    """
    last = held.last
    if last is None or not contract.digest or last.digest != contract.digest:
        return ""
    if (last.version, last.created, last.location) != (version.key.version, version.created, version.location):
        return ""
    since = next((i for i, each in enumerate(page.told) if each.at == last.at), len(page.told))
    return next((each.text for each in reversed(page.told[since:]) if each.digest == contract.digest), "")


def _block_findings(place: str, contract: Contract, verdict: str, page: Shown) -> Iterator[Finding]:
    """Of a contract that can't be read there is no block, and whoever wrote one there forged it."""
    unread = contract.spec is None
    if not unread and page.description == describe_version("", contract, verdict, page.attested):
        # nearly every page: a user's own text is looked through for what reads as a block
        return
    own = own_text(page.description)
    meant = own if unread else describe_version(page.description, contract, verdict, page.attested)
    if page.description != meant:
        found = "no block of the gate's" if own == page.description else "another block than the gate's"
        expected = "its contract can't be read" if unread else "one that says its contract and last verdict"
        yield Finding("block_changed", "safety", f"{place}, description", found, expected, _REVERIFY)


def model_findings(session: Session, workspace: str, models: Sequence[str]) -> dict[str, list[Finding]]:
    """What is wrong with models' own pages: names that no trader can load by, and tags that only the gate may write;
    it keeps none there.
    """
    table, found = MODEL_TAGS.c, {model: list(_name_findings(model)) for model in models}
    for part in chunks(models):
        query = select(table.name, table.key).where(table.workspace == workspace, table.name.in_(part))
        for model, key in session.execute(query.order_by(table.key)):
            if _is_reserved(key):
                told, expected = "a tag that the gate doesn't keep", "names that start with ppo. are its own"
                found[model].append(Finding("tag_foreign", "safety", key, told, expected, _DELETE))
    return found


def _name_findings(model: str) -> Iterator[Finding]:
    if not is_nameable(model):
        found, expected = "a name that no trader's reference has", "one without / : @ ? and control characters"
        yield Finding("unnameable", "warning", "name", found, expected, "rename the model, or register another")
