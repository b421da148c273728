"""An existing registry made known to the gate, adopted, and freed of it again."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, inspect, text

from mlflow_ppo_flavor.contract.keys import SigningKey
from mlflow_ppo_flavor.errors import RegistryError
from mlflow_ppo_flavor.registry import database, installation, removal
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.store import GuardMixin, open_store
from tests.cli.commands import mlflow_ppo
from tests.registry import databases, postgresql
from tests.registry.model_folders import announcement
from tests.registry.operating import Folders, announce, register, resolved


@pytest.fixture(scope="module")
def server() -> Any:
    with postgresql.serving() as started:
        yield started


@pytest.fixture(params=["sqlite", "postgresql"])
def existing(request: pytest.FixtureRequest, tmp_path: Path, folders: Folders) -> str:
    """The plain URI of a registry that was never guarded: `m` loads 2.7.0 by Production and 2.6.0 by @live; `broken` a
    model that can't be read, `other` one of another flavor.
    """
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

    if request.param == "postgresql":
        uri: str = request.getfixturevalue("server").fresh()
    else:
        uri = databases.fresh(tmp_path)
    plain = SqlAlchemyStore(uri)
    register(plain, folders, "2.6.0", "2.7.0", "missing")
    register(plain, folders, "2.7.0", "missing", model="broken")
    register(plain, folders, "sklearn", model="other")
    plain.transition_model_version_stage("m", 2, "Production", False)
    plain.set_registered_model_alias("m", "live", 1)
    plain.transition_model_version_stage("broken", 2, "Production", False)
    plain.transition_model_version_stage("other", 1, "Production", False)
    plain.update_model_version("m", 1, "written by Ann, about mlflow-ppo")
    plain.engine.dispose()
    return uri


def rows(engine: Engine) -> dict[str, list[Any]]:
    """All of MLflow's rows of the registry."""
    names = ("registered_models", "model_versions", "registered_model_aliases", "model_version_tags", "alembic_version")
    with engine.connect() as connection:
        return {name: sorted(map(repr, connection.execute(text(f"SELECT * FROM {name}")).all())) for name in names}


def test_installing_tells_what_would_be_refused_adopts_the_rest_and_is_removed_again(existing: str) -> None:
    engine = create_engine(existing)
    before = rows(engine)
    first = mlflow_ppo("guard", "install", existing)
    assert (first.code, first.err) == (1, "")
    lines = first.out.splitlines()
    assert lines[0].endswith(": the gate's tables are there, 4 contracts were read now")
    assert lines[1].startswith("  not read: broken version 2: try again later: MLmodel can't be read: ")
    assert "1 of 2 protected references load what would be refused today" in lines
    assert "broken/Production loads version 2" in lines
    assert "  [safety] Production: found its contract hasn't been read yet, a trader needs a contract" in first.out
    assert "Nothing is enforced yet. Next, start the server with the gate:" in lines
    assert lines[-2].startswith("  mlflow-ppo server --backend-store-uri ")
    assert lines[-1] == "  and before it, give what stands its verdicts: run this again with --adopt"
    again = mlflow_ppo("guard", "install", existing, "--adopt", "--format", "json").json
    assert (again["read"], len(again["unread"]), again["adopted"]) == (0, 2, ["m/Production"])
    assert [each["reference"] for each in again["refused"]] == ["broken/Production"]
    third = mlflow_ppo("guard", "install", existing, "--adopt", "--format", "json").json
    assert third["adopted"] == [], "what has its verdict is left as it is"
    told = mlflow_ppo("guard", "remove", existing)
    assert told.code == 0
    lines = told.out.splitlines()
    keys = ["ppo.digest", "ppo.proof", "ppo.requires_trader", "ppo.spec"]
    assert [line for line in lines if line.startswith("  tag ")] == [f"  tag {key} (3)" for key in keys]
    assert lines[-2].startswith("  12 tags that start with ppo., ")
    assert "Nothing was changed. Stop the server, then run it again with --yes" in told.out
    assert database.has_guard(existing)
    removed = mlflow_ppo("guard", "remove", f"ppo:{existing}", "--yes", "--format", "json").json
    assert removed["removed"]
    assert removed["tables"]["ppo_verdicts"] == 1
    assert (removed["keys"], removed["tags"]) == (dict.fromkeys(keys, 3), 12)
    assert not [name for name in inspect(engine).get_table_names() if name.startswith("ppo_")]
    assert rows(engine) == before
    assert mlflow_ppo("guard", "remove", existing, "--yes").out.endswith(": nothing to remove\n")
    engine.dispose()


