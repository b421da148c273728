"""What the policy asks of a version that is to enter a reference, through the gate's ruling."""

import math
from dataclasses import replace
from typing import Any

import pytest

from mlflow_ppo_flavor.registry.evidence import Evidence, Override
from mlflow_ppo_flavor.registry.fact import MOST_SHOWN
from mlflow_ppo_flavor.registry.gate import rule
from mlflow_ppo_flavor.registry.policy import Policy
from mlflow_ppo_flavor.registry.resolution import (
    CreateVersion,
    DeleteAlias,
    DeleteModel,
    DeleteVersion,
    Operation,
    RegisteredModel,
    Rename,
    Rollback,
    SetAlias,
    Transition,
    VersionKey,
    Withdraw,
)
from tests.registry.asking import (
    ASKING,
    EVERYTHING,
    KINDS,
    PRODUCTION,
    STAGING,
    ask,
    policy,
    promote,
    told,
)
from tests.registry.model_folders import announcement


class TestMetrics:
    @pytest.mark.parametrize(
        ("metrics", "found"),
        [
            ({"sharpe": 0.5}, None),
            ({"sharpe": 7, "loss": math.nan}, None),
            ({}, "no metric sharpe"),
            ({"Sharpe": 1.0}, "no metric sharpe"),
            ({"sharpe": 0.49}, "sharpe 0.49"),
            ({"sharpe": math.nan}, "sharpe nan"),
            ({"sharpe": math.inf}, "sharpe inf"),
            ({"sharpe": True}, "sharpe True"),
            ({"sharpe": "0.9"}, "sharpe '0.9'"),
        ],
    )
    def test_a_threshold_is_met_by_a_finite_number_alone(self, metrics: dict[str, Any], found: str | None) -> None:
        ruling = ask(promote(2), by=policy(metrics={"sharpe": ">=0.5"}), evidence=Evidence(metrics=metrics))
        assert ruling.allowed is (found is None)
        if found is not None:
            assert ruling.message.splitlines() == [
                f"Refused: m version 2 can't become Production: {found}: the policy asks for >=0.5",
                f"[policy] Production, metrics.sharpe: found {found}, the policy asks for >=0.5: "
                "promote a version whose run logged such a value",
            ]

    def test_every_threshold_counts(self) -> None:
        by = policy(metrics={"sharpe": ">=0.5", "drawdown": "<0.2"})
        ruling = ask(promote(2), by=by, evidence=Evidence(metrics={"sharpe": 0.1, "drawdown": 0.3}))
        assert told(ruling) == [("metric", "policy"), ("metric", "policy")]


class TestTags:
    @pytest.mark.parametrize(
        ("wanted", "tags", "why"),
        [
            (["reviewed"], {"reviewed": ""}, None),
            (["reviewed"], {"reviewed": "no"}, None),
            (["reviewed"], {}, "no tag reviewed: the policy asks for it"),
            (["reviewed"], {"Reviewed": "yes"}, "no tag reviewed: the policy asks for it"),
            ({"reviewed": "yes"}, {"reviewed": "yes"}, None),
            ({"reviewed": "yes"}, {"reviewed": "Yes"}, "tag reviewed 'Yes': the policy asks for 'yes'"),
            ({"reviewed": "yes"}, {}, "no tag reviewed: the policy asks for 'yes'"),
            ({"reviewed": ""}, {"reviewed": "x"}, "tag reviewed 'x': the policy asks for ''"),
        ],
    )
    def test_required_tags(self, wanted: Any, tags: dict[str, str], why: str | None) -> None:
        ruling = ask(promote(2), by=policy(required_tags=wanted), evidence=Evidence(tags=tags))
        assert ruling.allowed is (why is None)
        if why is not None:
            assert ruling.fact == f"Refused: m version 2 can't become Production: {why}"
            found, _, expected = why.partition(": ")
            assert ruling.verdict.blocking[0].message == (
                f"Production, required_tags.reviewed: found {found}, {expected}: set it on the version"
            )


