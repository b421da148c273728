"""Check, write and history are one transaction, and two requests at the same time are one after the other."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities.model_registry import RegisteredModelTag
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import inspect, text, update

from mlflow_ppo_flavor.contract.request import Approve
from mlflow_ppo_flavor.registry.store import GuardMixin, open_store
from mlflow_ppo_flavor.registry.tables import ANNOUNCEMENTS, METADATA
from tests.registry import databases
from tests.registry.model_folders import announce_value, announcement
from tests.registry.operating import as_user, ask_version, loaded, rows


def populate(store: SqlAlchemyStore, folders: dict[str, str], *kinds: str) -> None:
    store.create_registered_model("m")
    for kind in kinds:
        store.create_model_version("m", folders[kind])


def announce(store: SqlAlchemyStore, version: str) -> None:
    value = announce_value(announcement("m", version=version))
    store.set_registered_model_tag("m", RegisteredModelTag("ppo.announce", value))


def refuse_writes_to(store: GuardMixin, table: str, verb: str = "INSERT") -> None:
    """Make the database itself fail at one kind of write."""
    with store.engine.begin() as connection:
        connection.execute(
            text(f"CREATE TRIGGER stop BEFORE {verb} ON {table} BEGIN SELECT RAISE(ABORT, 'stopped by the test'); END")
        )


def test_where_the_history_cannot_be_written_nothing_moves(store: GuardMixin, folders: dict[str, str]) -> None:
    populate(store, folders, "2.6.0")
    refuse_writes_to(store, "ppo_history")
    with pytest.raises(MlflowException, match="stopped by the test") as caught:
        store.transition_model_version_stage("m", 1, "Production", False)
    assert caught.value.get_http_status_code() == 400
    assert store.get_model_version("m", 1).current_stage == "None"


def test_where_mlflow_cannot_write_no_history_tells_that_it_did(store: GuardMixin, folders: dict[str, str]) -> None:
    populate(store, folders, "2.6.0")
    refuse_writes_to(store, "model_versions", "UPDATE")
    with pytest.raises(MlflowException, match="stopped by the test"):
        store.transition_model_version_stage("m", 1, "Production", False)
    assert rows(store) == []
    assert "ppo.verdict" not in store.get_model_version("m", 1).tags


def test_a_registration_stands_where_its_contract_cannot_be_kept_and_a_promotion_does_not(
    store: GuardMixin, folders: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    refuse_writes_to(store, "ppo_contracts")
    populate(store, folders, "2.6.0")
    assert "The contract of m version 1 is read later" in caplog.text
    with pytest.raises(MlflowException, match="stopped by the test"):
        store.transition_model_version_stage("m", 1, "Production", False)
    assert store.get_model_version("m", 1).current_stage == "None"


def test_what_the_gate_cannot_understand_is_refused_and_not_retried(store: GuardMixin, folders: dict[str, str]) -> None:
    populate(store, folders, "2.6.0")
    announce(store, "2.6.0")
    with store.ManagedSessionMaker(read_only=False) as session:
        session.execute(update(ANNOUNCEMENTS).values(announcement="{}"))
    with pytest.raises(MlflowException) as caught:
        store.transition_model_version_stage("m", 1, "Production", False)
    assert caught.value.get_http_status_code() == 409
    assert caught.value.message.startswith(
        "Refused: m version 1 can't become Production: an announcement of live-1 that can't be read: "
        "announcement.trader: found nothing, expected a mapping: "
    )
    assert store.get_model_version("m", 1).current_stage == "None"


def test_a_gate_that_fails_refuses_and_changes_nothing(store: GuardMixin, folders: dict[str, str]) -> None:
    populate(store, folders, "2.6.0")
    announce(store, "2.6.0")
    store._guard.clock = lambda: 1 // 0
    with pytest.raises(MlflowException) as caught:
        store.transition_model_version_stage("m", 1, "Production", False)
    assert caught.value.get_http_status_code() == 409
    assert caught.value.message == (
        "Refused: the gate failed and nothing was changed: ZeroDivisionError: integer division or modulo by zero"
    )
    assert store.get_model_version("m", 1).current_stage == "None"


def test_a_locked_database_is_busy_and_not_broken(store: GuardMixin, folders: dict[str, str]) -> None:
    populate(store, folders, "2.6.0")
    with sqlite3.connect(str(store.engine.url.database), isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        done: list[str] = []
        waiting = threading.Thread(
            target=lambda: done.append(store.transition_model_version_stage("m", 1, "Production", False).current_stage)
        )
        waiting.start()
        waiting.join(0.5)
        assert done == []
        other.execute("COMMIT")
        waiting.join(20)
    other.close()
    assert done == ["Production"]


def at_once(calls: list[Callable[[], Any]]) -> list[str]:
    """Outcomes of calls that start at the same moment, each in its thread, in their order."""
    barrier, outcomes = threading.Barrier(len(calls)), [""] * len(calls)

    def run(i: int) -> None:
        barrier.wait()
        try:
            calls[i]()
            outcomes[i] = "done"
        except MlflowException as error:
            outcomes[i] = error.error_code

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def race(stores: list[SqlAlchemyStore], folders: dict[str, str]) -> None:
    """Promote what only a new trader runs, and announce an old one, at the same time: one of both is refused."""
    for round_ in range(6):
        model = f"m{round_}"
        stores[0].create_registered_model(model)
        stores[0].create_model_version(model, folders["2.7.0"])
        tag = RegisteredModelTag("ppo.announce", announce_value(announcement(model, version="2.6.0")))
        outcomes = at_once(
            [
                lambda m=model: stores[0].transition_model_version_stage(m, 1, "Production", False),
                lambda m=model, t=tag: stores[1].set_registered_model_tag(m, t),
            ]
        )
        assert sorted(outcomes) == ["RESOURCE_CONFLICT", "done"]


def test_announcing_and_promoting_at_the_same_time(tmp_path: Path, folders: dict[str, str]) -> None:
    uri = databases.fresh(tmp_path)
    stores: list[SqlAlchemyStore] = [open_store(f"ppo:{uri}"), open_store(f"ppo:{uri}")]
    race(stores, folders)
    stores[0].engine.dispose()


def test_two_promotions_at_the_same_time_end_as_if_one_after_the_other(
    store: GuardMixin, folders: dict[str, str]
) -> None:
    populate(store, folders, "2.6.0", "2.6.0", "2.6.0")
    outcomes = at_once(
        [lambda v=v: store.transition_model_version_stage("m", v, "Production", True) for v in (1, 2, 3)]
    )
    assert outcomes == ["done"] * 3
    assert len(store.get_latest_versions("m", ["Production"])) == 1
    assert [store.get_model_version("m", v).current_stage for v in (1, 2, 3)].count("Production") == 1
    assert len(rows(store)) == 3
    assert [sequence for sequence, _ in loaded(store)] == [1, 2, 3]
    assert loaded(store)[-1][1] == int(store.get_latest_versions("m", ["Production"])[0].version)


def races_for_one_approval(stores: list[GuardMixin], folders: dict[str, str]) -> None:
    """Both stages ask for an approval of their own; two users use the one for Production at the same time."""
    populate(stores[0], folders, "2.7.0")
    with as_user("ann"):
        ask_version(stores[0], 1, Approve("Production"))

    def promoted_by(name: str, store: GuardMixin) -> Callable[[], Any]:
        def call() -> None:
            with as_user(name):
                store.transition_model_version_stage("m", 1, "Production", False)
                store.transition_model_version_stage("m", 1, "None", False)

        return call

    outcomes = at_once([promoted_by("bob", stores[0]), promoted_by("eve", stores[1])])
    # whoever comes second finds the approval used, or the version there already: that moves nothing
    assert outcomes.count("done") >= 1
    entered = [version for _, version in loaded(stores[0]) if version is not None]
    assert entered == [1]


def test_an_approval_serves_one_of_two_promotions(
    policed: Callable[[Any], GuardMixin], folders: dict[str, str]
) -> None:
    policy = {"references": {"Production": {"approvals": 1}}}
    races_for_one_approval([policed(policy), policed(policy)], folders)


def test_several_workers_may_start_on_one_new_database(tmp_path: Path) -> None:
    uri = databases.fresh(tmp_path)
    assert at_once([lambda: open_store(f"ppo:{uri}")] * 4) == ["done"] * 4
    assert set(METADATA.tables) <= set(inspect(open_store(f"ppo:{uri}").engine).get_table_names())


def test_the_guards_tables_are_its_own(store: GuardMixin) -> None:
    plain = SqlAlchemyStore(str(store.engine.url))
    assert plain.search_registered_models() == []
    assert all(name.startswith("ppo_") for name in METADATA.tables)
