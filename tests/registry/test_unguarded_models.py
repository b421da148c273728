"""Requests about models that aren't guarded: nobody rules on them, beside those that are guarded or may be."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from sqlalchemy import select

from mlflow_ppo_flavor.contract.request import Approve, OverrideRequest, Reverify
from mlflow_ppo_flavor.registry.store import GuardMixin
from mlflow_ppo_flavor.registry.tables import APPROVALS, OVERRIDES
from tests.registry.model_folders import (
    SKLEARN_FLAVORS,
    announcement,
    attestation,
    ppo_flavors,
    trained,
    write_mlmodel,
)
from tests.registry.operating import Folders, announce, as_user, ask_version, attest, refused, register, rows

ASKED = Approve("Production"), OverrideRequest("Production", "nobody trades by it", 3600), Reverify()
Policed = Callable[[dict[str, Any]], GuardMixin]


def codes(error: MlflowException) -> list[str]:
    return [finding["code"] for finding in error.json_kwargs["findings"]]


def test_nothing_is_asked_of_the_gate_about_one(store: GuardMixin, folders: Folders) -> None:
    """As `withdraw` and `rollback` answer there: nothing is kept, and no row of the history is written."""
    register(store, folders, "sklearn", "sklearn", model="fraud")
    store.transition_model_version_stage("fraud", 1, "Production", archive_existing_versions=False)
    other = attestation("0" * 64)
    calls = [
        *(lambda each=asked: ask_version(store, 2, each, "fraud") for asked in ASKED),
        lambda: attest(store, 2, other, "fraud"),
    ]
    for call in calls:
        with as_user("ann"), pytest.raises(MlflowException) as caught:
            call()
        assert caught.value.message == (
            "fraud version 2: found a model that isn't guarded, expected one with a version of the ppo flavor, a "
            "trader that announced for it or a place in the policy: use MLflow's own operations"
        )
        assert caught.value.get_http_status_code() == 400
    assert rows(store, "fraud") == []
    with store.engine.connect() as connection:
        assert connection.execute(select(APPROVALS)).all() == connection.execute(select(OVERRIDES)).all() == []


@pytest.mark.parametrize("guarded_by", ["the flavor", "a trader", "the policy"])
def test_one_that_is_guarded_is_ruled_on(policed: Policed, folders: Folders, guarded_by: str) -> None:
    store = policed({"references": {"m/Production": {}}} if guarded_by == "the policy" else {})
    register(store, folders, "sklearn", *(["2.6.0"] if guarded_by == "the flavor" else []))
    if guarded_by == "a trader":
        announce(store, announcement("m"))
    with as_user("ann"):
        for asked in ASKED[:2]:
            assert codes(refused(lambda each=asked: ask_version(store, 1, each))) == ["no_contract"]
        assert codes(refused(lambda: attest(store, 1, attestation("0" * 64)))) == ["no_contract"]
        ask_version(store, 1, Reverify())
    assert rows(store)[-1]["fact"].startswith("m version 1 was read again: MLmodel has no ppo flavor")


def test_what_nobody_can_read_may_have_the_flavor(store: GuardMixin, tmp_path: Path, folders: Folders) -> None:
    folder = tmp_path / "late"
    register(store, {**folders, "late": str(folder)}, "late")
    with as_user("ann"):
        for asked in ASKED:
            assert codes(refused(lambda each=asked: ask_version(store, 1, each))) == ["unknown_contract"]
        write_mlmodel(folder, ppo_flavors(trained("2.7.0")))
        ask_version(store, 1, Approve("Production"))
    assert [row["allowed"] for row in rows(store)] == [0, 0, 0, 1]


def test_a_version_that_could_not_be_read_is_read_again_and_then_known(
    store: GuardMixin, tmp_path: Path, folders: Folders
) -> None:
    folder = tmp_path / "late"
    register(store, {**folders, "late": str(folder)}, "late")
    write_mlmodel(folder, SKLEARN_FLAVORS)
    ask_version(store, 1, Reverify())
    with pytest.raises(MlflowException, match="found a model that isn't guarded"):
        ask_version(store, 1, Reverify())
    write_mlmodel(folder, ppo_flavors(trained("2.7.0")))
    ask_version(store, 1, Reverify())
    assert store.get_model_version("m", 1).tags["ppo.spec"] == "ppo 2.7.0"
