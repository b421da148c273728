"""Approvals, overrides, retirements and contracts read again, on a real database."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.exceptions import MlflowException
from sqlalchemy import select

from mlflow_ppo_flavor.contract.request import Approve, OverrideRequest, Retire, Reverify
from mlflow_ppo_flavor.registry.store import GuardMixin
from mlflow_ppo_flavor.registry.tables import APPROVALS, OVERRIDES
from tests.registry.model_folders import announcement, attestation, ppo_flavors, trained, write_mlmodel
from tests.registry.operating import (
    Folders,
    announce,
    as_user,
    ask_model,
    ask_version,
    attest,
    digest_of,
    promote,
    refused,
    register,
    resolved,
    rows,
)

Policed = Callable[[dict[str, Any]], GuardMixin]
WHY = OverrideRequest("Production", "the old trader stops tonight", 3600)


def codes(error: MlflowException) -> list[str]:
    return [finding["code"] for finding in error.json_kwargs["findings"]]


class TestApprovals:
    def test_another_user_than_the_requester_lets_a_version_in_once(self, policed: Policed, folders: Folders) -> None:
        store = policed({"references": {"Production": {"approvals": 1}}})
        register(store, folders, "2.7.0", "2.7.0")
        with as_user("ann"):
            ask_version(store, 1, Approve("Production"))
            assert "approvals" in codes(refused(lambda: promote(store, 1)))
        with as_user("bob"):
            assert "approvals" in codes(refused(lambda: promote(store, 2)))
            promote(store, 1)
            assert resolved(store, "Production") == 1
            promote(store, 1, "None")
            error = refused(lambda: promote(store, 1))
        assert "0 of 1 approval" in error.message[:150]
        assert [(row["who"], json.loads(row["operation"])["kind"]) for row in rows(store)][:2] == [
            ("ann", "approve"),
            ("ann", "transition"),
        ]

    def test_nobody_approves_whom_nobody_has_authenticated(self, policed: Policed, folders: Folders) -> None:
        store = policed({"approvals": 1})
        register(store, folders, "2.7.0")
        error = refused(lambda: ask_version(store, 1, Approve("Production")))
        assert error.message.splitlines()[0] == (
            "Refused: m version 1 for Production isn't approved: a user whom nobody has authenticated: "
            "an approval is a known user's word"
        )
        assert [row["allowed"] for row in rows(store)] == [0]

    def test_long_names_leave_the_reason_in_sight(self, store: GuardMixin, folders: Folders) -> None:
        model, label = "m" * 250, f"@{'a' * 250}"
        register(store, folders, "2.7.0", "missing", model=model)
        error = refused(lambda: ask_version(store, 1, Approve(label), model))
        assert "@aaaaaaaaaaaaaaaaaa… isn't approved: a user whom nobody has authenticated" in error.message[:150]
        error = refused(lambda: ask_version(store, 2, OverrideRequest(label, "why", 60), model))
        assert "@aaaaaaaaaaaaaaaaaa…: try again later: MLmodel can't be read" in error.message[:150]

    def test_is_of_one_version_and_one_reference(self, policed: Policed, folders: Folders) -> None:
        store = policed({"protected_aliases": ["champion"], "approvals": 1})
        register(store, folders, "2.7.0")
        with as_user("ann"):
            ask_version(store, 1, Approve("Production"))
        with as_user("bob"):
            refused(lambda: store.set_registered_model_alias("m", "champion", 1))
        store.delete_registered_model("m")
        register(store, folders, "2.7.0")
        with as_user("bob"):
            refused(lambda: promote(store, 1))
        with store.engine.connect() as connection:
            assert connection.execute(select(APPROVALS)).all() == []

    def test_is_void_where_the_version_is_another_by_now(self, policed: Policed, folders: Folders) -> None:
        store = policed({"approvals": 1})
        register(store, folders, "2.7.0")
        with as_user("ann"):
            ask_version(store, 1, Approve("Production"))
        with store.engine.begin() as connection:
            connection.execute(APPROVALS.update().values(digest="0" * 64))
        with as_user("bob"):
            refused(lambda: promote(store, 1))


class TestOverrides:
    def test_lets_a_version_in_once(self, store: GuardMixin, tmp_path: Path, folders: Folders) -> None:
        later = too_new(tmp_path)
        register(store, {**folders, "later": later}, "later")
        announce(store, announcement("m"))
        refused(lambda: promote(store, 1))
        ask_version(store, 1, WHY)
        promote(store, 1)
        assert resolved(store, "Production") == 1
        assert "overridden" in rows(store)[-1]["findings"]
        promote(store, 1, "None")
        refused(lambda: promote(store, 1))
        with store.engine.connect() as connection:
            assert [row.used_at is not None for row in connection.execute(select(OVERRIDES))] == [True]

    def test_another_users_is_found_behind_the_requesters_own(self, policed: Policed, folders: Folders) -> None:
        store = policed({"approvals": 1})
        register(store, folders, "2.7.0")
        for user in ("ann", "bob"):
            with as_user(user):
                ask_version(store, 1, WHY)
        with as_user("bob"):
            promote(store, 1)
        assert rows(store)[-1]["fact"].endswith(", overridden by ann")
        with store.engine.connect() as connection:
            assert [(row.who, row.used_at is None) for row in connection.execute(select(OVERRIDES))] == [
                ("ann", False),
                ("bob", True),
            ]

    def test_expires_by_the_clock(self, store: GuardMixin, tmp_path: Path, folders: Folders) -> None:
        register(store, {**folders, "later": too_new(tmp_path)}, "later")
        announce(store, announcement("m"))
        now = 1_800_000_000_000
        store._guard.clock = lambda: now
        ask_version(store, 1, WHY)
        store._guard.clock = lambda: now + 3_600_000
        refused(lambda: promote(store, 1))
        store._guard.clock = lambda: now + 3_599_999
        promote(store, 1)
        assert rows(store)[-1]["at"] == now + 3_599_999

    def test_never_covers_safety(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.7.0", "missing")
        announce(store, announcement("m", version="2.6.0"))
        ask_version(store, 1, WHY)
        refused(lambda: promote(store, 1))
        error = refused(lambda: ask_version(store, 2, WHY))
        assert error.message.startswith("Refused: no override of m version 2 for Production: try again later: MLmodel")

    def test_counts_as_no_approval_of_the_requesters_own(self, policed: Policed, folders: Folders) -> None:
        store = policed({"approvals": 1})
        register(store, folders, "2.7.0")
        for author, allowed in (("bob", False), (None, False), ("ann", True)):
            if author is None:
                ask_version(store, 1, WHY)
            else:
                with as_user(author):
                    ask_version(store, 1, WHY)
            with as_user("bob"):
                if allowed:
                    promote(store, 1)
                else:
                    refused(lambda: promote(store, 1))
        assert resolved(store, "Production") == 1


def too_new(folder: Path) -> str:
    """A model that the released trader could compute and is too old for: a version finding alone."""
    flavors = ppo_flavors(trained("2.7.0"))
    flavors["ppo"]["spec"] |= {"version": "2.8.0", "requires_trader": ">=2.8.0"}
    return str(write_mlmodel(folder / "later", flavors))


class TestRetirement:
    def test_of_the_weakest_lets_the_next_model_in(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.7.0")
        announce(store, announcement("m", version="2.6.0"))
        announce(store, announcement("m", "Staging", version="2.6.0"))
        announce(store, announcement("m", trader_id="live-2"))
        refused(lambda: promote(store, 1))
        ask_model(store, Retire("live-1", "Production"))
        promote(store, 1)
        refused(lambda: promote(store, 1, "Staging"))
        ask_model(store, Retire("live-1"))
        assert "live-1" not in store.get_registered_model("m").tags["ppo.fleet"]
        last = json.loads(rows(store)[-1]["operation"])
        assert last == {"kind": "retire", "trader_id": "live-1", "reference": None}

    def test_of_a_trader_that_never_announced(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.6.0")
        announce(store, announcement("m", version="2.6.0"))
        with pytest.raises(MlflowException) as caught:
            ask_model(store, Retire("live-1", "Staging"))
        assert caught.value.message == (
            "ppo.retire: found live-1 for Staging, expected a trader that announced for m: live-1 for Production"
        )
        assert caught.value.get_http_status_code() == 404


class TestOwners:
    def test_a_basic_auth_that_is_loaded_and_not_asked_makes_nobody_an_administrator(
        self, store: GuardMixin, folders: Folders
    ) -> None:
        importlib.import_module("mlflow.server.auth")
        register(store, folders, "2.7.0")
        with as_user("ann"):
            announce(store, announcement("m"))
        with as_user("bob"):
            assert codes(refused(lambda: ask_model(store, Retire("live-1")))) == ["trader_owned"]

    def test_an_id_belongs_to_the_user_who_announced_it_first(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.7.0")
        announce(store, announcement("m"))
        with as_user("ann"):
            announce(store, announcement("m", "Staging"))
        other: list[Callable[[], None]] = [
            lambda: announce(store, announcement("m", "@champion")),
            lambda: announce(store, announcement("m")),
            lambda: attest(store, 1, attestation(digest_of(store, 1))),
            lambda: ask_model(store, Retire("live-1")),
        ]
        for call in other:
            with as_user("bob"):
                assert codes(refused(call)) == ["trader_owned"]
            assert codes(refused(call)) == ["trader_owned"]
        with as_user("ann"):
            for call in other:
                call()
        with as_user("bob"):
            announce(store, announcement("m"))

    def test_a_policy_says_which_ids_may_announce(self, policed: Policed, folders: Folders) -> None:
        store = policed({"traders": ["live-*"]})
        register(store, folders, "2.7.0")
        announce(store, announcement("m"))
        error = refused(lambda: announce(store, announcement("m", trader_id="mallory")))
        assert codes(error) == ["trader_not_listed"]


class TestReading:
    def test_what_could_not_be_read_is_read_again(self, store: GuardMixin, tmp_path: Path, folders: Folders) -> None:
        folder = tmp_path / "broken"
        write_mlmodel(folder, {"ppo": {"format": 99}, "python_function": {}})
        register(store, {**folders, "broken": str(folder)}, "broken")
        refused(lambda: promote(store, 1))
        write_mlmodel(folder, ppo_flavors(trained("2.7.0")))
        refused(lambda: promote(store, 1))
        ask_version(store, 1, Reverify())
        assert store.get_model_version("m", 1).tags["ppo.spec"] == "ppo 2.7.0"
        promote(store, 1)

    def test_what_was_read_is_never_replaced(self, store: GuardMixin, tmp_path: Path, folders: Folders) -> None:
        folder = tmp_path / "mine"
        write_mlmodel(folder, ppo_flavors(trained("2.6.0")))
        register(store, {**folders, "mine": str(folder)}, "mine")
        before = digest_of(store, 1)
        ask_version(store, 1, Reverify())
        assert rows(store)[-1]["fact"] == "m version 1 was read again: as it was"
        for flavors in (ppo_flavors(trained("2.7.0")), {"ppo": {"format": 99}}):
            write_mlmodel(folder, flavors)
            error = refused(lambda: ask_version(store, 1, Reverify()))
            assert codes(error) == ["digest"]
            assert error.message.startswith("Refused: m version 1 isn't what was registered: ")
        (folder / "MLmodel").unlink()
        assert codes(refused(lambda: ask_version(store, 1, Reverify()))) == ["unknown_contract"]
        assert digest_of(store, 1) == before


def test_a_request_that_is_none_is_refused_with_its_place(store: GuardMixin, folders: Folders) -> None:
    register(store, folders, "2.6.0")
    for call, path in (
        (
            lambda: store.set_registered_model_tag("m", RegisteredModelTag("ppo.rollback", "{}")),
            "ppo.rollback.reference",
        ),
        (lambda: store.set_model_version_tag("m", 1, ModelVersionTag("ppo.approve", "[]")), "ppo.approve"),
        (lambda: store.set_registered_model_tag("m", RegisteredModelTag("ppo.approve", "{}")), None),
        (lambda: store.set_model_version_tag("m", 1, ModelVersionTag("ppo.rollback", "{}")), None),
    ):
        with pytest.raises(MlflowException) as caught:
            call()
        assert caught.value.get_http_status_code() == 400
        assert caught.value.json_kwargs.get("path") == path
    assert rows(store) == []
