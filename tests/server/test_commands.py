"""`mlflow-ppo promote`, `check`, `fleet` and `spec show` against a guarded server, and against a database directly."""

import itertools
from pathlib import Path

import pytest

from tests.cli.commands import Outcome, mlflow_ppo
from tests.registry import databases
from tests.registry.model_folders import ANNOUNCED_AT
from tests.server.servers import Server

pytestmark = pytest.mark.server
NUMBERS = itertools.count()
Folders = dict[str, str]


@pytest.fixture
def model(server: Server, folders: Folders) -> str:
    """A model of versions 1 (2.6.0) and 2 (2.7.0), and a trader 2.6.0 on its Production."""
    name = f"desk-{next(NUMBERS)}"
    server.register(name, folders["2.6.0"], folders["2.7.0"])
    assert server.announce(name, version="2.6.0").status == 200
    return name


def ask(server: Server, *arguments: str) -> Outcome:
    return mlflow_ppo(*arguments, MLFLOW_TRACKING_URI=server.url)


def test_promoting_tells_what_the_gate_said(server: Server, model: str) -> None:
    assert ask(server, "promote", model, "1", "production") == Outcome(
        0, "Allowed: Production loads version 1, judged for 1 announced trader(s)\n", ""
    )
    assert ask(server, "promote", model, "1", "Production").out == "Allowed: no guarded reference moved\n"
    refused = ask(server, "promote", model, "2", "Production")
    assert (refused.code, refused.err) == (1, "")
    lines = refused.out.splitlines()
    assert lines[0] == (
        f"Refused: {model} version 2 can't become Production: trader live-1 (2.6.0) can't run it: "
        "model 2.7.0 requires trader >=2.7.0"
    )
    assert [line.split("]")[0] for line in lines[1:]] == ["  [version", "  [safety", "  [safety", "  [safety"]
    assert server.production(model) == ["1"]


def test_promoting_as_json(server: Server, model: str) -> None:
    told = ask(server, "promote", model, "2", "@champion", "--format", "json").json
    assert told == {
        "model": model,
        "version": "2",
        "reference": f"{model}@champion",
        "allowed": True,
        "fact": "Allowed: no guarded reference moved",
        "findings": [],
    }
    refused = ask(server, "promote", model, "2", "Production", "--format", "json")
    assert refused.code == 1
    assert (refused.json["allowed"], refused.json["reference"]) == (False, f"{model}/Production")
    assert {finding["code"] for finding in refused.json["findings"]} == {"trader_version", "feature"}


def test_archiving_makes_room_for_a_lower_version(server: Server, model: str) -> None:
    assert ask(server, "promote", model, "2", "Staging").code == 0
    without = ask(server, "promote", model, "1", "Staging")
    assert (without.code, "version 2 stays there" in without.out) == (1, True)
    assert ask(server, "promote", model, "1", "Staging", "--archive-existing").code == 0


def test_checking_for_a_fleet_says_what_the_gate_would(server: Server, model: str) -> None:
    for version, code in (("1", 0), ("2", 1)):
        checked = ask(server, "check", f"models:/{model}/{version}", "--for", f"{model}/Production", "--format", "json")
        assert checked.code == code
        assert [(t["trader_id"], t["version"]) for t in checked.json["traders"]] == [("live-1", "2.6.0")]
        assert ask(server, "promote", model, version, "Production").code == code
    nobody = ask(server, "check", f"models:/{model}/2", "--for", f"{model}@champion")
    assert nobody.code == 0
    assert "found no trader announced, so the released trader 2.7.0 stands for it" in nobody.out


def test_every_uri_of_a_model_can_be_checked_and_shown(server: Server, model: str) -> None:
    version = server.call("GET", f"model-versions/get?name={model}&version=1").body["model_version"]
    assert ask(server, "promote", model, "1", "Production").code == 0
    assert ask(server, "promote", model, "1", "@live").code == 0
    uris = [f"models:/{model}/1", f"models:/{model}/Production", f"models:/{model}@live", version["source"]]
    digests = {ask(server, "spec", "show", uri, "--format", "json").json["digest"] for uri in uris}
    tags = {tag["key"]: tag["value"] for tag in version["tags"]}
    assert digests == {tags["ppo.digest"]}
    assert ask(server, "spec", "diff", uris[0], uris[2]).code == 0
    diff = ask(server, "spec", "diff", uris[1], f"models:/{model}/2", "--format", "json")
    assert (diff.code, diff.json["first"], diff.json["old"]["name"]) == (1, ["traders", "either"], uris[1])
    assert ask(server, "check", uris[-1], "--trader", "2.4.0").code == 0


def test_the_fleet_of_one_model_and_of_all(server: Server, model: str) -> None:
    server.announce(model, "@champion", trader_id="live-2")
    told = ask(server, "fleet", model, "--format", "json").json
    ages = [row.pop("age_seconds") for row in told]
    assert all(0 <= age < 600 for age in ages)
    assert told == [
        {
            "model": model,
            "reference": reference,
            "trader_id": trader_id,
            "version": version,
            "paper": True,
            "announced_at": ANNOUNCED_AT,
            "owner": "",
        }
        for reference, trader_id, version in (("@champion", "live-2", "2.7.0"), ("Production", "live-1", "2.6.0"))
    ]
    everything = ask(server, "fleet", "--format", "json").json
    assert [row["trader_id"] for row in everything if row["model"] == model] == ["live-2", "live-1"]
    lines = ask(server, "fleet", model).out.splitlines()
    assert lines[0].split() == ["model", "reference", "trader", "version", "money", "announced", "age", "owner"]
    assert lines[2].split()[:6] == [model, "Production", "live-1", "2.6.0", "paper", ANNOUNCED_AT]


def test_a_model_without_traders_has_an_empty_fleet(server: Server, folders: Folders) -> None:
    server.register("quiet", folders["2.6.0"])
    assert ask(server, "fleet", "quiet").out == "no trader announced for quiet\n"
    assert ask(server, "fleet", "quiet", "--format", "json").json == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["promote", "nobody", "1", "Production"],
            "Error: registry: Model Version (name=nobody, version=1) not found\n",
        ),
        (
            ["promote", "{model}", "9", "Production"],
            "Error: registry: Model Version (name={model}, version=9) not found\n",
        ),
        (["fleet", "nobody"], "Error: registry: Registered Model with name=nobody not found\n"),
        (["check", "models:/nobody/1"], "Error: registry: Model Version (name=nobody, version=1) not found\n"),
        (["check", "runs:/0123/policy"], "Error: runs:/0123/policy: MLmodel can't be read: "),
    ],
)
def test_what_is_not_there_is_a_message_and_exit_2(arguments: list[str], text: str, server: Server, model: str) -> None:
    outcome = ask(server, *(argument.format(model=model) for argument in arguments))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(text.format(model=model))


def test_a_database_is_asked_directly_too(tmp_path: Path, folders: Folders) -> None:
    store = databases.guarded(tmp_path)
    store.create_registered_model("m")
    for kind in ("2.6.0", "2.7.0"):
        store.create_model_version("m", folders[kind])
    uri = str(store.engine.url)
    where = ["--tracking-uri", uri, "--registry-uri", f"ppo:{uri}"]
    assert mlflow_ppo("promote", "m", "2", "Production", *where).code == 0
    refused = mlflow_ppo("promote", "m", "1", "Production", *where)
    assert (refused.code, refused.err) == (1, "")
    assert "[safety] Production: found version 1 below version 2" in refused.out
    store.engine.dispose()
