"""The gate's commands as an operator types them, against real servers and against a database directly: their texts,
their JSON, their exit codes.
"""

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from tests.cli.commands import Outcome, mlflow_ppo
from tests.registry import databases
from tests.registry.model_folders import announcement
from tests.registry.operating import announce, register, resolved
from tests.server.servers import Server, environment

pytestmark = pytest.mark.server
NUMBERS = itertools.count()
Folders = dict[str, str]


@pytest.fixture
def model(server: Server, whole: Folders) -> str:
    """Versions 1, 2 (2.6.0) and 3 (2.7.0), of which Production has loaded 1, then 2; a trader 2.6.0 is on it."""
    name = f"floor-{next(NUMBERS)}"
    server.register(name, whole["2.6.0"], whole["2.6.0"], whole["2.7.0"])
    assert server.announce(name, version="2.6.0", trader_id=f"trader-of-{name}").status == 200
    for version in ("1", "2"):
        assert server.promote(name, version).status == 200
    return name


def ask(server: Server, *arguments: str) -> Outcome:
    user = {} if server.user is None else {"MLFLOW_TRACKING_USERNAME": server.user[0]}
    password = {} if server.user is None else {"MLFLOW_TRACKING_PASSWORD": server.user[1]}
    return mlflow_ppo(*arguments, MLFLOW_TRACKING_URI=server.url, **user, **password)


def test_a_rollback_goes_to_what_ran_before_and_says_so(server: Server, model: str) -> None:
    assert ask(server, "rollback", model, "production") == Outcome(
        0, "Allowed: Production loads version 1, judged for 1 announced trader(s)\n", ""
    )
    assert server.production(model) == ["1"]
    refused = ask(server, "rollback", model, "Production")
    assert (refused.code, refused.err) == (1, "")
    assert refused.out.startswith(f"Refused: {model}/Production can't be rolled back: ")
    told = ask(server, "rollback", model, "Production", "--format", "json")
    assert (told.code, told.json["model"], told.json["reference"]) == (1, model, f"{model}/Production")
    assert (told.json["allowed"], told.json["fact"]) == (False, refused.out.splitlines()[0])


def test_a_withdrawal_empties_and_says_so(server: Server, model: str) -> None:
    assert ask(server, "promote", model, "1", "@canary").code == 0
    server.announce(model, "@canary", version="2.6.0", trader_id=f"canary-of-{model}")
    assert ask(server, "withdraw", model, "@canary").out == "Allowed: @canary is empty\n"
    told = ask(server, "withdraw", model, "Production", "--format", "json")
    assert (told.code, told.json["allowed"], told.json["findings"]) == (0, True, [])
    assert told.json["fact"].startswith("Allowed: Production loads version 1, "), "what surfaces can be run"


def test_a_withdrawal_of_nothing_says_so_and_is_no_success_but_where_it_is_repeated(server: Server, model: str) -> None:
    typo = ask(server, "withdraw", model, "@nope")
    assert typo == Outcome(
        2,
        "",
        f"Error: {model}@nope loads nothing: nothing was withdrawn: look whether this is the reference that is meant\n",
    )
    assert ask(server, "withdraw", model, "Staging").code == 2
    assert len(ask(server, "history", model, "--format", "json").json) == 3, "nothing was asked of the gate"
    for left in ("1", None):
        assert ask(server, "withdraw", model, "Production").code == 0
        assert server.production(model) == ([] if left is None else [left])
    repeated = Outcome(0, f"Allowed: {model}/Production loads nothing: nothing was withdrawn\n", "")
    assert ask(server, "withdraw", model, "Production") == repeated
    told = ask(server, "withdraw", model, "Production", "--format", "json")
    assert (told.code, told.json["allowed"], told.json["fact"]) == (0, True, repeated.out.rstrip())
    # an alias that nothing protects is deleted all the same
    assert ask(server, "promote", model, "1", "@mine").code == 0
    assert ask(server, "withdraw", model, "@mine").code == 0
    assert ask(server, "withdraw", model, "@mine").code == 2