class TestAttestations:
    FLEET = (announcement("m"), announcement("m", trader_id="b", version="2.7.1"), announcement("m", "Staging", "c"))

    @pytest.mark.parametrize(
        ("attested", "missing"),
        [
            ((), ["2.7.0", "2.7.1"]),
            (("2.7.0",), ["2.7.1"]),
            (("2.7", "2.7.1"), []),
            (("2.6.0", "2.7.0"), ["2.7.1"]),
            (("2.7.1", "2.7.0", "2.5.0"), []),
        ],
    )
    def test_one_of_each_announced_trader_version(self, attested: tuple[str, ...], missing: list[str]) -> None:
        by, evidence = policy(require_attestation=True), Evidence(attested=frozenset(attested))
        ruling = ask(promote(2), *self.FLEET, by=by, evidence=evidence)
        assert [finding.message for finding in ruling.verdict.findings] == [
            f"Production, require_attestation: found no attestation by a trader {version}, the policy asks for one of "
            "each trader version: run mlflow-ppo verify --attest where that trader is installed"
            for version in missing
        ]
        if missing:
            assert ruling.fact == (
                f"Refused: m version 2 can't become Production: no attestation by a trader {missing[0]}: "
                "the policy asks for one of each trader version"
            )

    def test_where_nobody_announced_one_of_each_default_trader_version(self) -> None:
        by = policy(require_attestation=True, default_traders=["2.6.0", "2.7.0"])
        ruling = ask(promote(1), by=by, evidence=Evidence(attested=frozenset({"2.7.0"})))
        assert "no attestation by a trader 2.6.0" in ruling.fact
        assert told(ruling) == [("attestation", "policy")]

    def test_traders_of_one_version_need_one(self) -> None:
        fleet = [announcement("m", trader_id=f"live-{i}") for i in range(3)]
        by = policy(require_attestation=True)
        assert told(ask(promote(2), *fleet, by=by)) == [("attestation", "policy")]
        assert ask(promote(2), *fleet, by=by, evidence=Evidence(attested=frozenset({"2.7.0"}))).allowed


class TestApprovals:
    @pytest.mark.parametrize(
        ("wanted", "approved", "requester", "count"),
        [
            (1, {"ann"}, "bob", 1),
            (1, {"ann"}, "unauthenticated", 1),
            (1, {"ann"}, "ann", 0),
            (1, {"unauthenticated"}, "bob", 0),
            (1, {""}, "bob", 0),
            (1, set(), "bob", 0),
            (2, {"ann", "bob"}, "bob", 1),
            (2, {"ann", "bob", "eve"}, "bob", 2),
            (2, {"ann", "unauthenticated"}, "bob", 1),
        ],
    )
    def test_those_of_other_authenticated_users_count(
        self, wanted: int, approved: set[str], requester: str, count: int
    ) -> None:
        evidence = Evidence(approved_by=frozenset(approved))
        ruling = ask(promote(2), by=policy(approvals=wanted), evidence=evidence, requester=requester)
        assert ruling.allowed is (count >= wanted)
        if count < wanted:
            plural = "" if wanted == 1 else "s"
            others = "authenticated users" if requester == "unauthenticated" else f"users other than {requester}"
            assert ruling.message.splitlines() == [
                f"Refused: m version 2 can't become Production: {count} of {wanted} approval{plural}: by {others}",
                f"[policy] Production, approvals: found {count} of {wanted} approval{plural}, "
                f"by {others}: let one of them approve it (mlflow-ppo approve)",
            ]

    def test_an_unauthenticated_requester_is_told_so_too(self) -> None:
        ruling = ask(promote(2), by=policy(approvals=1), requester="unauthenticated")
        assert ruling.fact == "Refused: m version 2 can't become Production: 0 of 1 approval: by authenticated users"

    def test_approvals_for_another_reference_or_version_do_not_count(self) -> None:
        yes = Evidence(approved_by=frozenset({"ann"}))
        for evidence in ({(STAGING, VersionKey("m", 2)): yes}, {(PRODUCTION, VersionKey("m", 1)): yes}):
            assert not ask(promote(2), by=policy(approvals=1), evidence=evidence).allowed
        assert ask(promote(2), by=policy(approvals=1), evidence={(PRODUCTION, VersionKey("m", 2)): yes}).allowed


