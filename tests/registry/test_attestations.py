"""Attestations on a real database: kept, replaced, shown, refused, and gone with their version."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from mlflow.entities.model_registry import ModelVersionTag
from mlflow.exceptions import MlflowException
from sqlalchemy import select

from mlflow_ppo_flavor.registry.store import GuardMixin
from mlflow_ppo_flavor.registry.tables import ATTESTATIONS
from tests.registry.model_folders import ANNOUNCED_AT, attestation
from tests.registry.operating import Folders, attest, digest_of, promote, proof_of, refused, register, rows

Policed = Callable[[dict[str, Any]], GuardMixin]


def kept(store: GuardMixin) -> list[tuple[str, int, str, str]]:
    """(model, version, trader, trader version) of all that is kept, sorted."""
    with store.ManagedSessionMaker() as session:
        found = session.execute(select(ATTESTATIONS)).mappings().all()
    return sorted(
        (row["model"], row["version"], row["trader_id"], json.loads(row["attestation"])["trader_version"])
        for row in found
    )


def audited(store: GuardMixin) -> list[str]:
    """What the policy asks for that Production doesn't meet, as an audit finds it."""
    (audited,) = store.report("audit", "m")["m"]["references"]
    return [finding["code"] for finding in audited["findings"] if finding["kind"] == "policy"]


