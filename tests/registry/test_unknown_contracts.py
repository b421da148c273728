"""Versions whose MLmodel can't be fetched at registration: nothing is kept of that, and they enter nowhere meanwhile.

The artifact store that doesn't answer is a folder that isn't there yet.
"""

from pathlib import Path

import pytest
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import select

from mlflow_ppo_flavor.registry.store import GuardMixin
from mlflow_ppo_flavor.registry.tables import CONTRACTS
from tests.registry.model_folders import SKLEARN_FLAVORS, announcement, ppo_flavors, trained, write_mlmodel
from tests.registry.operating import Folders, announce, refused, register, resolved, rows

FACT = "Refused: m version 1 can't become Production: try again later: MLmodel can't be read: "


@pytest.fixture
def late(store: GuardMixin, tmp_path: Path) -> Path:
    """The folder of version 1 of `m`, which was registered before anything lay there."""
    folder = tmp_path / "late"
    store.create_registered_model("m")
    store.create_model_version("m", str(folder))
    return folder


def promote(store: SqlAlchemyStore, version: int = 1, stage: str = "Production") -> None:
    store.transition_model_version_stage("m", version, stage, False)


def test_it_enters_no_protected_stage_and_says_what_to_do(store: GuardMixin, late: Path) -> None:
    error = refused(lambda: promote(store))
    assert error.message.startswith(FACT)
    assert [finding["code"] for finding in error.json_kwargs["findings"]] == ["unknown_contract"]
    assert error.json_kwargs["findings"][0]["remedy"].startswith("try again once it can be read, or log it with")
    assert str(late) in error.json_kwargs["findings"][0]["found"]
    assert resolved(store, "Production") is None
    assert [row["allowed"] for row in rows(store)] == [False]


def test_it_is_read_when_it_can_be_and_nothing_is_kept_of_the_failure(store: GuardMixin, late: Path) -> None:
    refused(lambda: promote(store))
    with store.ManagedSessionMaker() as session:
        assert session.execute(select(CONTRACTS.c.version)).all() == []
    write_mlmodel(late, ppo_flavors(trained("2.7.0")))
    promote(store)
    assert store.get_model_version("m", 1).tags["ppo.spec"] == "ppo 2.7.0"


def test_the_fleet_is_asked_once_it_can_be_read(store: GuardMixin, late: Path) -> None:
    announce(store, announcement("m", version="2.6.0"))
    assert refused(lambda: promote(store)).message.startswith(FACT)
    write_mlmodel(late, ppo_flavors(trained("2.7.0")))
    assert "trader live-1 (2.6.0) can't run it" in refused(lambda: promote(store)).message


def test_it_leaves_by_every_path(store: GuardMixin, late: Path) -> None:
    for stage in ("Archived", "None"):
        promote(store, stage=stage)
    store.set_registered_model_alias("m", "mine", 1)
    store.delete_registered_model_alias("m", "mine")
    store.rename_registered_model("m", "n")
    store.delete_model_version("n", 1)
    store.delete_registered_model("n")
    assert rows(store) == rows(store, "n") == []


def test_it_may_stand_where_it_stood_before_the_guard_and_leave(store: GuardMixin, late: Path) -> None:
    promote(SqlAlchemyStore(str(store.engine.url)))
    promote(store)
    promote(store, stage="Archived")
    assert resolved(store, "Production") is None


def test_it_may_not_surface_either(store: GuardMixin, late: Path, folders: Folders) -> None:
    store.create_model_version("m", folders["sklearn"])
    for version in (1, 2):
        promote(SqlAlchemyStore(str(store.engine.url)), version)
    error = refused(lambda: promote(store, 2, "Archived"))
    assert error.message.startswith("Refused: moving version 2 to Archived would make version 1 Production: try again")
    promote(store, 1, "Archived")
    promote(store, 2, "Archived")


def test_what_is_known_to_lack_the_flavor_passes_beside_it(store: GuardMixin, late: Path, folders: Folders) -> None:
    store.create_model_version("m", folders["sklearn"])
    promote(store, 2)
    assert resolved(store, "Production") == 2
    write_mlmodel(late, SKLEARN_FLAVORS)
    promote(store, 1, "Staging")
    assert rows(store) == []


def test_one_that_turns_out_to_have_the_flavor_guards_the_others(
    store: GuardMixin, late: Path, folders: Folders
) -> None:
    store.create_model_version("m", folders["sklearn"])
    write_mlmodel(late, ppo_flavors(trained("2.6.0")))
    assert "MLmodel has no ppo flavor" in refused(lambda: promote(store, 2)).message


def test_in_a_guarded_model_the_others_go_on(store: GuardMixin, folders: Folders) -> None:
    register(store, folders, "2.6.0", "missing", "2.7.0")
    promote(store, 1)
    assert "try again later" in refused(lambda: promote(store, 2)).message
    promote(store, 3)
    promote(store, 2, "Archived")


def test_a_trader_may_not_announce_for_it_yet(store: GuardMixin, late: Path) -> None:
    promote(SqlAlchemyStore(str(store.engine.url)))
    assert "try again later" in refused(lambda: announce(store, announcement("m"))).message
    write_mlmodel(late, ppo_flavors(trained("2.6.0")))
    announce(store, announcement("m"))


@pytest.mark.parametrize("content", [b"[" * 30_000, b"flavors: {ppo: {<<: {}}}"])
def test_an_mlmodel_that_is_not_safe_to_load_enters_no_stage_and_locks_nothing_in(
    store: GuardMixin, late: Path, content: bytes
) -> None:
    late.mkdir()
    (late / "MLmodel").write_bytes(content)
    assert "can't become Production: MLmodel: found " in refused(lambda: promote(store)).message
    announce(store, announcement("m"))
    assert "can't become Production: MLmodel: found " in refused(lambda: promote(store)).message
    promote(store, stage="Archived")
    store.delete_model_version("m", 1)


def test_a_poisoned_number_is_a_finding_and_locks_nothing_in(store: GuardMixin, late: Path) -> None:
    flavors = ppo_flavors(trained("2.7.0"))
    flavors["ppo"]["spec"]["actions"][1]["size"] = 10**400
    write_mlmodel(late, flavors)
    assert "flavors.ppo.spec.actions[1].size: found 1000" in refused(lambda: promote(store)).message
    promote(store, stage="Archived")
    store.delete_model_version("m", 1)
