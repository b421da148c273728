"""`mlflow-ppo check-trader` against a guarded server with a fleet, and against a database directly."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.entities.model_registry import RegisteredModelTag

from mlflow_ppo_flavor.contract.trader import Announcement
from tests.cli.commands import Outcome, mlflow_ppo
from tests.own_packages import Install, Package
from tests.registry import databases
from tests.registry.model_folders import SKLEARN_FLAVORS, announce_value, announcement, ppo_flavors, trained
from tests.registry.model_folders import write_mlmodel as write
from tests.server.servers import Server

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def desk(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """The guarded server with two models more.

    desk: version 1 (2.6.0) in Production, 2 (2.7.0) as @champion, nothing in Staging; desk-1 announced for all three,
    cash-1 with real money for @champion. silent: version 1 (2.7.0, unproven) in Production; nobody announced.
    """
    folder = tmp_path_factory.mktemp("check-trader")
    old, new = (str(write(folder / v, ppo_flavors(trained(v)))) for v in ("2.6.0", "2.7.0"))
    server.register("desk", old, new)
    server.register("silent", str(write(folder / "unproven", ppo_flavors(trained("2.7.0"), golden=False))))
    for label in ("Production", "Staging", "@champion"):
        assert server.announce("desk", label, trader_id="desk-1").status == 200
    announce(server, announcement("desk", "@champion", "cash-1", paper=False))
    alias = {"name": "desk", "alias": "champion", "version": "2"}
    assert server.call("POST", "registered-models/alias", alias).status == 200
    for model in ("desk", "silent"):
        assert server.promote(model, "1").status == 200
    return server


def announce(server: Server, told: Announcement) -> None:
    tag = {"name": told.reference.model, "key": "ppo.announce", "value": announce_value(told)}
    assert server.call("POST", "registered-models/set-tag", tag).status == 200


def ask(server: Server, *arguments: str) -> Outcome:
    return mlflow_ppo("check-trader", *arguments, "--registry", server.url)


def test_all_that_one_trader_announced_for_is_asked(desk: Server) -> None:
    outcome = ask(desk, "2.7.0", "--trader-id", "desk-1")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [
        "trader desk-1 (2.7.0) may run desk@champion version 2 (ppo 2.7.0)",
        "trader desk-1 (2.7.0) may run desk/Production version 1 (ppo 2.6.0)",
        "desk/Staging loads nothing",
        "trader 2.7.0 may be deployed",
    ]
    assert ask(desk, "2.7.0", "--trader-id", "cash-1").out.splitlines() == [
        "trader cash-1 (2.7.0) may run desk@champion version 2 (ppo 2.7.0)",
        "trader 2.7.0 may be deployed",
    ]


def test_both_stages_are_asked_where_nobody_announced_and_other_models_never(tmp_path: Path) -> None:
    store = databases.guarded(tmp_path)
    folders = {
        "silent": write(tmp_path / "silent", ppo_flavors(trained("2.7.0"))),
        "told": write(tmp_path / "told", ppo_flavors(trained("2.6.0"))),
        "other": write(tmp_path / "other", SKLEARN_FLAVORS),
        "gone": write(tmp_path / "gone", ppo_flavors(trained("2.7.0"))),
    }
    for model, folder in folders.items():
        store.create_registered_model(model)
        store.create_model_version(model, str(folder))
        store.transition_model_version_stage(model, 1, "Production", archive_existing_versions=False)
    store.set_registered_model_tag("told", RegisteredModelTag("ppo.announce", announce_value(announcement("told"))))
    shutil.rmtree(folders["gone"])
    uri = str(store.engine.url)
    outcome = mlflow_ppo("check-trader", "2.6.0", "--tracking-uri", uri, "--registry-uri", f"ppo:{uri}")
    store.engine.dispose()
    lines = [line for line in outcome.out.splitlines() if not line.startswith("  [safety] features")]
    assert outcome.code == 1
    assert lines[0] == "released trader 2.6.0 can't run gone/Production version 1 (no readable contract)"
    assert "models:/gone/1: MLmodel can't be read" in lines[1]
    assert lines[2:] == [
        "gone/Staging loads nothing",
        "released trader 2.6.0 can't run silent/Production version 1 (ppo 2.7.0)",
        "  [version] requires_trader: found trader 2.6.0, model 2.7.0 requires trader >=2.7.0: "
        "upgrade the trader to >=2.7.0 or choose a model that 2.6.0 runs",
        "silent/Staging loads nothing",
        "trader live-1 (2.6.0) may run told/Production version 1 (ppo 2.6.0)",
        "trader 2.6.0 can't be deployed: 2 of 5 reference(s) refuse it",
    ]


def test_a_version_that_a_reference_refuses_is_told_with_every_finding(desk: Server) -> None:
    outcome = ask(desk, "2.6.0", "--reference", "desk@champion", "--reference", "desk/Production")
    assert outcome.code == 1
    lines = outcome.out.splitlines()
    assert lines[0] == "trader cash-1 (2.6.0) can't run desk@champion version 2 (ppo 2.7.0)"
    assert lines[1].startswith("  [version] requires_trader: found trader 2.6.0, model 2.7.0 requires trader >=2.7.0: ")
    assert lines[-2:] == [
        "trader desk-1 (2.6.0) may run desk/Production version 1 (ppo 2.6.0)",
        "trader 2.6.0 can't be deployed: 1 of 2 reference(s) refuse it",
    ]


def test_a_reference_can_be_asked_for_a_trader_that_announced_for_another(desk: Server) -> None:
    named = ask(desk, "2.6.0", "--trader-id", "cash-1", "--reference", "desk/Production")
    assert named.out.splitlines()[0] == "trader cash-1 (2.6.0) may run desk/Production version 1 (ppo 2.6.0)"
    nobody = ask(desk, "2.7.0", "--trader-id", "nobody")
    expected = "Error: --trader-id: found no announcement of 'nobody', expected one at least\n"
    assert (nobody.code, nobody.err) == (2, expected)


def test_real_money_needs_proof(desk: Server) -> None:
    outcome = ask(desk, "2.7.0", "--reference", "silent/Production", "--paper", "0")
    assert outcome.code == 1
    assert "[safety] golden: found no golden decisions, real money needs proof" in outcome.out
    assert ask(desk, "2.7.0", "--reference", "silent/Production", "--paper", "1").code == 0


def test_the_json_has_these_keys(desk: Server) -> None:
    told = ask(desk, "2.6.0", "--format", "json", "--reference", "desk@champion", "--reference", "desk/Staging").json
    assert list(told) == ["trader_version", "packages", "allowed", "references"]
    assert (told["trader_version"], told["packages"], told["allowed"]) == ("2.6.0", {}, False)
    champion, staging = told["references"]
    assert list(champion) == ["reference", "version", "spec_version", "digest", "proven", "allowed", "traders"]
    assert [champion[key] for key in ("reference", "version", "spec_version", "proven", "allowed")] == [
        *("desk@champion", "2", "2.7.0"),
        *(True, False),
    ]
    assert [(t["trader_id"], t["paper"], t["allowed"]) for t in champion["traders"]] == [
        ("cash-1", False, False),
        ("desk-1", True, False),
    ]
    assert champion["traders"][0]["findings"][0]["code"] == "trader_version"
    empty = {"version": None, "spec_version": None, "digest": None, "proven": False, "allowed": True, "traders": []}
    assert staging == {"reference": "desk/Staging", **empty}


def test_an_own_package_is_missed_where_it_is_not_installed(desk: Server, tmp_path: Path, install: Install) -> None:
    """The gate lets the model in for the trader that announced the package; the command asks what is installed here."""
    spec = replace(trained("2.7.0"), requires_trader=">=2.7.0; acme-features>=1.2", features=("acme/spread@1",))
    desk.register("own", str(write(tmp_path / "own", ppo_flavors(spec))))
    told = announcement("own")
    own = replace(told.trader, features=(*told.trader.features, "acme/spread@1"), packages={"acme-features": "1.2.0"})
    announce(desk, replace(told, trader=own))
    assert desk.promote("own", "1").status == 200
    outcome = ask(desk, "2.7.0", "--reference", "own/Production")
    assert outcome.code == 1
    assert "[version] requires_trader: found no acme-features, model 2.7.0 requires acme-features>=1.2" in outcome.out
    install(Package())
    assert ask(desk, "2.7.0", "--reference", "own/Production").out.splitlines() == [
        "trader live-1 (2.7.0) may run own/Production version 1 (ppo 2.7.0)",
        "trader 2.7.0 with acme-features 1.2.0 may be deployed",
    ]


def test_a_model_that_is_not_there_is_a_message_and_exit_2(desk: Server) -> None:
    outcome = ask(desk, "2.7.0", "--reference", "nobody/Production")
    expected = "Error: registry: Registered Model with name=nobody not found\n"
    assert (outcome.code, outcome.out, outcome.err) == (2, "", expected)