class TestAttestations:
    def test_are_kept_in_the_guards_table_and_counted_on_the_page(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.6.0", "2.7.0")
        told = attestation(digest_of(store, 1))
        assert proof_of(store, 1) == "golden decisions recorded"
        attest(store, 1, told)
        assert proof_of(store, 1) == "golden decisions recorded, attested by 1 trader"
        attest(store, 1, replace(told, trader_id="live-2"))
        assert proof_of(store, 1) == "golden decisions recorded, attested by 2 traders"
        assert proof_of(store, 2) == "golden decisions recorded"
        assert "ppo.attest" not in store.get_model_version("m", 1).tags
        with store.ManagedSessionMaker() as session:
            row = session.execute(select(ATTESTATIONS).filter_by(trader_id="live-1")).mappings().one()
        assert json.loads(row["attestation"]) == told.to_dict()
        assert (row["who"], row["received_at"] > row["created"] > 0) == ("unauthenticated", True)

    def test_a_later_one_of_the_same_trader_replaces_the_earlier_one(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.6.0")
        for version in ("2.6.0", "2.7.0"):
            attest(store, 1, attestation(digest_of(store, 1), version=version))
        assert kept(store) == [("m", 1, "live-1", "2.7.0")]
        assert proof_of(store, 1) == "golden decisions recorded, attested by 1 trader"

    def test_history_tells_them_also_the_refused(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.6.0")
        digest = digest_of(store, 1)
        attest(store, 1, attestation(digest))
        refused(lambda: attest(store, 1, attestation("0" * 64)))
        first, second = rows(store)
        assert (first["allowed"], first["fact"]) == (True, "trader live-1 (2.7.0) reproduced m version 1")
        assert json.loads(first["operation"]) == {
            "kind": "attest",
            "version": 1,
            "trader_id": "live-1",
            "trader_version": "2.7.0",
            "digest": digest,
            "attested_at": ANNOUNCED_AT,
        }
        assert json.loads(first["digests"]) == {"m/1": digest}
        assert (second["allowed"], json.loads(second["operation"])["digest"]) == (False, "0" * 64)

    def test_another_digest_is_refused(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.6.0")
        error = refused(lambda: attest(store, 1, attestation("0" * 64)))
        assert error.message == (
            "Refused: live-1 can't attest m version 1: digest 000000000000…, "
            f"the version has {digest_of(store, 1)[:12]}…\n"
            f"[safety] version 1: found digest 000000000000…, the version has {digest_of(store, 1)[:12]}…: "
            "fetch the version, replay that and attest it"
        )
        assert [finding["code"] for finding in error.json_kwargs["findings"]] == ["digest"]
        assert kept(store) == []

    @pytest.mark.parametrize(
        ("kind", "text"),
        [
            (
                "unproven",
                "Refused: live-1 can't attest m version 1: no golden decisions, there is nothing to reproduce\n",
            ),
            (
                "vouched",
                "Refused: live-1 can't attest m version 1: no golden decisions, there is nothing to reproduce\n",
            ),
            (
                "sklearn",
                "Refused: live-1 can't attest m version 1: MLmodel has no ppo flavor, only python_function, sklearn\n",
            ),
            ("missing", "Refused: live-1 can't attest m version 1: try again later: MLmodel can't be read: "),
        ],
    )
    def test_a_version_with_nothing_to_reproduce_is_refused(
        self, kind: str, text: str, store: GuardMixin, folders: Folders
    ) -> None:
        register(store, folders, kind, "2.6.0")
        error = refused(lambda: attest(store, 1, attestation("0" * 64)))
        assert error.message.startswith(text)
        assert error.get_http_status_code() == 409

    def test_a_version_that_is_not_there_is_mlflows_error(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.6.0")
        for model, version in (("m", 9), ("n", 1)):
            with pytest.raises(MlflowException, match="not found") as caught:
                attest(store, version, attestation("0" * 64), model)
            assert caught.value.error_code == "RESOURCE_DOES_NOT_EXIST"

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ("nonsense", "ppo.attest: found no JSON"),
            ("{}", "ppo.attest.trader_id: found nothing, expected a trader id"),
            (json.dumps(attestation("0").to_dict()), "ppo.attest.digest: found '0', expected a sha256"),
            (
                json.dumps(attestation("0" * 64).to_dict() | {"attested_at": "today"}),
                "ppo.attest.attested_at: found 'today', expected a time with its zone",
            ),
            (
                json.dumps(attestation("0" * 64).to_dict() | {"replayed": True}),
                "ppo.attest.replayed: found an unknown key",
            ),
            (None, "ppo.attest: found None, expected a string"),
        ],
    )
    def test_what_cannot_be_read_is_400_with_the_dotted_path(
        self, value: Any, text: str, store: GuardMixin, folders: Folders
    ) -> None:
        register(store, folders, "2.6.0")
        with pytest.raises(MlflowException) as caught:
            store.set_model_version_tag("m", 1, ModelVersionTag("ppo.attest", value))
        assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
        assert caught.value.message.startswith(text)
        assert caught.value.json_kwargs["path"].startswith("ppo.attest")

    def test_an_id_that_the_policy_does_not_list_attests_nothing(self, policed: Policed, folders: Folders) -> None:
        store = policed({"traders": ["live-*"], "require_attestation": True})
        register(store, folders, "2.6.0")
        digest = digest_of(store, 1)
        error = refused(lambda: attest(store, 1, attestation(digest, "other-9")))
        assert error.message == (
            "Refused: other-9 can't attest m version 1: the policy's traders don't list it\n"
            "[policy] traders: found 'other-9', the policy lets live-* attest: "
            "list it under the policy's traders, or use a listed id"
        )
        assert [finding["code"] for finding in error.json_kwargs["findings"]] == ["trader_not_listed"]
        assert error.get_http_status_code() == 409
        assert kept(store) == []
        assert [(row["allowed"], json.loads(row["operation"])["trader_id"]) for row in rows(store)] == [(0, "other-9")]
        assert "no attestation by a trader 2.7.0" in refused(lambda: promote(store, 1)).message[:150]
        attest(store, 1, attestation(digest))
        promote(store, 1)

    def test_one_of_an_id_that_the_policy_lists_no_longer_does_not_count(
        self, policed: Policed, folders: Folders
    ) -> None:
        """Neither at a promotion nor in the audit of what it let in before."""
        store = policed({"require_attestation": True})
        register(store, folders, "2.6.0")
        attest(store, 1, attestation(digest_of(store, 1), "other-9"))
        promote(store, 1)
        assert audited(store) == []
        promote(store, 1, "None")
        tightened = policed({"traders": ["live-*"], "require_attestation": True})
        assert "no attestation by a trader 2.7.0" in refused(lambda: promote(tightened, 1)).message[:150]
        promote(store, 1)
        assert audited(tightened) == ["attestation"]
        attest(tightened, 1, attestation(digest_of(store, 1)))
        assert audited(tightened) == []
        promote(tightened, 1, "None")
        promote(tightened, 1)

    def test_follow_a_rename(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.6.0")
        attest(store, 1, attestation(digest_of(store, 1)))
        store.rename_registered_model("m", "n")
        assert kept(store) == [("n", 1, "live-1", "2.7.0")]
        assert store.update_model_version("n", 1, "mine").description.startswith("mine\n\nPPO policy 2.6.0")
        assert proof_of(store, 1, "n") == "golden decisions recorded, attested by 1 trader"

    def test_go_with_a_deleted_version_or_model_and_never_to_another_of_that_number(
        self, store: GuardMixin, folders: Folders
    ) -> None:
        register(store, folders, "2.6.0", "2.6.0")
        for version in (1, 2):
            attest(store, version, attestation(digest_of(store, version)))
        store.delete_model_version("m", 1)
        assert kept(store) == [("m", 2, "live-1", "2.7.0")]
        store.delete_registered_model("m")
        assert kept(store) == []
        register(store, folders, "2.6.0", "2.6.0")
        assert proof_of(store, 2) == "golden decisions recorded"

    def test_one_past_the_gate_does_not_pass_to_a_version_that_took_its_number(
        self, store: GuardMixin, folders: Folders
    ) -> None:
        register(store, folders, "2.6.0")
        attest(store, 1, attestation(digest_of(store, 1)))
        store._mlflow.delete_registered_model("m")
        assert kept(store) == [("m", 1, "live-1", "2.7.0")]
        register(store, folders, "2.6.0")
        assert proof_of(store, 1) == "golden decisions recorded"

    def test_a_copy_has_none(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.6.0")
        attest(store, 1, attestation(digest_of(store, 1)))
        store.copy_model_version(store.get_model_version("m", 1), "n")
        assert proof_of(store, 1, "n") == "golden decisions recorded"
        assert proof_of(store, 1) == "golden decisions recorded, attested by 1 trader"

    def test_no_client_deletes_one_as_a_tag(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.6.0")
        with pytest.raises(MlflowException, match="the gate alone writes these"):
            store.delete_model_version_tag("m", 1, "ppo.attest")
