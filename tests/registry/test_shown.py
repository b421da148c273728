"""Audit of pages: what stands there in the gate's name and the gate didn't say is told, and nothing else is."""

from pathlib import Path

import pytest
from mlflow.entities.model_registry import ModelVersionTag
from sqlalchemy import text

from mlflow_ppo_flavor.contract.request import Reverify, Rollback
from mlflow_ppo_flavor.registry import installation
from mlflow_ppo_flavor.registry.store import GuardMixin, open_store
from tests.cli.commands import mlflow_ppo
from tests.registry import databases
from tests.registry.auditing import audited
from tests.registry.model_folders import announcement, attestation
from tests.registry.operating import announce, ask_model, attest, digest_of, promote, refused, register

TAG = "INSERT INTO model_version_tags (workspace, name, version, key, value) VALUES ('default', 'm', 1, :key, 'yes')"
EDIT = "UPDATE model_version_tags SET value = :value WHERE name = 'm' AND version = 1 AND key = :key"
DROP = "DELETE FROM model_version_tags WHERE name = 'm' AND version = 1 AND key = :key"
DESCRIBE = "UPDATE model_versions SET description = :text WHERE name = 'm' AND version = 1"


def sql(store: GuardMixin, statement: str, **values: object) -> None:
    with store.engine.begin() as connection:
        assert connection.execute(text(statement), values).rowcount, statement


def told(store: GuardMixin) -> list[str]:
    """What an audit says of m/Production; of nothing else has it anything to say."""
    lines = audited(store)
    assert set(lines) <= {"m/Production"}
    return [line.removeprefix("[safety] ") for line in lines.get("m/Production", [])]


def test_each_tag_of_the_gates_that_was_changed_dropped_or_added_is_told(desk: GuardMixin) -> None:
    said = desk.get_model_version("m", 1).tags
    assert said["ppo.verdict"].endswith(" UTC Allowed: Production loads version 1, judged for 1 announced trader(s)")
    meant = {"ppo.proof": "its contract says 'golden decisions recorded'"}
    meant["ppo.verdict"] = f"the gate's last word on it is '{said['ppo.verdict']}'"
    for key, expected in meant.items():
        place = f"tag_changed: Production, version 1, {key}: found "
        sql(desk, EDIT, key=key, value="proven by 9")
        assert told(desk) == [f"{place}'proven by 9', {expected}"]
        sql(desk, DROP, key=key)
        assert told(desk) == [f"{place}no such tag, {expected}"]
        sql(desk, TAG, key=key)
        sql(desk, EDIT, key=key, value=said[key])
        assert told(desk) == []
    sql(desk, TAG, key="ppo.approved")
    sql(desk, TAG, key="ＰＰＯ.ok")
    foreign = "found a tag that the gate doesn't write, names that start with ppo. are its own"
    assert told(desk) == [
        f"tag_foreign: Production, version 1, ppo.approved: {foreign}",
        f"tag_foreign: Production, version 1, ＰＰＯ.ok: {foreign}",
    ]


def test_a_changed_block_is_told_and_the_users_own_text_is_theirs(desk: GuardMixin) -> None:
    block = desk.get_model_version("m", 1).description
    desk.update_model_version("m", 1, "Trained on a Friday.")
    assert desk.get_model_version("m", 1).description == f"Trained on a Friday.\n\n{block}"
    assert told(desk) == []
    expected = "one that says its contract and last verdict"
    another = f"block_changed: Production, version 1, description: found another block than the gate's, {expected}"
    none = f"block_changed: Production, version 1, description: found no block of the gate's, {expected}"
    for forged, line in (
        (block.replace("**Digest** `", "**Digest** `0"), another),
        (f"{block}\n\n{block}", another),
        ("Trained on a Friday.", none),
        (None, none),
    ):
        sql(desk, DESCRIBE, text=forged)
        assert told(desk) == [line]
    asked = Reverify()
    desk.set_model_version_tag("m", 1, ModelVersionTag(asked.tag, asked.value))
    assert told(desk) == [], "as the remedy says"
    assert desk.get_model_version("m", 1).description == block


