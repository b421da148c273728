"""Audit: what went round the gate is seen, each with its text; deleting the guard's own rows makes nothing fine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import text

from mlflow_ppo_flavor.contract.keys import SigningKey
from mlflow_ppo_flavor.registry.installation import adopt
from mlflow_ppo_flavor.registry.store import GuardMixin, open_store
from tests.registry.auditing import audited
from tests.registry.model_folders import announcement, attestation
from tests.registry.operating import announce, attest, digest_of, proof_of, refused, register

Audit = Callable[[], dict[str, list[str]]]


def sql(store: GuardMixin, statement: str, **values: Any) -> None:
    with store.engine.begin() as connection:
        assert connection.execute(text(statement), values).rowcount, statement


def test_what_the_gate_allowed_is_fine(desk: GuardMixin) -> None:
    assert audited(desk) == {}
    report = desk.report("audit")["m"]
    assert [(each["reference"], each["version"], each["allowed"]) for each in report["references"]] == [
        ("m@live", 2, True),
        ("m/Production", 1, True),
    ]


def test_a_model_renamed_to_its_own_name_keeps_all_that_is_known_of_it(desk: GuardMixin) -> None:
    """MLflow takes it. Without its contracts its artifacts wouldn't be frozen any more."""
    attest(desk, 1, attestation(digest_of(desk, 1), version="2.6.0"))
    desk.rename_registered_model("m", "m")
    assert audited(desk) == {}
    assert proof_of(desk, 1) == "golden decisions recorded, attested by 1 trader"
    desk.transition_model_version_stage("m", 1, "Archived", False)
    error = refused(lambda: desk.transition_model_version_stage("m", 3, "Production", False))
    assert error.json_kwargs["findings"][0]["code"] == "trader_version"


def test_a_plain_client_that_moves_a_stage_or_an_alias_is_seen(desk: GuardMixin) -> None:
    plain = SqlAlchemyStore(str(desk.engine.url))
    plain.transition_model_version_stage("m", 3, "Production", False)
    plain.set_registered_model_alias("m", "live", 1)
    plain.engine.dispose()
    found = audited(desk)
    assert found["m/Production"][0] == (
        "[safety] moved_around_the_gate: Production: found version 3, the gate's last verdict is for version 1"
    )
    assert found["m/Production"][1] == (
        "[version] trader_version: Production, trader live-1 (2.6.0), requires_trader: found trader 2.6.0, "
        "model 2.7.0 requires trader >=2.7.0"
    )
    assert found["m@live"] == [
        "[safety] moved_around_the_gate: @live: found version 1, the gate's last verdict is for version 2"
    ]


def test_a_reference_emptied_around_the_gate_is_seen(desk: GuardMixin) -> None:
    sql(desk, "DELETE FROM registered_model_aliases WHERE alias = 'live'")
    assert audited(desk) == {
        "m@live": ["[safety] moved_around_the_gate: @live: found nothing, the gate's last verdict is for version 2"]
    }
    assert desk.report("audit")["m"]["references"][0]["findings"][0]["remedy"] == (
        "look who wrote to the database, then promote the version that is meant once more, to "
        "a stage with --archive-existing, "
        "or run mlflow-ppo guard install URI --adopt where it is meant to load nothing"
    )
    assert [str(each.held.reference) for each in adopt(desk, "default")] == ["m@live"]
    assert audited(desk) == {}


def test_another_version_under_the_same_number_is_seen(desk: GuardMixin, models: dict[str, str]) -> None:
    sql(desk, "UPDATE model_versions SET storage_location = :to WHERE version = 1", to=models["2.6.0b"])
    assert audited(desk)["m/Production"][0] == (
        "[safety] moved_around_the_gate: Production: found version 1, that number was another version when the gate "
        "allowed it"
    )


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("ppo_verdicts", "[safety] no_verdict: Production: found version 1 without a verdict, the gate rules on all"),
        ("ppo_contracts", "[safety] unknown_contract: Production: found its contract hasn't been read yet"),
        (
            "ppo_announcements",
            "[safety] announcement_missing: Production: found no announcement of live-1, the history tells of it",
        ),
    ],
)
def test_deleting_the_guards_rows_makes_nothing_fine(table: str, told: str, desk: GuardMixin) -> None:
    sql(desk, f"DELETE FROM {table}")
    assert any(told in line for lines in audited(desk).values() for line in lines)


def test_deleting_all_of_them_makes_nothing_fine(desk: GuardMixin) -> None:
    for table in ("verdicts", "contracts", "announcements", "history"):
        sql(desk, f"DELETE FROM ppo_{table}")
    assert audited(desk)["m/Production"][0] == (
        "[safety] no_verdict: Production: found version 1 without a verdict, the gate rules on all that is loaded"
    )


