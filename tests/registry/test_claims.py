"""Whose word the gate takes: announcements and attestations by owned, listed and unlisted traders."""

import pytest

from mlflow_ppo_flavor.contract.request import Retire
from mlflow_ppo_flavor.contract.trader import Announcement
from mlflow_ppo_flavor.registry.claims import judge_owner, rule_announcement, rule_attestation
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.fact import MOST_SHOWN
from mlflow_ppo_flavor.registry.gate import Ruling
from mlflow_ppo_flavor.registry.pleas import rule_retirement
from mlflow_ppo_flavor.registry.policy import Policy
from mlflow_ppo_flavor.registry.resolution import RegisteredModel, VersionKey
from tests.registry.asking import CONTRACTS, KINDS, TOO_OLD, policy
from tests.registry.model_folders import announcement, attestation

KEY = VersionKey("m", 2)


def announce(told: Announcement, *, by: Policy | None = None, standing: int = 2, **whose: str) -> Ruling:
    """The ruling on an announcement while both stages and @x load that version."""
    stage = "Staging" if told.reference.label == "Staging" else "Production"
    model = RegisteredModel("m", {standing: stage}, {"x": standing})
    return rule_announcement(told, {"m": model}, CONTRACTS, policy=by or Policy(), **whose)


class TestTraders:
    def test_only_listed_ids_may_announce(self) -> None:
        by = policy(traders=["live-*", "desk"])
        assert announce(announcement("m"), by=by).allowed
        ruling = announce(announcement("m", trader_id="canary-1"), by=by)
        assert not ruling.allowed
        assert ruling.message.splitlines() == [
            "Refused: the policy's traders don't list trader canary-1 (2.7.0), which announced for m/Production",
            "[policy] traders: found 'canary-1', the policy lets live-*, desk announce: "
            "list it under the policy's traders, or use a listed id",
        ]

    def test_none_may_where_none_is_listed(self) -> None:
        (finding,) = announce(announcement("m"), by=policy(traders=[])).verdict.findings
        assert finding.message.startswith("traders: found 'live-1', the policy lets none announce: ")

    def test_only_listed_ids_attest(self) -> None:
        by = policy(traders=["live-*", "desk"])
        assert rule_attestation(KEY, attestation("b" * 64), KINDS[2], policy=by).allowed
        ruling = rule_attestation(KEY, attestation("b" * 64, "other-9"), KINDS[2], policy=by)
        assert not ruling.allowed
        assert ruling.message.splitlines() == [
            "Refused: other-9 can't attest m version 2: the policy's traders don't list it",
            "[policy] traders: found 'other-9', the policy lets live-*, desk attest: "
            "list it under the policy's traders, or use a listed id",
        ]

    def test_all_findings_of_an_attestation_are_told(self) -> None:
        by = policy(traders=["desk"])
        ruling = rule_attestation(KEY, attestation("0" * 64), KINDS[2], policy=by, owner="ann", requester="bob")
        assert [finding.code for finding in ruling.verdict.findings] == ["trader_owned", "trader_not_listed", "digest"]
        assert "belongs to ann" in ruling.fact

    def test_it_holds_for_an_empty_reference_too(self) -> None:
        empty = {"m": RegisteredModel("m", {}, {})}
        assert rule_announcement(announcement("m"), empty, {}).allowed
        refused = rule_announcement(announcement("m"), empty, {}, policy=policy(traders=["desk"]))
        assert "traders don't list trader live-1" in refused.fact

    def test_all_findings_are_told(self) -> None:
        by = policy(traders=["desk"])
        ruling = announce(announcement("m", version="2.6.0"), by=by, owner="ann", requester="bob")
        assert [finding.code for finding in ruling.verdict.findings][:3] == [
            "trader_owned",
            "trader_not_listed",
            "trader_version",
        ]


