"""The fleet: announcements in the guard's own table, and the read-only tag that shows them to clients."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.contract.releases import features_of_trader
from mlflow_ppo_flavor.contract.trader import SPEC_FORMATS, Announcement
from mlflow_ppo_flavor.errors import SpecError
from mlflow_ppo_flavor.registry import history
from mlflow_ppo_flavor.registry.history import Occasion
from mlflow_ppo_flavor.registry.tables import ANNOUNCEMENTS

ANNOUNCE_TAG = "ppo.announce"
FLEET_TAG = "ppo.fleet"
_SAID = ("reference", "announced_at")
_ENTRY = (*_SAID, "trader_id", "version", "paper", "features", "spec_formats")


def parse_announcement(model: str, value: str) -> Announcement:
    """The announcement in the tag's value; SpecError with its dotted path for anything else, or for another model."""
    parsing.text(value, ANNOUNCE_TAG)
    try:
        data = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise SpecError(ANNOUNCE_TAG, f"no JSON ({error})", "the canonical JSON of an announcement") from None
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


def fleet_of(session: Session, workspace: str, models: Iterable[str]) -> tuple[Announcement, ...]:
    """Every announcement for references to these models, sorted by reference and trader."""
    table = ANNOUNCEMENTS
    query = select(table.c.announcement).where(table.c.workspace == workspace, table.c.model.in_(list(models)))
    told = [_announcement(row) for row in session.execute(query).scalars()]
    # here and not in the query: databases differ in how they order text
    return tuple(sorted(told, key=lambda a: (a.reference, a.trader.trader_id)))


@lru_cache(maxsize=1_024)
def _announcement(text: str) -> Announcement:
    return Announcement.from_dict(json.loads(text))


def fleet_tag(fleet: Iterable[Announcement]) -> str:
    """The fleet of one model as the read-only tag's value, short, as it stands on the model's page: a JSON list.

    An entry has the reference's label, trader_id, version, paper and announced_at; features and spec_formats only
    where they aren't those of the released trader; packages never.
    """
    return canonical_json([_entry(each) for each in fleet]).decode("utf-8")


def parse_fleet_tag(model: str, value: str) -> tuple[Announcement, ...]:
    """The announcements in a model's read-only tag, without packages; SpecError for anything else."""
    try:
        entries = json.loads(value)
    except ValueError as error:
        raise SpecError(FLEET_TAG, f"no JSON ({error})", "a list of announcements") from None
    if not isinstance(entries, list):
        raise SpecError(FLEET_TAG, repr(entries)[:80], "a list of announcements")
    return tuple(_parse_entry(model, entry, f"{FLEET_TAG}[{i}]") for i, entry in enumerate(entries))


def _entry(announcement: Announcement) -> dict[str, Any]:
    trader = announcement.trader
    told = history.told(announcement) | {"announced_at": announcement.announced_at}
    if trader.features != features_of_trader(trader.version):
        told["features"] = list(trader.features)
    if trader.spec_formats != SPEC_FORMATS:
        told["spec_formats"] = list(trader.spec_formats)
    return told


def _parse_entry(model: str, entry: object, path: str) -> Announcement:
    read = parsing.mapping(entry, path, _ENTRY)
    version = parsing.take(read, "version", path, parsing.version)
    trader = {"features": list(features_of_trader(version)), "spec_formats": list(SPEC_FORMATS)}
    data = {
        "trader": trader | {key: value for key, value in read.items() if key not in _SAID},
        "reference": {"model": model, "label": read.get("reference")},
        "announced_at": read.get("announced_at"),
        "packages": {},
    }
    return Announcement.from_dict(data, path)