def test_history_tells_newest_first_of_a_model_of_a_reference_and_of_all(server: Server, model: str) -> None:
    ask(server, "promote", model, "3", "Production")
    rows = ask(server, "history", model, "--format", "json").json
    assert [row["operation"]["kind"] for row in rows] == ["transition"] * 3 + ["announce"]
    assert [row["allowed"] for row in rows] == [False, True, True, True]
    assert [row["id"] for row in rows] == sorted((row["id"] for row in rows), reverse=True)
    assert ask(server, "history", model, "--limit", "2", "--format", "json").json == rows[:2]
    assert ask(server, "history", model, "--reference", "Staging", "--format", "json").json == []
    everything = ask(server, "history", "--limit", "1000", "--format", "json").json
    assert [row for row in everything if row["model"] == model] == rows
    lines = ask(server, "history", model).out.splitlines()
    assert lines[0].split() == ["when", "who", "model", "operation", "what", "the", "gate", "said"]
    assert f"Refused: {model} version 3 can't become Production: trader trader-of-{model}"[:60] in lines[1]
    assert ask(server, "history", "nobody").out == "no history of nobody\n"


def test_retiring_a_trader_lets_others_in(server: Server, model: str) -> None:
    trader = f"trader-of-{model}"
    assert ask(server, "promote", model, "3", "Production").code == 1
    server.announce(model, "@canary", version="2.6.0", trader_id=trader)
    only = ask(server, "fleet", "retire", trader, "--model", model, "--reference", "@canary")
    assert only == Outcome(0, f"Retired: trader {trader} no longer loads {model}@canary\n", "")
    assert [row["reference"] for row in ask(server, "fleet", model, "--format", "json").json] == ["Production"]
    told = ask(server, "fleet", "retire", trader, "--format", "json")
    assert (told.code, told.json["trader_id"], told.json["references"]) == (0, trader, [f"{model}/Production"])
    gone = ask(server, "fleet", "retire", trader)
    assert (gone.code, gone.out) == (2, "")
    assert gone.err == f"Error: fleet: found no announcement of {trader}, expected one: mlflow-ppo fleet lists them\n"
    assert ask(server, "promote", model, "3", "Production").code == 0


def test_the_fleet_tells_how_old_an_announcement_is(server: Server, model: str) -> None:
    told = ask(server, "fleet", model, "--format", "json").json
    assert (told[0]["age_seconds"] < 600, told[0]["owner"]) == (True, "")
    assert ask(server, "fleet", "list", model, "--format", "json").json[0]["trader_id"] == f"trader-of-{model}"
    row = ask(server, "fleet", model).out.splitlines()[1].split()
    assert row[-2][-1] in "sm"
    assert row[-1] == "nobody"


def test_an_override_lets_a_version_in_once_but_never_over_safety(server: Server, whole: Folders) -> None:
    name = f"floor-{next(NUMBERS)}"
    server.register(name, whole["2.6.0"])
    # what it computes is what the model needs: its version alone isn't
    assert server.announce(name, "@old", version="2.4.0").status == 200
    safety = f"floor-{next(NUMBERS)}"
    server.register(safety, whole["2.7.0"])
    assert server.announce(safety, version="2.6.0").status == 200
    kept = ask(server, "override", safety, "1", "Production", "--reason", "nobody trades today", "--expires", "30m")
    assert kept.code == 0
    refused = ask(server, "promote", safety, "1", "Production")
    assert refused.code == 1
    assert "[safety] Production, trader live-1 (2.6.0), features[56]" in refused.out
    assert "mlflow-ppo override" not in refused.out, "no advice that can't help"
    rows = ask(server, "history", safety, "--format", "json").json
    override = next(row["operation"] for row in rows if row["operation"]["kind"] == "override")
    assert (override["expires_seconds"], override["reason"]) == (1_800, "nobody trades today")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--expires", "soon", "--reason", "r"], "found 'soon', expected a time such as 30m, 1h or 2d"),
        (["--expires", "8d", "--reason", "r"], "override.expires_seconds: found 691200, expected "),
        (["--reason", "two\nlines"], "override.reason: found 'two\\nlines', expected one line of text"),
        ([], "Missing option '--reason'"),
    ],
)
def test_an_override_that_cant_be_is_wrong_usage(arguments: list[str], told: str, server: Server) -> None:
    outcome = ask(server, "override", "m", "1", "Production", *arguments)
    assert (outcome.code, told in outcome.err) == (2, True), outcome.err


