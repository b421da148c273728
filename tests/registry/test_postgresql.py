"""The guard on PostgreSQL: the paths, the transactions and the races of the other tests, on a real server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from mlflow_ppo_flavor.registry.store import GuardMixin, open_store
from tests.registry.postgresql import Server, serving
from tests.registry.test_announcements import TestAnnouncements  # noqa: F401 collected here again, with this store
from tests.registry.test_attestations import TestAttestations  # noqa: F401
from tests.registry.test_frozen import test_no_parent_of_a_registered_version_is_deleted  # noqa: F401
from tests.registry.test_frozen_versions import (  # noqa: F401
    test_deleting_the_version_frees_its_artifacts_unless_another_has_them,
    test_one_write_asks_by_the_index,
)
from tests.registry.test_keyed_reads import TestReads  # noqa: F401
from tests.registry.test_petitions import TestOverrides as Overrides
from tests.registry.test_recall import TestWithdrawal  # noqa: F401
from tests.registry.test_registration import (  # noqa: F401
    test_a_name_that_is_taken_is_refused_in_mlflows_own_words,
    test_a_version_is_ruled_on_and_written_in_one_transaction_after_what_is_fetched,
)
from tests.registry.test_schema import UNSTAMPED, asked, differences, opens_a_database_of_an_earlier_version
from tests.registry.test_store import (  # noqa: F401
    test_a_version_may_not_leave_where_a_forbidden_one_would_surface,
    test_a_version_that_the_fleet_cannot_run_enters_by_no_path,
    test_history_tells_when_who_what_moved_for_whom_and_why,
    test_models_that_nobody_announced_for_and_without_the_flavor_pass_untouched,
    test_renaming_into_a_name_that_traders_load,
)
from tests.registry.test_transactions import (  # noqa: F401
    at_once,
    race,
    races_for_one_approval,
    test_two_promotions_at_the_same_time_end_as_if_one_after_the_other,
    test_what_the_gate_cannot_understand_is_refused_and_not_retried,
)
from tests.registry.test_verdicts import (  # noqa: F401
    test_a_rename_empties_the_old_name_and_fills_the_new_one,
    test_each_allowed_move_has_one_and_a_refusal_none,
)
from tests.registry.test_written_by_the_gate import TestTagsAndDescription  # noqa: F401

pytestmark = [
    pytest.mark.server,
    pytest.mark.filterwarnings("ignore:XDG_RUNTIME_DIR is not set"),
]


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Server]:
    """One PostgreSQL server for this module."""
    with serving() as server:
        yield server


@pytest.fixture
def store(postgresql: Server) -> Iterator[GuardMixin]:
    """A guarded store on a new PostgreSQL database."""
    opened = open_store(f"ppo:{postgresql.fresh()}")
    yield opened
    opened.engine.dispose()


def test_announcing_and_promoting_at_the_same_time(postgresql: Server, folders: dict[str, str]) -> None:
    uri = postgresql.fresh()
    stores: list[SqlAlchemyStore] = [open_store(f"ppo:{uri}"), open_store(f"ppo:{uri}")]
    race(stores, folders)
    stores[0].engine.dispose()


@pytest.mark.parametrize("lacking", UNSTAMPED.values(), ids=UNSTAMPED)
def test_a_database_of_an_earlier_version_is_taken_up(
    postgresql: Server, folders: dict[str, str], lacking: tuple[str, ...]
) -> None:
    opens_a_database_of_an_earlier_version(postgresql.fresh(), folders, lacking)


def test_an_override_serves_once(store: GuardMixin, tmp_path: Path, folders: dict[str, str]) -> None:
    Overrides().test_lets_a_version_in_once(store, tmp_path, folders)


def test_an_approval_serves_one_of_two_promotions(
    postgresql: Server, tmp_path: Path, folders: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("references: {Production: {approvals: 1}}")
    monkeypatch.setenv("MLFLOW_PPO_POLICY_FILE", str(path))
    uri = postgresql.fresh()
    stores = [open_store(f"ppo:{uri}"), open_store(f"ppo:{uri}")]
    races_for_one_approval(stores, folders)
    stores[0].engine.dispose()


def test_crossing_renames_do_not_wait_for_each_other_forever(store: GuardMixin, folders: dict[str, str]) -> None:
    for name in ("a", "b"):
        store.create_registered_model(name)
        store.create_model_version(name, folders["2.6.0"])
    outcomes = at_once(
        [lambda: store.rename_registered_model("a", "b"), lambda: store.rename_registered_model("b", "a")] * 3
    )
    assert set(outcomes) == {"RESOURCE_ALREADY_EXISTS"}


def test_several_workers_may_start_on_one_new_database(postgresql: Server) -> None:
    uri = postgresql.fresh()
    assert at_once([lambda: open_store(f"ppo:{uri}")] * 4) == ["done"] * 4
    assert asked(uri, differences) == []
    open_store(f"ppo:{uri}").engine.dispose()
