"""Proof on a running server: replayed and attested by the command, over raw HTTP, and asked for where real money is."""

import itertools
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import mlflow
import pytest
from mlflow.tracking import MlflowClient

import mlflow_ppo_flavor as ppo
from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.registry.fact import MOST_SHOWN
from tests.cli.commands import Outcome, mlflow_ppo
from tests.mlflow_state import pointed_at
from tests.model.policies import small_golden, small_policy
from tests.registry.model_folders import VOUCH, announce_value, announcement, attestation
from tests.server.servers import Answer, Server

pytestmark = [
    pytest.mark.server,
    pytest.mark.filterwarnings("ignore:.*stages.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*no golden decisions"),
]
NUMBERS = itertools.count()
Folders = dict[str, str]


@pytest.fixture
def proven(server: Server) -> Iterator[str]:
    """A model whose version 1 the real flavor logged with golden decisions."""
    name = f"proven-{next(NUMBERS)}"
    with pointed_at(server.url), mlflow.start_run():
        ppo.log_model(small_policy(), name="policy", golden=small_golden(), registered_model_name=name)
        yield name


def set_tag(server: Server, model: str, version: str, value: str) -> Answer:
    body = {"name": model, "version": version, "key": "ppo.attest", "value": value}
    return server.call("POST", "model-versions/set-tag", body)


def tags(server: Server, model: str, version: str = "1") -> dict[str, str]:
    found = server.call("GET", f"model-versions/get?name={model}&version={version}").body["model_version"]
    return {tag["key"]: tag["value"] for tag in found["tags"]}


def ask(server: Server, *arguments: str) -> Outcome:
    return mlflow_ppo(*arguments, MLFLOW_TRACKING_URI=server.url)


def history(server: Server, model: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(server.database.removeprefix("sqlite:///"))) as database:
        database.row_factory = sqlite3.Row
        return [
            dict(row) for row in database.execute("SELECT * FROM ppo_history WHERE model = ? ORDER BY id", (model,))
        ]


def test_the_command_replays_every_uri_of_a_version_and_attests_it(server: Server, proven: str) -> None:
    client = MlflowClient()
    client.transition_model_version_stage(proven, "1", "Staging")
    client.set_registered_model_alias(proven, "candidate", "1")
    version = client.get_model_version(proven, "1")
    version_uris = [f"models:/{proven}/1", f"models:/{proven}/Staging", f"models:/{proven}@candidate"]
    for uri in (*version_uris, f"runs:/{version.run_id}/policy", version.source):
        outcome = ask(server, "verify", uri)
        assert (outcome.code, outcome.out.splitlines()[-1]) == (0, f"{uri}: reproduced: 64 decisions, by trader 2.7.0")
    for i, uri in enumerate(version_uris):
        outcome = ask(server, "verify", uri, "--attest", "--trader-id", f"ci-{i}")
        assert outcome.code == 0, outcome
        assert outcome.out.splitlines()[-1] == f"attested: {proven} version 1 by ci-{i} (2.7.0)"
    assert tags(server, proven)["ppo.proof"] == "golden decisions recorded, attested by 3 traders"
    lowered = ask(
        server, "verify", version_uris[0], "--attest", "--trader-id", "ci-0", "--as-trader", "2.7.0", "--format", "json"
    )
    assert (lowered.code, lowered.json["attested"], lowered.json["version"]) == (0, True, "1")
    assert tags(server, proven)["ppo.proof"] == "golden decisions recorded, attested by 3 traders"


def test_the_command_attests_nothing_that_was_not_reproduced(server: Server, folders: Folders) -> None:
    """A folder with an MLmodel alone: its files aren't there."""
    model = f"hollow-{next(NUMBERS)}"
    server.register(model, folders["2.7.0"])
    outcome = ask(server, "verify", f"models:/{model}/1", "--attest", "--trader-id", "ci")
    assert outcome.code == 1
    assert outcome.out.splitlines()[0] == f"models:/{model}/1: not reproduced: its files can't be used"
    assert tags(server, model)["ppo.proof"] == "golden decisions recorded"
    missing = ask(server, "verify", f"models:/{model}/9")
    assert (missing.code, missing.out) == (2, "")
    assert missing.err.startswith(f"Error: registry: Model Version (name={model}, version=9) not found")


def test_attesting_over_http(server: Server, proven: str, folders: Folders) -> None:
    digest = tags(server, proven)["ppo.digest"]
    value = canonical_json(attestation(digest).to_dict()).decode()
    assert set_tag(server, proven, "1", value).status == 200
    assert tags(server, proven)["ppo.proof"] == "golden decisions recorded, attested by 1 trader"
    assert "ppo.attest" not in tags(server, proven)
    other = canonical_json(attestation("0" * 64).to_dict()).decode()
    refused = set_tag(server, proven, "1", other)
    assert (refused.status, refused.body["error_code"]) == (409, "RESOURCE_CONFLICT")
    assert refused.body["message"].startswith(f"Refused: live-1 can't attest {proven} version 1: digest 000000000000…")
    assert [finding["code"] for finding in refused.body["findings"]] == ["digest"]
    unreadable = set_tag(server, proven, "1", "{}")
    assert (unreadable.status, unreadable.body["path"]) == (400, "ppo.attest.trader_id")
    assert set_tag(server, proven, "9", value).status == 404
    bare = f"bare-{next(NUMBERS)}"
    server.register(bare, folders["unproven"])
    told = set_tag(server, bare, "1", other)
    assert told.status == 409
    assert told.body["message"].startswith(f"Refused: live-1 can't attest {bare} version 1: no golden decisions")


def test_where_real_money_trades_an_unproven_version_is_refused_and_a_vouched_one_warned_of(
    server: Server, folders: Folders
) -> None:
    model = f"cash-{next(NUMBERS)}"
    server.register(model, folders["unproven"], folders["vouched"])
    announced = announce_value(announcement(model, trader_id="cash-1", paper=False))
    body = {"name": model, "key": "ppo.announce", "value": announced}
    assert server.call("POST", "registered-models/set-tag", body).status == 200
    refused = server.promote(model, "1")
    assert refused.status == 409
    assert refused.body["message"][:MOST_SHOWN].startswith(
        f"Refused: {model} version 1 can't become Production: trader cash-1 (2.7.0) can't run it: "
        "no golden decisions: real money needs proof"
    )
    assert [(f["code"], f["kind"]) for f in refused.body["findings"]] == [("unproven", "safety")]
    assert server.promote(model, "2").status == 200
    assert server.production(model) == ["2"]
    findings = json.loads(history(server, model)[-1]["findings"])
    assert [(f["code"], f["kind"], f["expected"]) for f in findings] == [("vouched", "warning", VOUCH.text)]
    assert tags(server, model, "1")["ppo.proof"] == "unproven: no golden decisions"
    assert tags(server, model, "2")["ppo.proof"] == VOUCH.text
    checked = ask(server, "check", f"models:/{model}/2", "--for", f"{model}/Production")
    assert (checked.code, "[warning] Production, trader cash-1 (2.7.0), golden: found no golden" in checked.out) == (
        0,
        True,
    )


def test_on_paper_an_unproven_version_passes_with_a_warning(server: Server, folders: Folders) -> None:
    model = f"paper-{next(NUMBERS)}"
    server.register(model, folders["unproven"])
    assert server.announce(model).status == 200
    assert server.promote(model, "1").status == 200
    findings = json.loads(history(server, model)[-1]["findings"])
    assert [(f["code"], f["kind"]) for f in findings] == [("unproven", "warning")]
