"""The verdicts of the past: held against the history and against their seals, by audits and by rollbacks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from sqlalchemy import text

from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.contract.keys import SigningKey
from mlflow_ppo_flavor.contract.request import Retire, Rollback, Withdraw
from mlflow_ppo_flavor.contract.seal import SealedVerdict
from mlflow_ppo_flavor.registry.installation import adopt
from mlflow_ppo_flavor.registry.store import GuardMixin, open_store
from tests import tiers
from tests.registry import databases
from tests.registry.auditing import audited
from tests.registry.drivers import StoreDriver, populate, sources_of
from tests.registry.model_folders import ANNOUNCED_AT, announcement
from tests.registry.operating import (
    Folders,
    announce,
    ask_model,
    digest_of,
    promote,
    refused,
    register,
    resolved,
    rows,
    verdicts,
)
from tests.registry.sequences import INITIAL, Step, steps

OF_THE_PAST = ("history_differs", "verdicts_missing", "record_changed", "seal", "no_seal", "moved_around_the_gate")


def past(store: GuardMixin, model: str | None = None) -> dict[str, list[str]]:
    """What an audit says of verdicts, seals and the history, without the rest."""
    found = {}
    for where, lines in audited(store, model=model).items():
        told = [line for line in lines if line.partition("] ")[2].partition(":")[0] in OF_THE_PAST]
        found |= {where: told} if told else {}
    return found


def sql(store: GuardMixin, statement: str, **values: Any) -> None:
    with store.engine.begin() as connection:
        assert connection.execute(text(statement), values).rowcount, statement


def times(store: GuardMixin) -> list[str]:
    """When each verdict on Production was, as messages have it."""
    with store.engine.connect() as connection:
        query = "SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', at / 1000.0, 'unixepoch') FROM ppo_verdicts "
        return list(connection.execute(text(f"{query} WHERE label = 'Production' ORDER BY sequence")).scalars())


@pytest.fixture
def ran(signed: GuardMixin, folders: Folders) -> GuardMixin:
    """A model of four versions without traders: Production loaded 1, 2, 3; a key from the beginning."""
    register(signed, folders, *["2.7.0"] * 4)
    for version in (1, 2, 3):
        promote(signed, version, archive=True)
    return signed


def edit(store: GuardMixin, sequence: int, **values: Any) -> None:
    """Change a row of Production's verdicts. `version` as if that one had run."""
    setting = ", ".join(f"{name} = :{name}" for name in values)
    if values.get("version"):
        same = "FROM model_versions WHERE name = 'm' AND version = :version"
        setting += f", created = (SELECT creation_time {same}), location = (SELECT storage_location {same})"
    where = f"label = 'Production' AND sequence = {sequence}"
    sql(store, f"UPDATE ppo_verdicts SET {setting} WHERE {where}", **values)


def sealed_by(key: SigningKey, store: GuardMixin, sequence: int, version: int) -> str:
    digest = digest_of(store, version)
    here = (store.setting.registry_id, "default", "m", "Production", version, digest, sequence, ANNOUNCED_AT)
    return canonical_json(key.seal(SealedVerdict(*here)).to_dict()).decode()


