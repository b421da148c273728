"""Whether registry, verdicts and history of a database tell one and the same story: for what was killed or raced."""

import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion, SqlRegisteredModelAlias
from sqlalchemy import Connection, select

from mlflow_ppo_flavor.contract.reference import PROTECTED_STAGES
from mlflow_ppo_flavor.registry.tables import HISTORY, VERDICTS

_VERSIONS: Any = SqlModelVersion.__table__
_ALIASES: Any = SqlRegisteredModelAlias.__table__


@dataclass(frozen=True)
class Story:
    """What one model's references load, by MLflow's own rows, and the gate's rows about it, oldest first."""

    loads: dict[str, int]
    history: list[dict[str, Any]]
    verdicts: list[dict[str, Any]]

    def moves(self) -> list[tuple[str, int | None, int | None]]:
        """Every allowed move: the reference's label, and the versions before and after."""
        return [
            (_label(move["reference"]), _version(move["before"]), _version(move["after"]))
            for row in self.history
            if row["allowed"]
            for move in json.loads(row["moves"])
        ]

    def faults(self) -> list[str]:
        """Where they differ; nothing else may have moved the model's references."""
        told: dict[str, int | None] = {}
        found = []
        for label, before, after in self.moves():
            if told.get(label) != before:
                found.append(f"{label}: the history moves it from {before}, which held {told.get(label)}")
            told[label] = after
        found += _differences("history", {k: v for k, v in told.items() if v is not None}, self.loads)
        return found + self._verdict_faults()

    def _verdict_faults(self) -> list[str]:
        last: dict[str, int | None] = {}
        sequences: dict[str, list[int]] = {}
        for row in self.verdicts:
            last[row["label"]] = row["version"]
            sequences.setdefault(row["label"], []).append(row["sequence"])
        found = [
            f"{label}: the verdicts' sequence has gaps: {numbers}"
            for label, numbers in sequences.items()
            if numbers != list(range(1, len(numbers) + 1))
        ]
        for label in sequences:
            entered = [(label, row["version"]) for row in self.verdicts if row["label"] == label]
            moved = [(label, after) for each, _, after in self.moves() if each == label]
            if entered != moved:
                found.append(f"{label}: verdicts tell {entered}, the history {moved}")
        return found + _differences("verdicts", {k: v for k, v in last.items() if v is not None}, self.loads)


def read(database: str, model: str) -> Story:
    """The story of one model, in one transaction."""
    engine = sqlalchemy.create_engine(database)
    with engine.connect() as connection:
        story = Story(
            _loads(connection, model),
            _rows(connection, select(HISTORY).where(HISTORY.c.model == model).order_by(HISTORY.c.id)),
            _rows(connection, select(VERDICTS).where(VERDICTS.c.model == model).order_by(VERDICTS.c.sequence)),
        )
    engine.dispose()
    return story


def _loads(connection: Connection, model: str) -> dict[str, int]:
    query = select(_VERSIONS.c.current_stage, sqlalchemy.func.max(_VERSIONS.c.version))
    query = query.where(_VERSIONS.c.name == model, _VERSIONS.c.current_stage.in_(PROTECTED_STAGES))
    stages = dict(connection.execute(query.group_by(_VERSIONS.c.current_stage)).all())
    aliases = connection.execute(select(_ALIASES.c.alias, _ALIASES.c.version).where(_ALIASES.c.name == model))
    return stages | {f"@{alias}": version for alias, version in aliases}


def _rows(connection: Connection, query: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(query).mappings()]


def _label(reference: str) -> str:
    return reference[reference.rindex("@") :] if "@" in reference else reference.rpartition("/")[2]


def _version(key: dict[str, Any] | None) -> int | None:
    return None if key is None else int(key["version"])


def _differences(teller: str, told: dict[str, int], loads: dict[str, int]) -> list[str]:
    labels = sorted(told.keys() | {label for label in loads if not label.startswith("@")})
    return [
        f"{label}: the {teller} leave {told.get(label)} there, it loads {loads.get(label)}"
        for label in labels
        if told.get(label) != loads.get(label)
    ]
