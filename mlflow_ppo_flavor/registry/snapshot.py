"""Snapshot: what the protected references of many models load, with all that speaks of it, read in few queries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import RowMapping, Select, and_, func, select, tuple_
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract.reference import PROTECTED_STAGES, Reference
from mlflow_ppo_flavor.contract.request import Question
from mlflow_ppo_flavor.contract.trader import Announcement
from mlflow_ppo_flavor.registry import kept
from mlflow_ppo_flavor.registry.candidates import SAME_VERSION
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.evidence import UNAUTHENTICATED
from mlflow_ppo_flavor.registry.mlflow_tables import ALIASES, LOCATION, STAGE_DELETED, VERSIONS
from mlflow_ppo_flavor.registry.policy import Policy
from mlflow_ppo_flavor.registry.resolution import VersionKey
from mlflow_ppo_flavor.registry.tables import ANNOUNCEMENTS, CONTRACTS, OVERRIDES, VERDICTS

# names or keys in one query: databases bound the parameters of a statement
_CHUNK = 400
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Version:
    """One registered version; `contract` is None where it hasn't been read."""

    key: VersionKey
    stage: str
    created: int
    location: str
    run_id: str
    contract: Contract | None


@dataclass(frozen=True, slots=True)
class Said:
    """An announcement as it is kept: when it arrived (ms since 1970), and who owns the trader's id; empty: nobody."""

    announcement: Announcement
    received_at: int
    owner: str


@dataclass(frozen=True, slots=True)
class Ruled:
    """The last verdict on a reference; `rows` counts those that are kept, which is `sequence` where none is missing."""

    sequence: int
    version: int | None
    created: int
    location: str
    digest: str
    at: int
    seal: str | None
    rows: int


@dataclass(frozen=True, slots=True)
class Held:
    """A protected reference: what it loads, who announced for it, the last verdict, the used overrides' digests."""

    reference: Reference
    version: Version | None
    said: tuple[Said, ...] = ()
    last: Ruled | None = None
    overridden: frozenset[str] = frozenset()

    @property
    def fleet(self) -> tuple[Announcement, ...]:
        """The announcements for it."""
        return tuple(said.announcement for said in self.said)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One model: its protected references, sorted by label, its newest versions, and the label to go on after."""

    model: str
    held: tuple[Held, ...] = ()
    newest: tuple[Version, ...] = ()
    next: str | None = None


@dataclass(slots=True)
class _Labels:
    """What is known of a model's labels before its versions are read."""

    present: dict[str, int] = field(default_factory=dict)
    said: dict[str, list[Said]] = field(default_factory=dict)
    last: dict[str, Ruled] = field(default_factory=dict)
    overridden: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)

    def protects(self, label: str) -> bool:
        """Whether a label is protected now: an alias whose traders are all retired moves freely."""
        return label in self.said or label in self.named or not label.startswith("@")

    def ruled(self) -> set[str]:
        """The protected labels that have had a verdict."""
        return {label for label in self.last if self.protects(label)}


def snapshots(
    session: Session, workspace: str, models: Sequence[str], policy: Policy, question: Question, *, whole: bool = False
) -> list[Snapshot]:
    """The snapshots of these models, in their order. `whole`: with MLmodel's flavors, which are large."""
    labels = _labels(session, workspace, models, policy)
    chosen, following = {}, {}
    for model in models:
        chosen[model], following[model] = _choose(labels[model], question, _enterable(model, policy, question))
    wanted = {
        VersionKey(m, labels[m].present[label]) for m in models for label in chosen[m] if label in labels[m].present
    }
    newest = _newest(session, workspace, models, question) if question.versions else {}
    wanted |= {VersionKey(model, version) for model, found in newest.items() for version in found}
    versions = _versions(session, workspace, wanted, whole=whole)
    return [
        Snapshot(
            model,
            tuple(_held(model, label, labels[model], versions) for label in chosen[model]),
            tuple(versions[VersionKey(model, version)] for version in newest.get(model, ())),
            following[model],
        )
        for model in models
    ]


def chunks(items: Iterable[T], size: int = _CHUNK) -> Iterator[list[T]]:
    """The items in lists of at most `size`."""
    listed = list(items)
    return (listed[i : i + size] for i in range(0, len(listed), size))


def _enterable(model: str, policy: Policy, question: Question) -> set[str]:
    """The labels that a version could enter first of all, where versions are to be judged."""
    return {"Production", *(reference.label for reference in policy.protects(model))} if question.versions else set()


def _choose(labels: _Labels, question: Question, enterable: set[str]) -> tuple[list[str], str | None]:
    """The labels of a page, sorted, and the last of them where others follow."""
    known = sorted(labels.present.keys() | labels.said.keys() | labels.ruled() | enterable)
    if question.reference is not None:
        return [label for label in known if label == question.reference], None
    behind = [label for label in known if question.after is None or label > question.after]
    page = behind[: question.limit]
    return page, page[-1] if len(behind) > len(page) else None


def _held(model: str, label: str, labels: _Labels, versions: Mapping[VersionKey, Version]) -> Held:
    number = labels.present.get(label)
    version = None if number is None else versions.get(VersionKey(model, number))
    used = frozenset() if number is None else frozenset(labels.overridden.get((label, number), ()))
    said = sorted(labels.said.get(label, ()), key=lambda each: each.announcement.trader.trader_id)
    return Held(Reference(model, label), version, tuple(said), labels.last.get(label), used)