def test_reverifying_reads_again_and_never_replaces_what_was_read(server: Server, model: str, whole: Folders) -> None:
    told = ask(server, "reverify", model, "1")
    assert told.code == 0
    late = f"floor-{next(NUMBERS)}"
    server.call("POST", "registered-models/create", {"name": late})
    source = server.log(whole["2.7.0"])
    body = {"name": late, "source": f"{source}-later", "run_id": source.split("/")[1]}
    assert server.call("POST", "model-versions/create", body).status == 200
    unread = ask(server, "reverify", late, "1")
    assert "MLmodel can't be read" in unread.out
    assert ask(server, "promote", late, "1", "Production").code == 1


def test_an_audit_is_fine_until_somebody_goes_round_the_gate(server: Server, model: str) -> None:
    fine = ask(server, "audit", model)
    assert fine == Outcome(0, "Audited 1 protected reference of 1 model(s): nothing is wrong\n", "")
    engine = sqlalchemy.create_engine(server.database)
    with engine.begin() as connection:
        moved = "UPDATE model_versions SET current_stage = 'Production' WHERE name = :name AND version = 3"
        connection.execute(sqlalchemy.text(moved), {"name": model})
    engine.dispose()
    found = ask(server, "audit", model)
    assert (found.code, found.err) == (1, "")
    lines = found.out.splitlines()
    assert lines[0] == f"{model}/Production loads version 3"
    assert lines[1] == (
        "  [safety] Production: found version 3, the gate's last verdict is for version 2: "
        "look who wrote to the database, then promote the version that is meant once more, to "
        "a stage with --archive-existing"
    )
    assert lines[-1] == "Audited 1 protected reference of 1 model(s): findings at 1 place"
    told = ask(server, "audit", model, "--format", "json").json
    assert (told["allowed"], told["models"]) == (False, [{"model": model, "findings": []}])
    assert told["references"][0]["findings"][0]["code"] == "moved_around_the_gate"
    everything = ask(server, "audit", "--format", "json")
    assert (everything.code, told["references"][0] in everything.json["references"]) == (1, True)


def test_an_audit_of_a_model_that_nobody_knows_is_no_clean_bill(server: Server, model: str) -> None:
    assert ask(server, "audit", "nope") == Outcome(
        2, "", "Error: registry: Registered Model with name=nope not found\n"
    )
    bare = f"floor-{next(NUMBERS)}"
    server.call("POST", "registered-models/create", {"name": bare})
    assert ask(server, "audit", bare).out == "Audited 0 protected references of 0 model(s): nothing is wrong\n"
    for stage in ("Production", "Production"):
        assert ask(server, "withdraw", model, stage).code == 0
    assert ask(server, "fleet", "retire", f"trader-of-{model}").code == 0
    assert server.call("DELETE", "registered-models/delete", {"name": model}).status == 200
    gone = ask(server, "audit", model)
    assert gone.out.startswith("Audited "), gone
    assert " of 1 model(s): " in gone.out


def test_no_command_tells_the_password_of_a_servers_uri(server: Server, plain_server: Server, model: str) -> None:
    for each, arguments in ((server, ["doctor"]), (plain_server, ["doctor"]), (server, ["audit", "nope"])):
        host = each.url.removeprefix("http://")
        for format_ in ("text", "json"):
            uri = f"http://user:hunter2secret@{host}"
            told = mlflow_ppo(*arguments, "--tracking-uri", uri, "--format", format_)
            assert "hunter2secret" not in told.out + told.err
    told = mlflow_ppo("doctor", "--tracking-uri", f"{server.url.replace('://', '://user:hunter2secret@')}/")
    assert f"[ok] the gate's page: {server.url.replace('://', '://user:***@')}/ppo/" in told.out.splitlines()


def test_a_doctor_tells_that_a_server_is_not_guarded_and_how_to_guard_it(plain_server: Server) -> None:
    told = ask(plain_server, "doctor")
    assert (told.code, told.err) == (1, "")
    lines = told.out.splitlines()
    assert lines[0] == f"[mend] {plain_server.url}: no gate before the registry"
    assert "mlflow-ppo guard install <database URI>" in lines[1]
    assert "--registry-store-uri ppo:<database URI>" in lines[1]
    assert lines[-1] == f"{plain_server.url}: 1 to mend"
    assert ask(plain_server, "doctor", "--format", "json").json["guarded"] is False