class TestOwners:
    @pytest.mark.parametrize(
        ("owner", "requester", "allowed"),
        [
            ("", "unauthenticated", True),
            ("", "bob", True),
            ("ann", "ann", True),
            ("ann", "bob", False),
            ("ann", "Ann", False),
            ("ann", "unauthenticated", False),
            ("ann", "", False),
        ],
    )
    def test_an_owned_id_is_announced_and_attests_only_by_its_owner(
        self, owner: str, requester: str, allowed: bool
    ) -> None:
        announced = announce(announcement("m"), owner=owner, requester=requester)
        attested = rule_attestation(KEY, attestation("b" * 64), KINDS[2], owner=owner, requester=requester)
        assert announced.allowed is attested.allowed is allowed
        assert (judge_owner("live-1", owner, requester, "ask them") == []) is allowed
        assert rule_retirement("m", Retire("live-1"), owner, requester, admin=False).allowed is allowed
        assert rule_retirement("m", Retire("live-1"), owner, requester, admin=True).allowed

    def test_the_refusals(self) -> None:
        announced = announce(announcement("m"), owner="ann", requester="bob")
        assert announced.message.splitlines() == [
            "Refused: trader live-1 belongs to ann: nobody else may announce it",
            "[policy] trader live-1: found user bob, it belongs to ann: "
            "announce it as that user, or choose another trader id",
        ]
        attested = rule_attestation(KEY, attestation("b" * 64), KINDS[2], owner="ann")
        assert attested.message.splitlines() == [
            "Refused: trader live-1 belongs to ann: nobody else may attest as it",
            "[policy] trader live-1: found a user whom nobody has authenticated, it belongs to ann: "
            "attest as that user, or choose another trader id",
        ]
        retired = rule_retirement("m", Retire("live-1"), "ann", "bob", admin=False)
        assert retired.message.splitlines() == [
            "Refused: live-1 belongs to ann: nobody else but an administrator may retire it",
            "[policy] trader live-1: found user bob, it belongs to ann: let that user or an administrator retire it",
        ]

    def test_the_facts_are_short_whatever_the_names_are(self) -> None:
        long = announcement("m" * 200, "@" + "a" * 255, "t" * 64)
        for whose in ({"owner": "u" * 250}, {}):
            ruling = rule_announcement(long, {}, {}, policy=policy(traders=["desk"]), **whose)
            assert not ruling.allowed
            assert len(ruling.fact) <= MOST_SHOWN
        assert "don't list trader ttt" in ruling.fact

    def test_a_wrong_digest_is_told_beside_the_owner(self) -> None:
        ruling = rule_attestation(KEY, attestation("0" * 64), KINDS[2], owner="ann", requester="bob")
        assert [finding.code for finding in ruling.verdict.findings] == ["trader_owned", "digest"]


class TestWhatStands:
    @pytest.mark.parametrize(
        ("label", "by", "allowed"),
        [
            ("Production", Policy(), False),
            ("Staging", Policy(), False),
            ("@x", Policy(), False),
            ("Staging", policy(references={"Staging": {"mode": "warn"}}), True),
            ("Production", policy(mode="warn"), True),
            ("Production", policy(mode="warn-until-announced"), False),
        ],
    )
    def test_version_findings_refuse_an_announcement_but_where_the_mode_is_to_warn(
        self, label: str, by: Policy, allowed: bool
    ) -> None:
        """Announcing ends `warn-until-announced`: it would make what stands there forbidden."""
        ruling = announce(announcement("m", label), by=by, standing=3)
        assert ruling.allowed is allowed
        assert TOO_OLD in ruling.verdict.findings[0].message
        assert (TOO_OLD in ruling.fact) is not allowed

    def test_safety_findings_refuse_it_in_every_mode(self) -> None:
        assert not announce(announcement("m", version="2.6.0"), by=policy(mode="warn")).allowed

    def test_terms_of_promotion_do_not_hold_for_it(self) -> None:
        by = policy(approvals=3, metrics={"sharpe": ">1"}, required_tags=["x"], require_attestation=True)
        assert announce(announcement("m"), by=by).allowed

    def test_what_cannot_be_attested(self) -> None:
        unproven = Contract(True, KINDS[2].spec, "b" * 64, golden=False)
        for contract, code in ((unproven, "unproven"), (KINDS[4], "no_contract")):
            (finding,) = rule_attestation(KEY, attestation("b" * 64), contract).verdict.findings
            assert finding.code == code