class TestHistory:
    def test_a_stage_put_back_with_the_last_verdict_deleted_is_seen(self, ran: GuardMixin) -> None:
        """A trader that starts anew would load the older version, with its old, genuine verdict."""
        _, second, third = times(ran)
        sql(ran, "UPDATE model_versions SET current_stage = 'Production' WHERE version = 2")
        sql(ran, "UPDATE model_versions SET current_stage = 'Archived' WHERE version = 3")
        sql(ran, "DELETE FROM ppo_verdicts WHERE sequence = 3")
        assert past(ran) == {
            "m/Production": [
                f"[safety] history_differs: Production: found verdict 2, of {second}, for version 2 as the last one, "
                f"the last in the history, row 3 of {third}, moved it to version 3"
            ]
        }
        assert not ran.report("audit")["m"]["references"][0]["allowed"]
        assert [str(each.held.reference) for each in adopt(ran, "default")] == ["m/Production"]
        assert past(ran) == {}

    def test_an_alias_too(self, desk: GuardMixin) -> None:
        desk.set_registered_model_alias("m", "live", 1)
        sql(desk, "UPDATE registered_model_aliases SET version = 2")
        sql(desk, "DELETE FROM ppo_verdicts WHERE label = '@live' AND sequence = 2")
        (line,) = past(desk)["m@live"]
        assert line.endswith(", moved it to version 1")
        desk.set_registered_model_alias("m", "live", 1)
        assert past(desk) == {}

    def test_without_a_key_too(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.7.0", "2.7.0")
        for version in (1, 2):
            promote(store, version)
        sql(store, "UPDATE model_versions SET current_stage = 'None' WHERE version = 2")
        sql(store, "DELETE FROM ppo_verdicts WHERE sequence = 2")
        assert [line.partition(": found")[0] for line in past(store)["m/Production"]] == [
            "[safety] history_differs: Production"
        ]

    def test_emptied_with_every_verdict_deleted(self, desk: GuardMixin) -> None:
        sql(desk, "DELETE FROM registered_model_aliases")
        sql(desk, "DELETE FROM ppo_verdicts WHERE label = '@live'")
        (line,) = past(desk)["m@live"]
        assert line.startswith("[safety] history_differs: @live: found no verdict, the last in the history, row 4 of ")

    def test_rows_of_the_history_that_were_deleted_are_missed(self, ran: GuardMixin) -> None:
        third = times(ran)[2]
        sql(ran, "DELETE FROM ppo_history")
        assert past(ran)["m/Production"] == [
            f"[safety] history_differs: Production: found verdict 3, of {third}, for version 3 as the last one, "
            "the history tells of no move there"
        ]

    def test_a_move_that_cannot_be_read_is_told_instead(self, ran: GuardMixin) -> None:
        sql(ran, "UPDATE ppo_history SET moves = :to WHERE id = 3", to='[{"reference":"m/Production","after":5}]')
        assert audited(ran)["m"] == [
            "[safety] record_unreadable: ppo_history, id 3: found a row that can't be read, "
            "moves.after: found 5, expected a version, or null"
        ]
        assert past(ran) == {}


class TestSeals:
    def test_a_row_that_contradicts_its_seal_is_told_and_passed_over(self, ran: GuardMixin) -> None:
        edit(ran, 2, version=4)
        assert past(ran) == {
            "m/Production": ["[safety] record_changed: Production, verdict 2: found version 4, the seal says 2"]
        }
        ask_model(ran, Rollback("Production"))
        assert resolved(ran, "Production") == 1
        (warning,) = [f for f in ran.report("history")["m"]["rows"][0]["findings"] if f["code"] == "record_changed"]
        assert (warning["kind"], warning["place"]) == ("warning", "version 4, Production, verdict 2")

    def test_with_nothing_else_the_rollback_is_refused(self, ran: GuardMixin) -> None:
        for sequence in (1, 2):
            edit(ran, sequence, version=4)
        error = refused(lambda: ask_model(ran, Rollback("Production")))
        assert "version 4: version 4: the seal says 2" in error.message[:150]
        assert "take the row from a backup: a rollback passes it over" in error.message

    @pytest.mark.parametrize(
        ("values", "told"),
        [
            (
                {"seal": "junk"},
                "[safety] seal: Production, verdict 2: found a seal that can't be read, seal: found no ",
            ),
            (
                {"version": 4, "seal": None},
                "[safety] no_seal: Production, verdict 2: found no seal, a verdict before it has one, so this registry "
                "sealed its verdicts by then",
            ),
            ({"version": None}, "[safety] record_changed: Production, verdict 2: found no version, the seal says 2"),
            ({"digest": "0" * 64}, f"[safety] record_changed: Production, verdict 2: found digest {'0' * 64}, the sea"),
        ],
    )
    def test_what_else_can_be_done_to_a_row(self, values: dict[str, Any], told: str, ran: GuardMixin) -> None:
        edit(ran, 2, **values)
        assert past(ran)["m/Production"][0].startswith(told)
        ask_model(ran, Rollback("Production"))
        assert resolved(ran, "Production") == 1

    def test_a_seal_of_a_key_made_for_it(self, ran: GuardMixin) -> None:
        """It says the same as the row, but the history doesn't; if that says so too, a verdict before it is ours."""
        key = SigningKey.generate()
        edit(ran, 2, version=4, seal=sealed_by(key, ran, 2, 4))
        found = f"found version 4 with a seal of key {key.public.key_id}, which isn't this server's"
        assert past(ran)["m/Production"] == [
            f"[safety] record_changed: Production, verdict 2: {found}, the history tells of no such move then"
        ]
        other = {"one": '"version":2', "other": '"version":4'}
        sql(ran, "UPDATE ppo_history SET moves = replace(moves, :one, :other) WHERE id = 2", **other)
        (line,) = past(ran)["m/Production"]
        assert line.startswith(
            f"[warning] seal: Production, verdict 2: found key {key.public.key_id}, a verdict before"
        )
        ask_model(ran, Rollback("Production"))
        assert resolved(ran, "Production") == 1

    def test_the_first_of_all_without_its_seal_is_held_against_the_history(self, ran: GuardMixin) -> None:
        edit(ran, 1, version=4, seal=None)
        assert past(ran)["m/Production"] == [
            "[safety] record_changed: Production, verdict 1: found version 4 without a seal, "
            "the history tells of no such move then"
        ]
        ask_model(ran, Rollback("Production"))
        refused(lambda: ask_model(ran, Rollback("Production")))
        assert resolved(ran, "Production") == 2

    def test_the_last_as_if_it_had_been_emptied(self, ran: GuardMixin) -> None:
        edit(ran, 3, version=None)
        sql(ran, "UPDATE model_versions SET current_stage = 'None' WHERE version = 3")
        assert "[safety] record_changed: Production: found no version, the seal says 3" in past(ran)["m/Production"]

    def test_what_ran_before_the_key_and_under_an_older_one_counts(
        self, store: GuardMixin, folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        register(store, folders, *["2.7.0"] * 3)
        promote(store, 1)
        opened = store
        for version in (2, 3):
            SigningKey.generate().write(tmp_path / f"{version}.pem")
            monkeypatch.setenv("MLFLOW_PPO_SIGNING_KEY_FILE", str(tmp_path / f"{version}.pem"))
            opened = open_store(f"ppo:{store.engine.url}")
            assert len(adopt(opened, "default")) == 1
            assert past(opened) == {}
            promote(opened, version, archive=True)
        assert past(opened) == {}
        for version in (2, 1):
            ask_model(opened, Rollback("Production"))
            assert resolved(opened, "Production") == version
        assert [row["version"] for row in verdicts(opened)] == [1, 1, 2, 2, 3, 2, 1]
        assert past(opened) == {}
        opened.engine.dispose()


class TestHonestHistories:
    def test_an_alias_that_was_free_for_a_while(self, desk: GuardMixin) -> None:
        ask_model(desk, Retire("live-1", "@live"))
        desk.set_registered_model_alias("m", "live", 1)
        assert past(desk) == {}
        announce(desk, announcement("m", "@live", version="2.6.0"))
        desk.delete_registered_model_alias("m", "live")
        assert past(desk) == {}
        assert [row["version"] for row in verdicts(desk, "@live")] == [2, 1, None]

    def test_renamed_deleted_and_made_again(self, desk: GuardMixin, models: Folders) -> None:
        for name, new_name in (("m", "n"), ("n", "m")):
            desk.rename_registered_model(name, new_name)
            assert past(desk) == {}
        promote(desk, 2)
        ask_model(desk, Rollback("Production"))
        ask_model(desk, Withdraw("Production"))
        assert past(desk) == {}
        desk.delete_registered_model("m")
        assert past(desk) == {}
        register(desk, models, "2.6.0", "2.6.0b")
        promote(desk, 2)
        assert past(desk) == {}
        assert len(rows(desk)) + len(rows(desk, "n")) == 11


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, folders: Folders) -> Iterator[tuple[GuardMixin, Any]]:
    """A sealing store that examples share, and the folders of every kind of version."""
    folder = tmp_path_factory.mktemp("past")
    SigningKey.generate().write(folder / "key.pem")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_PPO_SIGNING_KEY_FILE", str(folder / "key.pem"))
        store = open_store(f"ppo:{databases.fresh(folder)}")
        yield store, dict(sources_of(folders, str))
        store.engine.dispose()


@settings(max_examples=tiers.COSTLY_EXAMPLES)
@given(steps=steps)
def test_whatever_goes_through_the_gate_leaves_nothing_to_find(
    place: tuple[GuardMixin, Any], steps: list[Step]
) -> None:
    driver = StoreDriver(*place)
    populate(driver)
    for step in steps:
        driver.attempt(step)
    names = [driver.name(name) for name in INITIAL]
    assert [found for name in names if (found := past(place[0], name))] == []
