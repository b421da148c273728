"""Verdicts on a real database: one for each allowed move, in a sequence that never falls, bound and sealed."""

import json
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from sqlalchemy import text

from mlflow_ppo_flavor.contract.keys import SigningKey, VerifyingKeys
from mlflow_ppo_flavor.contract.seal import Seal
from mlflow_ppo_flavor.registry.store import GuardMixin, open_store
from tests.registry import databases
from tests.registry.model_folders import announcement
from tests.registry.operating import (
    Folders,
    announce,
    digest_of,
    loaded,
    promote,
    refused,
    register,
    resolved,
    rows,
    verdicts,
)


def test_each_allowed_move_has_one_and_a_refusal_none(store: GuardMixin, folders: Folders) -> None:
    register(store, folders, "2.6.0", "2.6.0", "2.7.0")
    announce(store, announcement("m", version="2.6.0"))
    promote(store, 1)
    promote(store, 1)
    promote(store, 2)
    refused(lambda: promote(store, 3))
    store.delete_model_version("m", 2)
    promote(store, 1, "Archived")
    promote(store, 3, "Archived")
    assert loaded(store) == [(1, 1), (2, 2), (3, 1), (4, None)]
    assert loaded(store, "Staging") == []
    first, last = verdicts(store)[0], verdicts(store)[-1]
    version = store.get_model_version("m", 1)
    assert (first["created"], first["location"]) == (version.creation_timestamp, folders["2.6.0"])
    assert first["digest"] == digest_of(store, 1)
    assert first["seal"] is None
    assert (last["created"], last["location"], last["digest"]) == (0, "", "")


def test_the_sequence_goes_on_where_a_model_is_deleted_and_made_again(store: GuardMixin, folders: Folders) -> None:
    for _ in range(2):
        register(store, folders, "2.6.0")
        promote(store, 1)
        store.delete_registered_model("m")
    assert loaded(store) == [(1, 1), (2, None), (3, 1), (4, None)]


def test_a_rename_empties_the_old_name_and_fills_the_new_one(store: GuardMixin, folders: Folders) -> None:
    register(store, folders, "2.6.0")
    promote(store, 1)
    store.rename_registered_model("m", "n")
    assert loaded(store) == [(1, 1), (2, None)]
    assert loaded(store, model="n") == [(1, 1)]
    assert verdicts(store, model="n")[0]["digest"] == digest_of(store, 1, "n")
    store.rename_registered_model("n", "m")
    assert loaded(store) == [(1, 1), (2, None), (3, 1)]


def test_an_alias_has_them_from_the_announcement_that_protects_it(store: GuardMixin, folders: Folders) -> None:
    register(store, folders, "2.6.0", "2.7.0", "2.7.0")
    store.set_registered_model_alias("m", "champion", 1)
    assert loaded(store, "@champion") == []
    announce(store, announcement("m", "@champion", version="2.6.0"))
    assert loaded(store, "@champion") == [(1, 1)]
    assert [json.loads(row["operation"])["kind"] for row in rows(store)] == ["announce", "adopt"]
    announce(store, announcement("m", "@champion", trader_id="live-2"))
    refused(lambda: store.set_registered_model_alias("m", "champion", 2))
    store.delete_registered_model_alias("m", "champion")
    assert loaded(store, "@champion") == [(1, 1), (2, None)]


def test_an_announcement_adopts_no_stage_and_nothing_forbidden(store: GuardMixin, folders: Folders) -> None:
    register(store, folders, "2.6.0")
    plain = f"UPDATE model_versions SET current_stage = 'Production' WHERE name = 'm' AND version = {1}"
    with store.engine.begin() as connection:
        connection.execute(text(plain))
    announce(store, announcement("m", version="2.6.0"))
    assert loaded(store) == []


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SigningKey:
    """A signing key that the stores opened from now on seal with."""
    made = SigningKey.generate()
    made.write(tmp_path / "key.pem")
    monkeypatch.setenv("MLFLOW_PPO_SIGNING_KEY_FILE", str(tmp_path / "key.pem"))
    return made


def test_are_sealed_where_the_server_has_a_key(key: SigningKey, tmp_path: Path, folders: Folders) -> None:
    store = open_store(f"ppo:{databases.fresh(tmp_path)}")
    register(store, folders, "2.6.0", "2.6.0")
    promote(store, 1)
    promote(store, 2)
    promote(store, 2, "None")
    seals = [row["seal"] and Seal.from_dict(json.loads(row["seal"])) for row in verdicts(store)]
    for seal, version in zip(seals, (1, 2, 1), strict=True):
        assert VerifyingKeys((key.public,)).fault(seal) == ""
        assert (str(seal.verdict.reference), seal.verdict.version) == ("m/Production", version)
        assert (seal.verdict.registry, seal.verdict.workspace) == (store.setting.registry_id, "default")
        assert seal.verdict.digest == digest_of(store, version)
    assert [seal.verdict.sequence for seal in seals] == [1, 2, 3]
    told = store.report("verdict")["m"]
    assert told["Production"] == seals[-1].to_dict()
    store.engine.dispose()


def test_a_key_that_cannot_be_used_opens_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_PPO_SIGNING_KEY_FILE", str(tmp_path / "nowhere.pem"))
    with pytest.raises(MlflowException, match=r"MLFLOW_PPO_SIGNING_KEY_FILE: .*nowhere\.pem"):
        open_store(f"ppo:{databases.fresh(tmp_path)}")


def test_a_policy_that_cannot_be_read_opens_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("references: {Production: {mode: blok}}")
    monkeypatch.setenv("MLFLOW_PPO_POLICY_FILE", str(path))
    with pytest.raises(MlflowException, match=r"references\.Production\.mode: found 'blok'") as caught:
        open_store(f"ppo:{databases.fresh(tmp_path)}")
    assert caught.value.get_http_status_code() == 400


@pytest.mark.parametrize("table", ["ppo_verdicts", "ppo_history"])
def test_what_fails_between_check_and_commit_leaves_registry_verdicts_and_history_agreeing(
    store: GuardMixin, folders: Folders, table: str
) -> None:
    register(store, folders, "2.6.0", "2.6.0")
    promote(store, 1)
    with store.engine.begin() as connection:
        connection.execute(text(f"CREATE TRIGGER s BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'stopped'); END"))
    with pytest.raises(MlflowException, match="stopped"):
        promote(store, 2)
    assert resolved(store, "Production") == 1
    assert loaded(store) == [(1, 1)]
    assert len(rows(store)) == 1
    assert "ppo.verdict" not in store.get_model_version("m", 2).tags


def test_unguarded_models_have_none(store: GuardMixin, folders: Folders) -> None:
    register(store, folders, "sklearn", "sklearn")
    for version in (1, 2, 1):
        promote(store, version, archive=True)
    assert loaded(store) == []
    assert store.report("verdict") == {}