def test_a_verdict_is_held_against_the_history(desk: GuardMixin) -> None:
    """A word of the gate's that it said before its last one, or never, isn't its last one."""
    old = desk.get_model_version("m", 1).tags["ppo.verdict"]
    desk.set_registered_model_alias("m", "live", 1)
    new = desk.get_model_version("m", 1).tags["ppo.verdict"]
    assert (new != old, audited(desk)) == (True, {})
    place = "[safety] tag_changed: Production, version 1, ppo.verdict: found"
    sql(desk, EDIT, key="ppo.verdict", value=old)
    assert audited(desk)["m/Production"] == [f"{place} '{old}', the gate's last word on it is '{new}'"]
    sql(desk, EDIT, key="ppo.verdict", value=f"{old}s")
    sql(desk, "DELETE FROM ppo_verdicts")
    assert f"{place} '{old}s', the history tells of no such verdict" in audited(desk)["m/Production"]


def test_what_the_gate_does_itself_is_no_finding(desk: GuardMixin) -> None:
    """Attestations, refusals, repeated and recalled moves and renames: each writes its own, or leaves it."""
    attest(desk, 1, attestation(digest_of(desk, 1), version="2.6.0"))
    refused(lambda: promote(desk, 3))
    promote(desk, 1)
    assert audited(desk) == {}
    desk.set_registered_model_alias("m", "live", 1)
    refused(lambda: desk.set_registered_model_alias("m", "live", 3))
    assert audited(desk) == {}
    promote(desk, 2)
    ask_model(desk, Rollback("Production"))
    desk.update_model_version("m", 1, "own")
    assert audited(desk) == {}
    desk.rename_registered_model("m", "n")
    announce(desk, announcement("n", "@live", version="2.6.0"))
    assert [each["reference"] for each in desk.report("audit")["n"]["references"]] == ["n@live", "n/Production"]
    assert [line for line in lines_of(desk) if "_changed" in line or "_foreign" in line] == []


def lines_of(store: GuardMixin) -> list[str]:
    return [line for lines in audited(store).values() for line in lines]


def test_a_registry_from_before_the_gate_is_clean_once_it_is_installed(
    tmp_path: Path, models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What clients wrote in the gate's name before is taken away by the installation, and what it writes is known."""
    plain = databases.unguarded(tmp_path)
    register(plain, models, "2.6.0", "2.6.0b")
    plain.transition_model_version_stage("m", 1, "Production", False)
    plain.set_model_version_tag("m", 1, ModelVersionTag("ppo.approved", "yes"))
    plain.update_model_version("m", 1, "Trained on a Friday.")
    store = open_store(f"ppo:{plain.engine.url}")
    assert installation.read_all(store, installation.unread(store, "default"), lambda _: None) == {}
    assert [str(each.held.reference) for each in installation.adopt(store, "default")] == ["m/Production"]
    assert [line for line in lines_of(store) if not line.startswith("[warning]")] == []
    refused_by = announcement("m", version="2.3.0")
    refused(lambda: announce(store, refused_by))
    announce(store, announcement("m", version="2.6.0"))
    promote(store, 2)
    assert audited(store) == {}
    for made in (plain, store):
        made.engine.dispose()


def test_tags_and_names_of_models_are_told(signed: GuardMixin, models: dict[str, str]) -> None:
    """MLflow takes names that no trader's reference has: their verdicts are sealed and read like any others."""
    names = ["a@b", "what?", "a\nb", "@x"]
    for name in names:
        register(signed, models, "2.7.0", model=name)
        signed.transition_model_version_stage(name, 1, "Production", False)
    sql(
        signed, "INSERT INTO registered_model_tags (workspace, name, key, value) VALUES ('default', 'a@b', 'ppo.x', '')"
    )
    found = {model: report["findings"] for model, report in signed.report("audit").items()}
    assert sorted(found) == sorted(names)
    messages = {
        model: [f"[{each['kind']}] {each['place']}: {each['found']}" for each in told] for model, told in found.items()
    }
    unnameable = "[warning] name: a name that no trader's reference has"
    assert messages.pop("a@b") == [unnameable, "[safety] ppo.x: a tag that the gate doesn't keep"]
    assert set(map(tuple, messages.values())) == {(unnameable,)}
    outcome = mlflow_ppo(
        "audit", "--tracking-uri", str(signed.engine.url), "--registry-uri", f"ppo:{signed.engine.url}"
    )
    assert outcome.code == 1, "for the tag"
    assert "\na\\nb/Production loads version 1\n" in outcome.out
    sql(signed, "DELETE FROM registered_model_tags WHERE key = 'ppo.x'")
    outcome = mlflow_ppo(
        "audit", "--tracking-uri", str(signed.engine.url), "--registry-uri", f"ppo:{signed.engine.url}"
    )
    assert (outcome.code, outcome.out.splitlines()[-1]) == (
        0,
        "Audited 4 protected references of 4 model(s): nothing is wrong",
    )