def test_reading_tells_how_far_it_is(tmp_path: Path, folders: Folders) -> None:
    plain = databases.unguarded(tmp_path)
    register(plain, folders, *["2.7.0"] * 5, "missing")
    plain.engine.dispose()
    store = open_store(f"ppo:{plain.engine.url}")
    steps: list[int] = []
    failed = installation.read_all(store, installation.unread(store, "default"), steps.append)
    assert sum(steps) == 6
    assert {origin.key.version: contract.known for origin, contract in failed.items()} == {6: False}
    assert store.get_model_version("m", 1).tags["ppo.spec"] == "ppo 2.7.0"
    store.engine.dispose()


def test_adopting_signs_what_stands_and_never_what_is_refused(
    tmp_path: Path, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = databases.unguarded(tmp_path)
    register(plain, folders, "2.7.0")
    register(plain, folders, "unproven", model="unproven")
    for model in ("m", "unproven"):
        plain.transition_model_version_stage(model, 1, "Production", False)
    SigningKey.generate().write(tmp_path / "key.pem")
    monkeypatch.setenv("MLFLOW_PPO_SIGNING_KEY_FILE", str(tmp_path / "key.pem"))
    store = open_store(f"ppo:{plain.engine.url}")
    installation.read_all(store, installation.unread(store, "default"), lambda _: None)
    announce(store, announcement("m", "@live"))
    with store.engine.begin() as connection:
        # real money on what has no proof: the gate would not have taken the announcement
        money = announcement("unproven", paper=False)
        announce(store, announcement("unproven"))
        connection.execute(text("UPDATE ppo_announcements SET announcement = replace(announcement, 'true', 'false')"))
        assert not money.trader.paper
    standing = {str(each.held.reference): each.allowed for each in installation.standings(store, "default")}
    assert standing["m/Production"]
    assert not standing["unproven/Production"]
    adopted = [str(each.held.reference) for each in installation.adopt(store, "default")]
    assert "m/Production" in adopted
    assert "unproven/Production" not in adopted
    assert set(store.report("verdict")["m"]) == {"Production"}
    row = store.report("history")["m"]["rows"][0]
    assert (row["who"], row["fact"]) == ("mlflow-ppo guard install", "Adopted as it stands: Production loads version 1")
    store.engine.dispose()
    plain.engine.dispose()


def test_what_was_moved_around_the_gate_can_be_adopted_and_emptied_too(store: GuardMixin, folders: Folders) -> None:
    register(store, folders, "2.7.0", "2.7.0")
    for version in (1, 2):
        store.transition_model_version_stage("m", version, "Production", False)
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE model_versions SET current_stage = 'None'"))
    assert resolved(store, "Production") is None
    assert [str(each.held.reference) for each in installation.adopt(store, "default")] == ["m/Production"]
    assert store.report("standing")["m"]["references"][0]["verdict"]["version"] is None
    assert installation.adopt(store, "default") == []


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        (
            "mysql://u:secret@h/db",
            "registry: found a database of the kind mysql, expected the URI of an MLflow server's",
        ),
        ("nowhere", "registry: found no database, expected the URI of an MLflow server's database"),
        ("sqlite:////nowhere/mlflow.db", "registry: found no file at sqlite:////nowhere/mlflow.db, expected the URI"),
        ("sqlite:///{tmp}/empty.db", "registry: found no MLflow registry in sqlite:///"),
        (
            "postgresql+psycopg2://u:secret@127.0.0.1:1/db",
            "registry: postgresql+psycopg2://u:***@127.0.0.1:1/db can't be used: ",
        ),
    ],
)
@pytest.mark.parametrize("command", ["install", "remove"])
def test_a_uri_that_holds_no_registry_is_told_without_its_password(
    command: str, uri: str, told: str, tmp_path: Path
) -> None:
    (tmp_path / "empty.db").touch()
    outcome = mlflow_ppo("guard", command, uri.format(tmp=tmp_path))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"Error: {told}")
    assert "secret" not in outcome.err


def test_a_database_is_looked_at_without_a_change(tmp_path: Path) -> None:
    uri = databases.fresh(tmp_path)
    assert not database.has_guard(uri)
    engine = create_engine(uri)
    assert not removal.remains(engine)
    assert not removal.remove(engine)
    engine.dispose()
    with pytest.raises(RegistryError, match="found no file"):
        database.has_guard(f"sqlite:///{tmp_path}/other.db")
    assert not (tmp_path / "other.db").exists()


def test_contracts_that_are_gone_by_then_arent_kept(store: GuardMixin, folders: Folders) -> None:
    register(store, folders, "missing")
    origin = installation.unread(store, "default")[0]
    store.delete_model_version("m", 1)
    store.keep_contracts({origin: Contract.unreadable("read too late")})
    assert installation.unread(store, "default") == []
    assert store.report("standing") == {}