def test_a_plain_servers_models_are_read_where_that_server_keeps_them(
    plain_server: Server, whole: Folders, tmp_path: Path
) -> None:
    """On a copy of its database: the artifacts are those that its clients uploaded through it."""
    name = f"plain-{next(NUMBERS)}"
    plain_server.register(name, whole["2.7.0"], whole["2.6.0"])
    assert plain_server.promote(name, "1").status == 200
    copy = tmp_path / "copy.db"
    shutil.copyfile(plain_server.database.removeprefix("sqlite:///"), copy)

    def install(*options: str) -> tuple[int, Any]:
        command = [str(Path(sys.executable).with_name("mlflow-ppo")), "guard", "install", f"sqlite:///{copy}"]
        done = subprocess.run(
            [*command, "--format", "json", *options], env=environment(), capture_output=True, text=True
        )
        return done.returncode, json.loads(done.stdout)

    code, told = install()
    assert {each["version"] for each in told["unread"] if each["model"] == name} == {1, 2}
    assert (code, f"{name}/Production" in {each["reference"] for each in told["refused"]}) == (1, True)
    kept = str(plain_server.folder / "mlartifacts")
    code, told = install("--artifacts-destination", kept, "--adopt")
    assert [each for each in told["unread"] if each["model"] == name] == []
    assert f"{name}/Production" in told["adopted"]
    assert told["next"] == [f"mlflow-ppo server --backend-store-uri sqlite:///{copy} --artifacts-destination {kept}"]


def test_commands_that_ask_the_gate_say_where_there_is_none(plain_server: Server, whole: Folders) -> None:
    name = f"plain-{next(NUMBERS)}"
    plain_server.register(name, whole["2.7.0"])
    told = "Error: registry: found no gate before it, expected one: run mlflow-ppo doctor, it says how\n"
    for arguments in (
        ["promote", name, "1", "Production"],
        ["promote", name, "1", "@champion"],
        ["approve", name, "1", "Production"],
        ["override", name, "1", "Production", "--reason", "r"],
        ["rollback", name, "Production"],
        ["withdraw", name, "Production"],
        ["reverify", name, "1"],
        ["history"],
        ["fleet"],
        ["fleet", "retire", "live-1"],
        ["audit"],
    ):
        assert ask(plain_server, *arguments) == Outcome(2, "", told), arguments
    body = plain_server.call("GET", f"registered-models/get?name={name}").body["registered_model"]
    assert "tags" not in body, "nothing was left on it"
    assert "aliases" not in body
    assert plain_server.production(name) == [], "and nothing was moved"


def test_nobody_answers_is_exit_2(tmp_path: Path) -> None:
    for arguments in (["doctor"], ["audit"], ["history"], ["fleet"], ["rollback", "m", "Production"]):
        outcome = mlflow_ppo(*arguments, MLFLOW_TRACKING_URI="http://127.0.0.1:1")
        assert (outcome.code, outcome.out) == (2, ""), arguments
        assert outcome.err.startswith("Error: registry: "), arguments


def test_a_database_is_asked_directly_too(tmp_path: Path, whole: Folders) -> None:
    store = databases.guarded(tmp_path)
    register(store, whole, "2.6.0", "2.6.0", "2.7.0")
    announce(store, announcement("m", version="2.6.0"))
    uri = str(store.engine.url)
    where = ["--tracking-uri", uri, "--registry-uri", f"ppo:{uri}"]
    for version in ("1", "2"):
        assert mlflow_ppo("promote", "m", version, "Production", *where).code == 0
    assert mlflow_ppo("rollback", "m", "Production", *where).code == 0
    assert resolved(store, "Production") == 1
    assert mlflow_ppo("audit", *where).out == "Audited 1 protected reference of 1 model(s): nothing is wrong\n"
    refused = mlflow_ppo("approve", "m", "1", "Production", *where)
    assert (refused.code, refused.out.startswith("Refused: ")) == (1, True), refused
    assert mlflow_ppo("doctor", *where).out.endswith(f"ppo:{uri}: guarded\n")
    around = mlflow_ppo("doctor", "--tracking-uri", uri, "--registry-uri", uri)
    assert around.code == 1
    assert f"[mend] {uri}: the gate's tables are there, but this URI goes round it\n    use ppo:{uri}" in around.out
    assert mlflow_ppo("withdraw", "m", "Production", *where).code == 0
    assert resolved(store, "Production") is None
    assert len(mlflow_ppo("history", "m", *where, "--format", "json").json) == 6
    assert mlflow_ppo("fleet", "retire", "live-1", *where).code == 0
    store.engine.dispose()