def test_deleting_every_verdict_makes_nothing_fine_without_a_key_either(
    store: GuardMixin, models: dict[str, str]
) -> None:
    """It isn't taken for a registry that was never adopted: the history tells of the move."""
    register(store, models, "2.7.0", "2.7.0")
    store.transition_model_version_stage("m", 1, "Production", False)
    sql(store, "DELETE FROM ppo_verdicts")
    sql(store, "UPDATE model_versions SET current_stage = 'Production' WHERE version = 2")
    assert audited(store)["m/Production"][0] == (
        "[safety] no_verdict: Production: found version 2 without a verdict, the gate rules on all that is loaded"
    )


def test_an_announcement_that_was_changed_is_held_against_the_history(desk: GuardMixin) -> None:
    """Judged by it, a version that this trader can't run would enter."""
    announce(desk, announcement("m", version="2.6.0"))
    assert audited(desk) == {}
    raised = "replace(replace(announcement, '\"version\"\\:\"2.6.0\"', '\"version\"\\:\"2.9.0\"'), 'true', 'false')"
    sql(desk, f"UPDATE ppo_announcements SET announcement = {raised} WHERE label = 'Production'")
    assert audited(desk)["m"] == [
        "[safety] record_changed: Production: found an announcement of live-1 as 2.9.0 (real money), the history tells "
        "of 2.6.0 (paper)"
    ]


def test_a_database_that_doesnt_say_who_it_is_is_not_opened(desk: GuardMixin) -> None:
    sql(desk, "DELETE FROM ppo_registry")
    with pytest.raises(MlflowException, match=r"^ppo_registry: found 0 rows, expected the one that the database got "):
        open_store(f"ppo:{desk.engine.url}")


def test_without_a_key_a_registry_that_was_never_adopted_is_warned_of(
    store: GuardMixin, models: dict[str, str]
) -> None:
    register(store, models, "2.6.0")
    sql(store, "UPDATE model_versions SET current_stage = 'Production'")
    warned = audited(store)["m/Production"]
    assert warned[0] == (
        "[warning] no_verdict: Production: found version 1 without a verdict, the gate rules on all that is loaded"
    )
    assert store.report("audit")["m"]["references"][0]["allowed"]
    assert [str(each.held.reference) for each in adopt(store, "default")] == ["m/Production"]
    assert not any("no_verdict" in line for lines in audited(store).values() for line in lines)


def test_verdicts_that_were_deleted_leave_a_gap(desk: GuardMixin) -> None:
    desk.transition_model_version_stage("m", 2, "Production", True)
    sql(desk, "DELETE FROM ppo_verdicts WHERE label = 'Production' AND sequence = 1")
    assert audited(desk)["m/Production"] == [
        "[safety] verdicts_missing: Production: found 1 verdicts, the last one is number 2: some were deleted"
    ]


def test_a_seal_that_is_missing_made_by_another_key_or_of_another_verdict_is_told(desk: GuardMixin) -> None:
    seal = "UPDATE ppo_verdicts SET seal = :to WHERE label = 'Production'"
    with desk.engine.connect() as connection:
        good = connection.execute(text("SELECT seal FROM ppo_verdicts WHERE label = 'Production'")).scalar_one()
        other = connection.execute(text("SELECT seal FROM ppo_verdicts WHERE label = '@live'")).scalar_one()
    sql(desk, seal, to=None)
    assert audited(desk)["m/Production"] == [
        "[safety] no_seal: Production: found verdict 1 without a seal, this registry seals its verdicts"
    ]
    sql(desk, seal, to="{}")
    assert "[safety] seal: Production: found a seal that can't be read, seal.format" in audited(desk)["m/Production"][0]
    sql(desk, seal, to="[" * 100_000)
    assert (
        "[safety] seal: Production: found a seal that can't be read, seal: found no JSON"
        in (audited(desk)["m/Production"][0])
    )
    sql(desk, seal, to=other)
    assert audited(desk)["m/Production"][0] == (
        "[safety] record_changed: Production: found reference m/Production, the seal says m@live"
    )
    sql(desk, seal, to=good.replace('"sequence":1', '"sequence":7'))
    assert "found a signature that key" in audited(desk)["m/Production"][0]


