"""The fleet: announcements in the guard's own table, and the read-only tag that shows them to clients."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.contract.releases import features_of_trader
from mlflow_ppo_flavor.contract.trader import SPEC_FORMATS, Announcement
from mlflow_ppo_flavor.errors import SpecError
from mlflow_ppo_flavor.registry import history, kept
from mlflow_ppo_flavor.registry.evidence import UNAUTHENTICATED
from mlflow_ppo_flavor.registry.history import Occasion
from mlflow_ppo_flavor.registry.tables import ANNOUNCEMENTS

ANNOUNCE_TAG = "ppo.announce"
FLEET_TAG = "ppo.fleet"
_SAID = ("reference", "announced_at")
_OWN = ("own_features", "own_packages")
_ENTRY = (*_SAID, "trader_id", "version", "paper", "features", "spec_formats", *_OWN)


def parse_announcement(model: str, value: str) -> Announcement:
    """The announcement in the tag's value; SpecError with its dotted path for anything else, or for another model."""
    data = parsing.json_text(value, ANNOUNCE_TAG, expected="the canonical JSON of an announcement")
    announcement = Announcement.from_dict(data, ANNOUNCE_TAG)
    if announcement.reference.model != model:
        found = f"'{announcement.reference.model}'"
        raise SpecError(f"{ANNOUNCE_TAG}.reference.model", found, f"'{model}', whose tag it is")
    return announcement


def put(session: Session, occasion: Occasion, announcement: Announcement) -> None:
    """Keep an announcement; a trader's later one for the same reference replaces its earlier one."""
    reference = announcement.reference
    values = {
        "workspace": occasion.workspace,
        "model": reference.model,
        "label": reference.label,
        "trader_id": announcement.trader.trader_id,
    }
    session.execute(delete(ANNOUNCEMENTS).filter_by(**values))
    text = canonical_json(announcement.to_dict()).decode("utf-8")
    session.execute(
        insert(ANNOUNCEMENTS),
        {**values, "announcement": text, "received_at": occasion.at, "who": occasion.who},
    )


def owner_of(session: Session, workspace: str, trader_id: str) -> str:
    """The user whom a trader's id belongs to: who first announced it, authenticated, in this workspace; empty: nobody.

    A retired announcement counts no longer.
    """
    query = select(ANNOUNCEMENTS.c.who).filter_by(workspace=workspace, trader_id=trader_id)
    query = query.where(ANNOUNCEMENTS.c.who != UNAUTHENTICATED).order_by(ANNOUNCEMENTS.c.received_at)
    return session.execute(query.limit(1)).scalar() or ""


def retire(session: Session, workspace: str, model: str, trader_id: str, label: str | None) -> None:
    """Drop a trader's announcement for one reference of a model, or for all of them."""
    here = {"workspace": workspace, "model": model, "trader_id": trader_id}
    session.execute(delete(ANNOUNCEMENTS).filter_by(**here, **({} if label is None else {"label": label})))


def fleet_of(session: Session, workspace: str, model: str) -> tuple[Announcement, ...]:
    """Every announcement for references to a model, sorted by reference and trader."""
    texts = session.execute(_TEXTS, {"workspace": workspace, "model": model}).scalars()
    return read_fleet(session, workspace, (model,), list(texts))


def read_fleet(
    session: Session, workspace: str, names: Sequence[str], texts: Collection[str]
) -> tuple[Announcement, ...]:
    """The announcements for these models, whose texts are in hand, sorted by reference and trader: databases differ in
    how they sort. One that can't be read is a LostTrader's: its row is asked for then.
    """
    try:
        found = [kept.parse_announcement(text) for text in texts]
    except SpecError:
        query = select(ANNOUNCEMENTS).where(ANNOUNCEMENTS.c.workspace == workspace, ANNOUNCEMENTS.c.model.in_(names))
        found = [kept.announcement(row) for row in session.execute(query).mappings()]
    return tuple(sorted(found, key=lambda a: (a.reference, a.trader.trader_id)))


_TEXTS = select(ANNOUNCEMENTS.c.announcement).where(
    ANNOUNCEMENTS.c.workspace == bindparam("workspace"), ANNOUNCEMENTS.c.model == bindparam("model")
)


def fleet_tag(fleet: Iterable[Announcement]) -> str:
    """The fleet of one model as the read-only tag's value, short, as it stands on the model's page: a JSON list.

    An entry has the reference's label, trader_id, version, paper and announced_at; own_packages where there are some;
    own_features where the trader computes these after those of the released trader; features where it computes others
    in their place; spec_formats where they aren't the released trader's; the announcement's packages never. A trader
    whose announcement can't be read isn't shown.
    """
    return canonical_json([_entry(each) for each in fleet if not isinstance(each.trader, kept.LostTrader)]).decode(
        "utf-8"
    )


def parse_fleet_tag(model: str, value: str) -> tuple[Announcement, ...]:
    """The announcements in a model's read-only tag, without packages; SpecError for anything else."""
    entries = parsing.json_text(value, FLEET_TAG, expected="a list of announcements")
    if not isinstance(entries, list):
        raise SpecError(FLEET_TAG, repr(entries)[:80], "a list of announcements")
    return tuple(_parse_entry(model, entry, f"{FLEET_TAG}[{i}]") for i, entry in enumerate(entries))


def _entry(announcement: Announcement) -> dict[str, Any]:
    trader = announcement.trader
    told = history.told(announcement) | {"announced_at": announcement.announced_at}
    released = features_of_trader(trader.version)
    if trader.features[: len(released)] != released:
        told["features"] = list(trader.features)
    elif trader.features != released:
        told["own_features"] = list(trader.features[len(released) :])
    if trader.packages:
        told["own_packages"] = dict(trader.packages)
    if trader.spec_formats != SPEC_FORMATS:
        told["spec_formats"] = list(trader.spec_formats)
    return told


def _parse_entry(model: str, entry: object, path: str) -> Announcement:
    read = parsing.mapping(entry, path, _ENTRY)
    version = parsing.take(read, "version", path, parsing.version)
    own = parsing.take(read, "own_features", path, lambda v, at: parsing.sequence(v, at, parsing.text), default=())
    trader = {
        "features": [*features_of_trader(version), *own],
        "spec_formats": list(SPEC_FORMATS),
        "packages": read.get("own_packages", {}),
    }
    data = {
        "trader": trader | {key: value for key, value in read.items() if key not in (*_SAID, *_OWN)},
        "reference": {"model": model, "label": read.get("reference")},
        "announced_at": read.get("announced_at"),
        "packages": {},
    }
    return Announcement.from_dict(data, path)
