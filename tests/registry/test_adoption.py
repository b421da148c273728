"""Verdicts on what stands already: after somebody went round the gate, and where the last trader is retired."""

import pytest
from mlflow.exceptions import MlflowException
from sqlalchemy import text

from mlflow_ppo_flavor.contract.request import Retire
from mlflow_ppo_flavor.registry.store import GuardMixin
from tests.registry.model_folders import announcement
from tests.registry.operating import Folders, announce, ask_model, loaded, register, resolved, rows

VERDICTS = ("moved_around_the_gate", "no_verdict", "verdicts_missing", "record_changed")


def write(store: GuardMixin, statement: str, **values: object) -> None:
    """As somebody does who has the database's password."""
    with store.engine.begin() as connection:
        connection.execute(text(statement), values)


def findings(store: GuardMixin) -> list[str]:
    """What an audit finds of the verdicts on the references of the model, by code."""
    told = store.report("audit", "m").get("m", {"references": ()})
    codes = [finding["code"] for each in told["references"] for finding in each["findings"]]
    return [code for code in codes if code in VERDICTS]


def stages(store: GuardMixin, **version: str) -> None:
    for name, stage in version.items():
        number = int(name.removeprefix("v"))
        write(store, "UPDATE model_versions SET current_stage = :s WHERE version = :v", s=stage, v=number)


class TestRepeating:
    def test_what_stands_by_sql_and_is_meant_gets_its_verdict(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.6.0", "2.7.0")
        store.transition_model_version_stage("m", 1, "Production", False)
        stages(store, v2="Production")
        assert findings(store) == ["moved_around_the_gate"]
        store.transition_model_version_stage("m", 2, "Production", False)
        assert loaded(store) == [(1, 1), (2, 2)]
        assert findings(store) == []
        assert '"kind":"adopt"' in rows(store)[-1]["operation"]
        assert rows(store)[-1]["fact"].startswith("Allowed: Production loads version 2, judged for released trader")
        store.transition_model_version_stage("m", 2, "Production", False)
        assert loaded(store) == [(1, 1), (2, 2)]

    def test_what_is_meant_below_it_comes_back_by_archiving(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.6.0", "2.7.0")
        store.transition_model_version_stage("m", 1, "Production", False)
        stages(store, v2="Production")
        store.transition_model_version_stage("m", 1, "Production", False)
        assert findings(store) == ["moved_around_the_gate"]
        store.transition_model_version_stage("m", 1, "Production", True)
        assert loaded(store) == [(1, 1), (2, 1)]
        assert findings(store) == []

    def test_what_the_fleet_cannot_run_gets_none(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.6.0", "2.7.0")
        announce(store, announcement("m", version="2.6.0"))
        store.transition_model_version_stage("m", 1, "Production", False)
        stages(store, v2="Production")
        store.transition_model_version_stage("m", 2, "Production", False)
        assert loaded(store) == [(1, 1)]
        assert not rows(store)[-1]["allowed"]
        assert "moved_around_the_gate" in findings(store)

    def test_an_alias_that_is_protected(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.6.0", "2.6.0")
        announce(store, announcement("m", "@live", version="2.6.0"))
        store.set_registered_model_alias("m", "live", 1)
        write(store, "UPDATE registered_model_aliases SET version = 2")
        store.set_registered_model_alias("m", "live", 2)
        assert loaded(store, "@live") == [(1, 1), (2, 2)]
        assert findings(store) == []

    def test_a_verdict_that_is_there_is_not_written_again(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.6.0")
        announce(store, announcement("m", "@live", version="2.6.0"))
        for _ in range(2):
            store.transition_model_version_stage("m", 1, "Production", False)
            store.set_registered_model_alias("m", "live", 1)
            store.set_registered_model_alias("m", "other", 1)
        assert (loaded(store), loaded(store, "@live"), loaded(store, "@other")) == ([(1, 1)], [(1, 1)], [])


class TestRetiring:
    def test_an_alias_whose_traders_are_retired_moves_freely_and_alarms_nobody(
        self, store: GuardMixin, folders: Folders
    ) -> None:
        register(store, folders, "2.6.0", "2.7.0")
        announce(store, announcement("m", "@beta", version="2.6.0", trader_id="canary-1"))
        store.set_registered_model_alias("m", "beta", 1)
        with pytest.raises(MlflowException, match="can't run it"):
            store.set_registered_model_alias("m", "beta", 2)
        ask_model(store, Retire("canary-1"))
        store.set_registered_model_alias("m", "beta", 2)
        assert findings(store) == []
        assert resolved(store, "@beta") == 2
        announce(store, announcement("m", "@beta", version="2.7.0", trader_id="canary-2"))
        assert loaded(store, "@beta") == [(1, 1), (2, 2)]
        assert findings(store) == []

    def test_an_announcement_that_was_deleted_and_not_retired_is_still_seen(
        self, store: GuardMixin, folders: Folders
    ) -> None:
        register(store, folders, "2.6.0", "2.7.0")
        announce(store, announcement("m", "@beta", version="2.6.0"))
        store.set_registered_model_alias("m", "beta", 1)
        write(store, "DELETE FROM ppo_announcements")
        store.set_registered_model_alias("m", "beta", 2)
        told = store.report("audit", "m")["m"]
        assert [finding["code"] for finding in told["findings"]] == ["announcement_missing"]
