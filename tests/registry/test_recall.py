"""Rollback and withdrawal on a real database, each beside what the plain store could do in their place."""

from collections.abc import Callable
from typing import Any

import pytest
from mlflow.entities.model_registry import RegisteredModelTag
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from mlflow_ppo_flavor.contract.request import Retire, Rollback, Withdraw
from mlflow_ppo_flavor.registry.store import GuardMixin
from tests.registry.model_folders import announcement
from tests.registry.operating import (
    Folders,
    announce,
    ask_model,
    loaded,
    promote,
    refused,
    register,
    resolved,
    rows,
)

Policed = Callable[[dict[str, Any]], GuardMixin]


def stages(store: SqlAlchemyStore, *versions: int) -> list[str]:
    return [store.get_model_version("m", version).current_stage for version in versions]


class TestRollback:
    def test_goes_to_the_last_version_that_ran_and_archives_what_is_above(
        self, store: GuardMixin, folders: Folders
    ) -> None:
        register(store, folders, "2.6.0", "2.6.0", "2.6.0", "2.6.0")
        for version in (1, 2, 4):
            promote(store, version)
        ask_model(store, Rollback("Production"))
        assert stages(store, 1, 2, 3, 4) == ["Production", "Production", "None", "Archived"]
        assert resolved(store, "Production") == 2
        ask_model(store, Rollback("Production"))
        assert stages(store, 1, 2, 3, 4) == ["Production", "Archived", "None", "Archived"]
        assert loaded(store) == [(1, 1), (2, 2), (3, 4), (4, 2), (5, 1)]
        assert "ppo.rollback" not in store.get_registered_model("m").tags
        error = refused(lambda: ask_model(store, Rollback("Production")))
        assert "no other version is known to have run there before" in error.message[:150]
        assert [row["allowed"] for row in rows(store)][-1] == 0

    def test_passes_over_what_todays_fleet_cannot_run(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.6.0", "2.7.0", "2.7.0")
        promote(store, 1)
        promote(store, 2, archive=True)
        promote(store, 3, archive=True)
        store.transition_model_version_stage("m", 3, "Archived", False)
        announce(store, announcement("m", version="2.6.0"))
        ask_model(store, Rollback("Production"))
        assert resolved(store, "Production") == 1

    def test_of_an_alias(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.6.0", "2.6.0")
        announce(store, announcement("m", "@champion", version="2.6.0"))
        for version in (1, 2):
            store.set_registered_model_alias("m", "champion", version)
        ask_model(store, Rollback("@champion"))
        assert resolved(store, "@champion") == 1

    def test_a_model_made_anew_has_run_none_of_its_versions(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.6.0", "2.7.0")
        promote(store, 2)
        store.delete_registered_model("m")
        register(store, folders, "2.6.0", "2.7.0")
        error = refused(lambda: ask_model(store, Rollback("Production")))
        assert "found another version 2, it ran there and was deleted since" in error.message
        for version in (1, 2):
            promote(store, version)
        ask_model(store, Rollback("Production"))
        assert resolved(store, "Production") == 1

    def test_of_an_alias_that_nobody_loads_brings_nothing_that_never_ran(
        self, store: GuardMixin, folders: Folders
    ) -> None:
        register(store, folders, "2.6.0")
        announce(store, announcement("m", "@champion", version="2.6.0"))
        store.set_registered_model_alias("m", "champion", 1)
        ask_model(store, Retire("live-1"))
        store.delete_registered_model("m")
        register(store, folders, "sklearn", "2.6.0")
        refused(lambda: ask_model(store, Rollback("@champion")))
        assert resolved(store, "@champion") is None

    def test_needs_no_approval(self, policed: Policed, folders: Folders) -> None:
        store = policed({})
        register(store, folders, "2.6.0", "2.6.0")
        for version in (1, 2):
            promote(store, version)
        strict = policed({"approvals": 1})
        refused(lambda: strict.transition_model_version_stage("m", 2, "Archived", False))
        ask_model(strict, Rollback("Production"))
        assert resolved(strict, "Production") == 1


class TestWithdrawal:
    def test_takes_along_what_would_surface_and_cannot_be_run(
        self, store: GuardMixin, plain: SqlAlchemyStore, folders: Folders
    ) -> None:
        for each in (store, plain):
            register(each, folders, "2.6.0", "2.7.0", "2.6.0")
            for version in (1, 2, 3):
                promote(each, version)
        announce(store, announcement("m", version="2.6.0"))
        refused(lambda: promote(store, 3, "Archived"))
        promote(plain, 3, "Archived")
        assert resolved(plain, "Production") == 2
        ask_model(store, Withdraw("Production"))
        assert stages(store, 1, 2, 3) == ["Production", "Archived", "Archived"]
        ask_model(store, Withdraw("Production"))
        assert resolved(store, "Production") is None
        ask_model(store, Withdraw("Production"))
        assert loaded(store) == [(1, 1), (2, 2), (3, 3), (4, 1), (5, None)]

    def test_of_an_alias_deletes_it(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.6.0")
        announce(store, announcement("m", "@champion", version="2.6.0"))
        store.set_registered_model_alias("m", "champion", 1)
        ask_model(store, Withdraw("@champion"))
        assert resolved(store, "@champion") is None
        assert loaded(store, "@champion") == [(1, 1), (2, None)]


def test_a_withdrawal_of_nothing_stands_in_the_history_and_has_no_verdict(store: GuardMixin, folders: Folders) -> None:
    register(store, folders, "2.6.0")
    ask_model(store, Withdraw("Production"))
    assert [row["fact"] for row in rows(store)] == ["Allowed: no protected reference moves"]
    assert loaded(store) == []


def test_a_model_that_is_not_guarded_has_mlflows_own_operations(store: GuardMixin, folders: Folders) -> None:
    register(store, folders, "sklearn")
    for asked in (Rollback("Production"), Withdraw("Production")):
        with pytest.raises(MlflowException) as caught:
            ask_model(store, asked)
        assert caught.value.message.startswith("m/Production: found a model that isn't guarded, expected one with")
        assert caught.value.get_http_status_code() == 400


def test_a_model_that_is_not_there(store: GuardMixin) -> None:
    with pytest.raises(MlflowException, match="Registered Model with name=nobody not found"):
        store.set_registered_model_tag("nobody", RegisteredModelTag("ppo.withdraw", Withdraw("Production").value))
