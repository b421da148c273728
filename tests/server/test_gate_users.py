"""The gate's commands where users are known: approvals, overrides, owners of trader ids, and a doctor's clean bill."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import sqlalchemy

from mlflow_ppo_flavor.contract.keys import SigningKey
from mlflow_ppo_flavor.version import VERSION
from tests.server.servers import ADMIN_PASSWORD, Server, serving
from tests.server.test_gate_commands import Folders, ask

pytestmark = pytest.mark.server
ADMIN, ANN = ("admin", ADMIN_PASSWORD), ("ann", "a password of ann's")
POLICY = """
references:
  Production: {approvals: 1, required_tags: [reviewed]}
"""


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory, whole: Folders) -> Iterator[Server]:
    """A server with basic-auth, a key, and a policy that asks for an approval and a tag: the admin and Ann use it."""
    pytest.importorskip("flask_wtf", reason="MLflow's basic-auth: install mlflow-ppo-flavor[dev]")
    folder = tmp_path_factory.mktemp("users")
    (folder / "policy.yaml").write_text(POLICY)
    SigningKey.generate().write(folder / "key.pem")
    files = ("--policy", str(folder / "policy.yaml"), "--signing-key", str(folder / "key.pem"))
    with serving(folder / "server", "--app-name", "basic-auth", *files) as server:
        admin, ann = replace(server, user=ADMIN), replace(server, user=ANN)
        assert admin.call("POST", "users/create", {"username": ANN[0], "password": ANN[1]}).status == 200
        # who creates a model may change it, as an administrator may
        assert ann.call("POST", "registered-models/create", {"name": "m"}).status == 200
        for _ in range(2):
            source = admin.log(whole["2.7.0"])
            body = {"name": "m", "source": source, "run_id": source.split("/")[1]}
            assert admin.call("POST", "model-versions/create", body).status == 200
        yield admin


def test_an_approval_is_another_users(users: Server) -> None:
    ann = replace(users, user=ANN)
    refused = ask(users, "promote", "m", "1", "Production")
    assert refused.code == 1
    assert "[policy] Production, approvals: found 0 of 1 approval, by users other than admin" in refused.out
    assert "[policy] Production, required_tags.reviewed: found no tag reviewed" in refused.out
    assert refused.out.splitlines()[-2:] == [
        "An approval is given by another user: mlflow-ppo approve m 1 Production",
        "It can be let in once all the same by another user, approvals included: "
        "mlflow-ppo override m 1 Production --reason '…'",
    ]
    assert ask(users, "override", "m", "1", "Production", "--reason", "reviewed on paper").code == 0
    covered = ask(users, "promote", "m", "1", "Production")
    assert covered.code == 1, "nobody's own override stands for an approval"
    assert covered.out.splitlines()[-1] == "An approval is given by another user: mlflow-ppo approve m 1 Production"
    assert "mlflow-ppo override" not in covered.out, "it stands already, and another of the same user wouldn't help"
    tag = {"name": "m", "version": "1", "key": "reviewed", "value": "yes"}
    assert users.call("POST", "model-versions/set-tag", tag).status == 200
    own = ask(users, "approve", "m", "1", "Production")
    assert own.code == 0, own
    assert ask(users, "promote", "m", "1", "Production").code == 1, "nobody approves what they promote themselves"
    approved = ask(ann, "approve", "m", "1", "production", "--format", "json")
    assert (approved.code, approved.json["reference"], approved.json["allowed"]) == (0, "m/Production", True)
    assert "ann" in approved.json["fact"]
    assert ask(users, "promote", "m", "1", "Production").code == 0
    assert ask(ann, "history", "m", "--limit", "1", "--format", "json").json[0]["who"] == "admin"


def test_another_users_override_stands_for_what_the_policy_asks(users: Server) -> None:
    ann = replace(users, user=ANN)
    assert ask(users, "promote", "m", "2", "Production").code == 1
    kept = ask(ann, "override", "m", "2", "Production", "--reason", "the exchange closes early")
    assert (kept.code, "ann" in kept.out) == (0, True)
    done = ask(users, "promote", "m", "2", "Production")
    assert done.code == 0
    assert done.out.endswith("overridden by ann\n")
    warned = ask(users, "audit", "m")
    assert warned.code == 0, warned
    assert "[warning]" not in warned.out or "an override let it pass" in warned.out
    # single use
    assert ask(users, "rollback", "m", "Production").code == 0
    assert ask(users, "promote", "m", "2", "Production").code == 1


def test_the_owner_of_a_traders_id_is_who_first_announced_it(users: Server) -> None:
    ann = replace(users, user=ANN)
    assert ann.announce("m", "@ann", trader_id="anns").status == 200
    assert [(row["trader_id"], row["owner"]) for row in ask(users, "fleet", "m", "--format", "json").json] == [
        ("anns", "ann")
    ]


def test_a_doctor_tells_that_a_server_is_guarded_and_what_is_to_mend(users: Server, whole: Folders) -> None:
    users.register("ward", whole["2.7.0"])
    assert users.promote("ward", "1", "Staging").status == 200
    told = ask(users, "doctor", "--format", "json")
    states = {check["code"]: check["state"] for check in told.json["checks"]}
    assert (told.code, told.json["guarded"]) == (0, True), told.json
    assert states == dict.fromkeys(
        ("guard", "package", "policy", "key", "mlflow", "artifacts", "page", "contracts", "standing"), "ok"
    )
    lines = ask(users, "doctor").out.splitlines()
    assert lines[0].startswith(f"[ok] {users.url}: guarded, on sqlite, registry ")
    assert f"[ok] mlflow-ppo-flavor {VERSION} on both sides" in lines
    assert "[ok] a policy that sets references" in lines
    assert lines[-1] == f"{users.url}: guarded"
    engine = sqlalchemy.create_engine(users.database)
    with engine.begin() as connection:
        # written by hand: no trader is that new, and Staging warns until one announces
        spec = "UPDATE ppo_contracts SET spec = replace(spec, '@1', '@9') WHERE model = 'ward'"
        assert connection.execute(sqlalchemy.text(spec)).rowcount == 1
    engine.dispose()
    sick = ask(users, "doctor")
    assert sick.code == 1
    assert "[mend] ward/Staging loads version 1, which would be refused today: " in sick.out
    assert "    promote another version, or mlflow-ppo rollback or withdraw" in sick.out.splitlines()
    assert sick.out.endswith(f"{users.url}: 1 to mend\n")