class TestWhatIsAsked:
    @pytest.mark.parametrize(
        "operation",
        [promote(2), Transition("m", 2, "Production", True), DeleteVersion("m", 3), Transition("m", 3, "None")],
    )
    def test_of_every_way_into_a_reference(self, operation: Operation) -> None:
        """Also of what surfaces: archiving or deleting the top version moves the reference to the one below."""
        stages = {} if 2 in operation.versions else {2: "Production", 3: "Production"}
        ruling = ask(operation, announcement("m"), by=EVERYTHING, stages=stages)
        assert told(ruling) == [(code, "policy") for code in ("approvals", "metric", "tag", "attestation")]
        assert "0 of 1 approval: by users other than bob" in ruling.fact[:MOST_SHOWN]

    @pytest.mark.parametrize(
        "operation",
        [
            Transition("m", 2, "Archived"),
            DeleteVersion("m", 2),
            DeleteModel("m"),
            DeleteAlias("m", "champion"),
            Withdraw("m", "Production", (2,)),
            Withdraw("m", "@champion", (2,)),
        ],
    )
    def test_emptying_is_never_blocked(self, operation: Operation) -> None:
        by = policy(protected_aliases=["champion"], **ASKING, require_attestation=True)
        stages, aliases = {2: "Production"}, {"champion": 2}
        ruling = ask(operation, announcement("m"), by=by, stages=stages, aliases=aliases)
        assert ruling.moves
        assert ruling.allowed
        assert {kind for _, kind in told(ruling)} == {"warning"}

    @pytest.mark.parametrize("operation", [promote(4), SetAlias("m", "champion", 4), CreateVersion("m", 9)])
    def test_repeating_the_present_state_is_always_allowed(self, operation: Operation) -> None:
        by = policy(protected_aliases=["champion"], **ASKING)
        ruling = ask(operation, by=by, stages={4: "Production"}, aliases={"champion": 4})
        assert ruling.fact == "Allowed: no protected reference moves"

    def test_a_move_without_effect_stays_refused_whatever_is_known(self) -> None:
        evidence = Evidence(override=Override(1, "ann", "now", 0))
        ruling = ask(promote(1), by=policy(mode="warn"), stages={2: "Production"}, evidence=evidence)
        assert told(ruling) == [("without_effect", "safety")]
        assert ruling.overrides == ()

    def test_going_back_needs_the_fleet_alone(self) -> None:
        stages = {1: "None", 2: "Production", 3: "Production"}
        for operation in (Rollback("m", "Production", 1), Withdraw("m", "Production", (3,))):
            assert told(ask(operation, announcement("m"), by=EVERYTHING, stages=stages)) == []
        for operation in (Rollback("m", "Production", 2), Withdraw("m", "Production", (3,))):
            refused = ask(operation, announcement("m", version="2.6.0"), by=EVERYTHING, stages=stages)
            assert "model 2.7.0 requires trader >=2.7.0" in refused.fact[:MOST_SHOWN]


LONG = "m" * 200


@pytest.mark.parametrize(
    ("by", "seen"),
    [
        (policy(approvals=2), "0 of 2 approvals"),
        (policy(metrics={"s" * 250: ">=0.5"}), "no metric sss"),
        (policy(required_tags={"t" * 250: "v" * 8000}), "no tag ttt"),
        (policy(require_attestation=True), "no attestation by a trader 2.7.0"),
        (policy(default_traders=["2.6.0"]), "model 2.7.0 requires trader >=2.7.0"),
    ],
)
@pytest.mark.parametrize(
    "operation",
    [
        Transition(LONG, 1234, "Production"),
        SetAlias(LONG, "a" * 255, 1234),
        Rename(LONG, "n" * 200),
        DeleteVersion(LONG, 1235),
    ],
)
def test_what_is_missing_is_seen_in_the_first_150_characters(by: Policy, seen: str, operation: Operation) -> None:
    stages = {1234: "None"} if isinstance(operation, Transition | SetAlias) else {1234: "Production"}
    stages |= {1235: "Production"} if isinstance(operation, DeleteVersion) else {}
    by = replace(by, protected_aliases=("a" * 255,))
    models = {LONG: RegisteredModel(LONG, stages, {})}
    ruling = rule(operation, models, {VersionKey(LONG, 1234): KINDS[2]}, (), policy=by, requester="u" * 250)
    assert not ruling.allowed
    assert seen in ruling.fact[:MOST_SHOWN]