def _labels(session: Session, workspace: str, models: Sequence[str], policy: Policy) -> dict[str, _Labels]:
    found = {model: _Labels() for model in models}
    owners = _owners(session, workspace)
    for names in chunks(models):
        for row in session.execute(_said(workspace, names)).mappings():
            announcement = kept.announcement(row)
            owner = owners.get(announcement.trader.trader_id, "")
            said = Said(announcement, row["received_at"], owner)
            found[row["model"]].said.setdefault(row["label"], []).append(said)
        for row in session.execute(_last(workspace, names)).mappings():
            ruled = {key: row[key] for key in Ruled.__dataclass_fields__}
            found[row["model"]].last[row["label"]] = Ruled(**ruled)
        for model, label, version, digest in session.execute(_used(workspace, names)):
            found[model].overridden.setdefault((label, version), set()).add(digest)
        for model, stage, version in session.execute(_staged(workspace, names)):
            found[model].present[stage] = version
        for model in names:
            found[model].named = {reference.label for reference in policy.protects(model)}
        for model, alias, version in session.execute(_aliased(workspace, names)):
            label = f"@{alias}"
            if found[model].protects(label):
                found[model].present[label] = version
    return found


def _owners(session: Session, workspace: str) -> dict[str, str]:
    """{trader id: whose it is}, as `fleet.owner_of` has it: who first announced it, authenticated."""
    table = ANNOUNCEMENTS.c
    first = func.min(table.received_at)
    query = select(table.trader_id, table.who).where(table.workspace == workspace, table.who != UNAUTHENTICATED)
    rows = session.execute(query.group_by(table.trader_id, table.who).order_by(first.desc()))
    return dict(row.tuple() for row in rows)


def _said(workspace: str, names: Sequence[str]) -> Select[Any]:
    table = ANNOUNCEMENTS.c
    return select(ANNOUNCEMENTS).where(table.workspace == workspace, table.model.in_(names))


def _last(workspace: str, names: Sequence[str]) -> Select[Any]:
    """The last verdict of each reference."""
    table = VERDICTS.c
    here = and_(table.workspace == workspace, table.model.in_(names))
    last = select(table.model, table.label, func.max(table.sequence).label("top"), func.count().label("rows"))
    top = last.where(here).group_by(table.model, table.label).subquery()
    same = and_(table.model == top.c.model, table.label == top.c.label, table.sequence == top.c.top)
    return select(VERDICTS, top.c.rows).join(top, same).where(table.workspace == workspace)


def _used(workspace: str, names: Sequence[str]) -> Select[Any]:
    table = OVERRIDES.c
    query = select(table.model, table.label, table.version, table.digest)
    return query.where(table.workspace == workspace, table.model.in_(names), table.used_at.is_not(None))


def _staged(workspace: str, names: Sequence[str]) -> Select[Any]:
    """The version that each stage loads: the highest in it."""
    v = VERSIONS.c
    query = select(v.name, v.current_stage, func.max(v.version))
    query = query.where(v.workspace == workspace, v.name.in_(names), v.current_stage.in_(PROTECTED_STAGES))
    return query.group_by(v.name, v.current_stage)


def _aliased(workspace: str, names: Sequence[str]) -> Select[Any]:
    alias = ALIASES.c
    query = select(alias.name, alias.alias, alias.version)
    return query.where(alias.workspace == workspace, alias.name.in_(names))


def _newest(session: Session, workspace: str, models: Sequence[str], question: Question) -> dict[str, list[int]]:
    """The highest version numbers of each model, below a given one where the question says so."""
    v = VERSIONS.c
    found: dict[str, list[int]] = {}
    for names in chunks(models):
        rank = func.row_number().over(partition_by=v.name, order_by=v.version.desc()).label("rank")
        here = [v.workspace == workspace, v.name.in_(names), v.current_stage != STAGE_DELETED]
        if question.below is not None:
            here.append(v.version < question.below)
        ranked = select(v.name, v.version, rank).where(*here).subquery()
        query = select(ranked.c.name, ranked.c.version).where(ranked.c.rank <= question.versions)
        for name, version in session.execute(query.order_by(ranked.c.version.desc())):
            found.setdefault(name, []).append(version)
    return found


def _versions(
    session: Session, workspace: str, keys: Iterable[VersionKey], *, whole: bool
) -> dict[VersionKey, Version]:
    """These versions with their contracts. Aliases may name a version that is gone: it is missing here."""
    v, c = VERSIONS.c, CONTRACTS.c
    found: dict[VersionKey, Version] = {}
    read = [column for column in CONTRACTS.columns if column.name not in _OWN and (whole or column.name != "flavors")]
    own = (v.name, v.version, v.current_stage, func.coalesce(v.creation_time, 0).label("created"), v.run_id)
    query = select(*own, LOCATION.label("location"), c.model.label("kept"), *read)
    query = query.select_from(VERSIONS.outerjoin(CONTRACTS, SAME_VERSION))
    query = query.where(v.workspace == workspace, v.current_stage != STAGE_DELETED)
    for part in chunks(sorted(keys)):
        pairs = [(key.model, key.version) for key in part]
        for row in session.execute(query.where(tuple_(v.name, v.version).in_(pairs))).mappings():
            version = _version(row)
            found[version.key] = version
    return found


_READ = ("flavored", "digest", "golden", "reason", "vouched", "mlmodel", "root")
_OWN = ("workspace", "model", "version", "created", "location")


def _version(row: RowMapping) -> Version:
    contract = None if row["kept"] is None else _contract(row)
    key = VersionKey(row["name"], row["version"])
    return Version(key, row["current_stage"], row["created"], row["location"], row["run_id"] or "", contract)


def _contract(row: RowMapping) -> Contract:
    read = {name: row[name] for name in _READ} | {"flavors": row.get("flavors", "")}
    return kept.contract(row["name"], row["version"], row["spec"], read)