def test_a_key_that_isnt_this_servers_is_told(
    desk: GuardMixin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SigningKey.generate().write(tmp_path / "other.pem")
    monkeypatch.setenv("MLFLOW_PPO_SIGNING_KEY_FILE", str(tmp_path / "other.pem"))
    other = open_store(f"ppo:{desk.engine.url}")
    lines = audited(other)["m/Production"]
    assert len(lines) == 1
    assert lines[0].startswith("[safety] seal: Production: found key ")
    # signing what stands with the new key is how a key is replaced; doing it twice changes nothing
    assert len(adopt(other, "default")) == 2
    assert adopt(other, "default") == []
    assert audited(other) == {}
    other.engine.dispose()


def test_a_digest_changed_in_the_guards_own_row_is_held_against_the_seal(desk: GuardMixin) -> None:
    sql(desk, "UPDATE ppo_contracts SET digest = :to WHERE version = 1", to="0" * 64)
    lines = audited(desk)["m/Production"]
    assert any(line.startswith("[safety] record_changed: Production: found digest 000000000000…") for line in lines)
    assert any("[safety] digest: Production, version 1: found digest" in line for line in lines)


def test_a_spec_changed_in_the_guards_own_row_is_held_against_the_digest(desk: GuardMixin) -> None:
    """The gate would let another trader in by it; what the digest was made from says otherwise."""
    with desk.engine.connect() as connection:
        spec = connection.execute(text("SELECT spec FROM ppo_contracts WHERE version = 1")).scalar_one()
    sql(desk, "UPDATE ppo_contracts SET spec = :to WHERE version = 1", to=spec.replace(">=2.4.0", ">=2.0.0"))
    assert (
        "[safety] record_changed: Production, version 1: found a contract that differs from its digest's, "
        "the guard's own row was changed"
    ) in audited(desk)["m/Production"]


def test_a_tag_of_the_gates_that_was_changed_is_told(desk: GuardMixin) -> None:
    sql(desk, "UPDATE model_version_tags SET value = 'ppo 9' WHERE version = 1 AND key = 'ppo.spec'")
    sql(desk, "DELETE FROM model_version_tags WHERE version = 2 AND key = 'ppo.digest'")
    found = audited(desk)
    assert found["m/Production"] == [
        "[safety] tag_changed: Production, version 1, ppo.spec: found 'ppo 9', its contract says 'ppo 2.6.0'"
    ]
    assert found["m@live"][0].startswith("[safety] tag_changed: @live, version 2, ppo.digest: found no such tag, ")


def test_a_fleet_that_outgrew_what_stands_is_told(desk: GuardMixin) -> None:
    """Written by hand: the gate wouldn't have taken the announcement."""
    sql(
        desk,
        'UPDATE ppo_announcements SET announcement = replace(announcement, \'"version":"2.6.0"\', '
        "'\"version\":\"2.3.0\"') WHERE label = 'Production'",
    )
    assert audited(desk)["m/Production"] == [
        "[version] trader_version: Production, trader live-1 (2.3.0), requires_trader: found trader 2.3.0, "
        "model 2.6.0 requires trader >=2.4.0"
    ]


def test_terms_that_what_stands_no_longer_meets_are_told(
    desk: GuardMixin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stricter policy since: but approvals, which are of a move, aren't asked for again."""
    terms = (
        "Production: {required_tags: [reviewed], metrics: {sharpe: '>=0.5'}, require_attestation: true, approvals: 1}"
    )
    (tmp_path / "policy.yaml").write_text(f"references:\n  {terms}\n")
    monkeypatch.setenv("MLFLOW_PPO_POLICY_FILE", str(tmp_path / "policy.yaml"))
    strict = open_store(f"ppo:{desk.engine.url}")
    lines = audited(strict)
    assert list(lines) == ["m/Production"]
    assert [line.partition(": found ")[0] for line in lines["m/Production"]] == [
        "[policy] metric: Production, metrics.sharpe",
        "[policy] tag: Production, required_tags.reviewed",
        "[policy] attestation: Production, require_attestation",
    ]
    strict.engine.dispose()


def test_models_of_others_are_none_of_its_business(desk: GuardMixin, folders: dict[str, str]) -> None:
    register(desk, folders, "sklearn", model="other")
    desk.transition_model_version_stage("other", 1, "Production", False)
    assert list(desk.report("audit")) == ["m"]


def test_references_come_page_by_page(desk: GuardMixin) -> None:
    first = desk.report("audit", limit=1)["m"]
    assert ([each["label"] for each in first["references"]], first["next"]) == (["@live"], "@live")
    second = desk.report("audit", limit=1, after="@live")["m"]
    assert ([each["label"] for each in second["references"]], second["next"]) == (["Production"], None)
    only = desk.report("audit", reference="Production")["m"]
    assert ([each["label"] for each in only["references"]], only["next"]) == (["Production"], None)
