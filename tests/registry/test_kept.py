"""Rows of the guard's own tables that somebody made garbage: told where they are, in nobody else's way."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from mlflow_ppo_flavor.contract.request import Approve, Retire, Reverify
from mlflow_ppo_flavor.registry.store import GuardMixin
from tests.registry.auditing import audited
from tests.registry.model_folders import announcement, attestation
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
)

Policed = Callable[[dict[str, Any]], GuardMixin]
NO_JSON = "found no JSON (Expecting value: line 1 column 1 (char 0)), expected the JSON that the gate wrote"
GARBAGE = ["garbage", "", "5", "[]", "{}", "null", "NaN", '"\\ud800"', "[" * 100_000, b"\xff\x00"]


def spoil(store: GuardMixin, table: str, column: str, to: object, where: str = "1 = 1") -> None:
    with store.engine.begin() as connection:
        done = connection.execute(text(f"UPDATE ppo_{table} SET {column} = :to WHERE {where}"), {"to": to})
        assert done.rowcount == 1


def codes(error: Any) -> list[str]:
    return [finding["code"] for finding in error.json_kwargs["findings"]]


def promotes_another(store: GuardMixin, models: Folders) -> None:
    """What needs nothing of the garbage goes on."""
    register(store, models, "2.7.0", model="other")
    store.transition_model_version_stage("other", 1, "Production", False)
    assert resolved(store, "Production", "other") == 1


class TestContracts:
    def test_it_is_told_refused_and_read_again(self, desk: GuardMixin, models: Folders) -> None:
        spoil(desk, "contracts", "spec", "garbage", "version = 1")
        told = f"ppo_contracts, m version 1: found a contract that can't be read, spec: {NO_JSON}"
        assert audited(desk) == {"m/Production": [f"[safety] record_unreadable: {told}"]}
        finding = desk.report("audit")["m"]["references"][1]["findings"][0]
        assert finding["remedy"] == "run mlflow-ppo reverify on the version"
        error = refused(lambda: promote(desk, 1, "Staging"))
        assert error.get_http_status_code() == 409
        assert "record_unreadable" in codes(error)
        assert error.message.startswith(
            "Refused: m version 1 can't become Staging: ppo_contracts, m version 1: a contract that can't be read"
        )
        with as_user("ann"):
            assert codes(refused(lambda: ask_version(desk, 1, Approve("Staging")))) == ["record_unreadable"]
        promotes_another(desk, models)
        ask_version(desk, 1, Reverify())
        assert audited(desk).keys() == {"other/Production"}, "where nobody announced"

    def test_one_that_lies_there_changed_meanwhile_is_still_not_taken(self, desk: GuardMixin, models: Folders) -> None:
        """A row that was made garbage is no way past the digest."""
        spoil(desk, "contracts", "spec", "garbage", "version = 1")
        file = Path(models["2.6.0"], "MLmodel")
        file.write_text(file.read_text("utf-8").replace(">=2.4.0", ">=2.0.0"), "utf-8")
        assert codes(refused(lambda: ask_version(desk, 1, Reverify()))) == ["digest"]
        assert {line.partition(":")[0] for line in audited(desk)["m/Production"]} == {
            "[safety] record_unreadable",
            "[safety] digest",
        }

    def test_whatever_stands_there(self, desk: GuardMixin) -> None:
        told = "[safety] record_unreadable: ppo_contracts, m version 1: found a contract that can't be read, spec"
        for garbage in GARBAGE:
            spoil(desk, "contracts", "spec", garbage, "version = 1")
            (line,) = audited(desk)["m/Production"]
            assert line.startswith(told)
            assert desk.report("standing", versions=3)["m"]["references"][1]["cells"][0]["allowed"] is False
        desk.transition_model_version_stage("m", 1, "Archived", False)
        assert desk.report("history")["m"]["rows"][0]["allowed"]


class TestAnnouncements:
    def test_it_is_told_and_its_reference_takes_nothing_new(self, desk: GuardMixin, models: Folders) -> None:
        spoil(desk, "announcements", "announcement", "garbage", "label = 'Production'")
        found = "found an announcement of live-1 that can't be read"
        told = f"ppo_announcements, m/Production, live-1: {found}, announcement: {NO_JSON}"
        assert audited(desk) == {"m/Production": [f"[safety] record_unreadable: {told}"]}
        finding = desk.report("audit")["m"]["references"][1]["findings"][0]
        assert finding["remedy"] == "let the trader start again, or retire it"
        error = refused(lambda: promote(desk, 2))
        assert (error.get_http_status_code(), codes(error)) == (409, ["record_unreadable"])
        assert error.message.startswith(
            "Refused: m version 2 can't become Production: an announcement of live-1 that can't be read: "
        )
        desk.set_registered_model_alias("m", "live", 1)
        promotes_another(desk, models)
        assert "@live" in desk.get_registered_model("m").tags["ppo.fleet"]
        assert "Production" not in desk.get_registered_model("m").tags["ppo.fleet"]

    @pytest.mark.parametrize("heal", ["announce", "retire"])
    def test_announcing_again_or_retiring_makes_it_good(self, heal: str, desk: GuardMixin) -> None:
        spoil(desk, "announcements", "announcement", "garbage", "label = 'Production'")
        if heal == "announce":
            announce(desk, announcement("m", version="2.6.0"))
        else:
            ask_model(desk, Retire("live-1", "Production"))
        promote(desk, 2)
        assert "record_unreadable" not in str(audited(desk))

    def test_an_alias_stays_a_protected_one(self, desk: GuardMixin) -> None:
        spoil(desk, "announcements", "announcement", "garbage", "label = '@live'")
        assert codes(refused(lambda: desk.set_registered_model_alias("m", "live", 3))) == ["record_unreadable"]

    def test_one_for_a_reference_that_loads_nothing_is_told_too(self, desk: GuardMixin) -> None:
        announce(desk, announcement("m", "@next", version="2.6.0"))
        spoil(desk, "announcements", "announcement", "{}", "label = '@next'")
        assert audited(desk) == {
            "m@next": [
                "[safety] record_unreadable: ppo_announcements, m@next, live-1: found an announcement of live-1 that "
                "can't be read, announcement.trader: found nothing, expected a mapping"
            ]
        }

    def test_whatever_stands_there(self, desk: GuardMixin) -> None:
        told = "[safety] record_unreadable: ppo_announcements, m/Production, live-1: found an announcement of live-1"
        for garbage in GARBAGE:
            spoil(desk, "announcements", "announcement", garbage, "label = 'Production'")
            (line,) = audited(desk)["m/Production"]
            assert line.startswith(told)
            (trader,) = desk.report("standing")["m"]["references"][1]["traders"]
            assert (trader["trader_id"], trader["version"], trader["paper"]) == ("live-1", "0", False)


class TestHistory:
    @pytest.mark.parametrize("column", ["operation", "moves", "fleet", "findings", "digests"])
    def test_the_other_rows_and_columns_are_shown(self, column: str, desk: GuardMixin) -> None:
        rows = {row["id"]: row for row in desk.report("history")["m"]["rows"]}
        good = {"moves": "[]", "fleet": "[]", "findings": "[]", "digests": "{}"}
        for garbage in GARBAGE:
            spoil(desk, "history", column, garbage, "id = 4")
            now = {row["id"]: row for row in desk.report("history")["m"]["rows"]}
            assert {**now, 4: None} == {**rows, 4: None}
            damages = [each for each in now[4]["findings"] if each["code"] == "record_unreadable"]
            assert [each["place"] for each in damages] == ([] if good.get(column) == garbage else ["ppo_history, id 4"])
            others = [name for name in rows[4] if name not in (column, "findings")]
            assert [now[4][name] for name in others] == [rows[4][name] for name in others]
            assert now[4]["operation"]["kind"] == ("unreadable" if column == "operation" else "set alias")
            assert len(desk.report("history", reference="Production")["m"]["rows"]) == 2

    def test_it_is_told_by_an_audit(self, desk: GuardMixin, models: Folders) -> None:
        spoil(desk, "history", "moves", "garbage", "id = 4")
        assert audited(desk) == {
            "m": [f"[safety] record_unreadable: ppo_history, id 4: found a row that can't be read, moves: {NO_JSON}"]
        }
        finding = desk.report("audit")["m"]["findings"][0]
        assert finding["remedy"] == "look who wrote to the database, and take the row from a backup"
        promotes_another(desk, models)
        promote(desk, 2)

    @pytest.mark.parametrize("garbage", ['{"kind":"announce"', '{"kind":"announce"}', '{"kind":"announce",[}'])
    def test_an_announcement_among_them_is_told_once(self, garbage: str, desk: GuardMixin) -> None:
        spoil(desk, "history", "operation", garbage, "id = 1")
        (line,) = audited(desk)["m"]
        assert line.startswith("[safety] record_unreadable: ppo_history, id 1: found a row that can't be read, operat")


class TestAttestations:
    def test_it_is_told_and_attests_nothing(self, policed: Policed, models: Folders) -> None:
        store = policed({"references": {"Production": {"require_attestation": True}}})
        register(store, models, "2.7.0")
        announce(store, announcement("m"))
        attest(store, 1, attestation(digest_of(store, 1)))
        promote(store, 1)
        assert audited(store) == {}
        told = "[safety] record_unreadable: ppo_attestations, m version 1, live-1: found an attestation of live-1 that"
        for garbage in GARBAGE:
            spoil(store, "attestations", "attestation", garbage)
            first, second = audited(store)["m/Production"]
            assert first.startswith(told)
            assert second.startswith("[policy] attestation: Production, require_attestation: ")
        promote(store, 1, "Archived")
        assert codes(refused(lambda: promote(store, 1))) == ["attestation"]
        attest(store, 1, attestation(digest_of(store, 1)))
        promote(store, 1)
        assert audited(store) == {}

    def test_one_that_nobody_asks_for_is_told_too(self, desk: GuardMixin) -> None:
        attest(desk, 2, attestation(digest_of(desk, 2), version="2.6.0"))
        spoil(desk, "attestations", "attestation", "garbage")
        (line,) = audited(desk)["m@live"]
        assert line.endswith(f"found an attestation of live-1 that can't be read, attestation: {NO_JSON}")


class TestSeals:
    def test_what_is_no_seal_is_shown_as_it_is(self, desk: GuardMixin) -> None:
        for garbage in GARBAGE:
            spoil(desk, "verdicts", "seal", garbage, "label = 'Production'")
            json.dumps(desk.report("verdict")["m"])
            verdict = desk.report("standing")["m"]["references"][1]["verdict"]
            assert (verdict["sequence"], verdict["key_id"]) == (1, None)
            (line,) = audited(desk)["m/Production"]
            assert line.startswith("[safety] seal: Production: found a seal that can't be read, seal")
