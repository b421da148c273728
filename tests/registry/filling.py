"""A registry of thousands of versions: small real model folders, and rows written at once."""

from pathlib import Path
from typing import Any

import sqlalchemy
import yaml
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion, SqlRegisteredModel, SqlRegisteredModelAlias
from sqlalchemy import Engine

from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.registry.contracts import GOLDEN_FILE
from mlflow_ppo_flavor.registry.tables import ANNOUNCEMENTS, HISTORY
from tests.registry.model_folders import announcement, ppo_flavors, write_mlmodel

ALIAS = "a{:05d}"


def write_model(folder: Path, spec: ModelSpec, **options: Any) -> Path:
    """A model folder whose files are those that its MLmodel lists, byte for byte."""
    flavors = ppo_flavors(spec, **options)
    write_mlmodel(folder, flavors)
    for name, data in (("policy.safetensors", spec.version.encode()), ("spec.json", b"spec"), (GOLDEN_FILE, b"golden")):
        if name in flavors["ppo"]["files"]:
            (folder / name).write_bytes(data)
    return folder


def write_models(root: Path, spec: ModelSpec, count: int) -> list[Path]:
    """So many model folders of four files each; no two MLmodels are the same bytes."""
    first = write_model(root / "0", spec)
    document = yaml.safe_load((first / "MLmodel").read_text())
    files = {file.name: file.read_bytes() for file in first.iterdir()}
    text = yaml.safe_dump({**document, "model_uuid": "THE-UUID"})
    folders = [first]
    for i in range(1, count):
        folder = root / str(i)
        folder.mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(text.replace("THE-UUID", f"uuid-{i}").encode() if name == "MLmodel" else data)
        folders.append(folder)
    return folders


def fill(engine: Engine, folders: list[Path], *, models: int) -> None:
    """These versions, spread over so many models, each with an alias of its own: rows of MLflow's tables."""
    each = len(folders) // models
    with engine.begin() as connection:
        names = [{"workspace": "default", "name": _model(m), "creation_time": 1} for m in range(models)]
        connection.execute(sqlalchemy.insert(SqlRegisteredModel), names)
        rows = [
            {"workspace": "default", "name": _model(i // each), "version": i % each + 1, "creation_time": i + 1}
            | {"current_stage": "None", "source": str(folder), "storage_location": str(folder)}
            for i, folder in enumerate(folders)
        ]
        connection.execute(sqlalchemy.insert(SqlModelVersion), rows)
        keep = ("workspace", "name", "version")
        aliases = [{**{key: row[key] for key in keep}, "alias": ALIAS.format(row["version"])} for row in rows]
        connection.execute(sqlalchemy.insert(SqlRegisteredModelAlias), aliases)


def announce_all(engine: Engine, count: int, *, models: int, version: str = "2.7.0") -> None:
    """A trader for each of those aliases, as the gate keeps it: rows of the guard's tables."""
    each = count // models
    told = [announcement(_model(i // each), "@" + ALIAS.format(i % each + 1), version=version) for i in range(count)]
    here = [
        {"workspace": "default", "model": a.reference.model, "who": "unauthenticated"} | {"label": a.reference.label}
        for a in told
    ]
    kept = [
        {**row, "trader_id": "live-1", "announcement": canonical_json(a.to_dict()).decode(), "received_at": 1}
        for row, a in zip(here, told, strict=True)
    ]
    said = {"kind": "announce", "paper": True, "trader_id": "live-1", "version": version}
    empty = dict.fromkeys(("moves", "fleet", "findings"), "[]") | {"digests": "{}", "fact": "announced"}
    rows = [
        {**{key: row[key] for key in ("workspace", "model", "who")}, "at": 1, "allowed": True, **empty}
        | {"operation": canonical_json({**said, "reference": row["label"]}).decode()}
        for row in here
    ]
    with engine.begin() as connection:
        connection.execute(sqlalchemy.insert(ANNOUNCEMENTS), kept)
        connection.execute(sqlalchemy.insert(HISTORY), rows)


def _model(number: int) -> str:
    return f"desk-{number:05d}"
