"""Modes, default traders and protected aliases of a policy, through the gate's ruling."""

import pytest

from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.evidence import Evidence
from mlflow_ppo_flavor.registry.fact import MOST_SHOWN
from mlflow_ppo_flavor.registry.gate import moved_references, rule_unknown
from mlflow_ppo_flavor.registry.policy import Policy
from mlflow_ppo_flavor.registry.resolution import (
    RegisteredModel,
    Rename,
    Rollback,
    SetAlias,
    VersionKey,
)
from tests.registry.asking import (
    PRODUCTION,
    TOO_OLD,
    ask,
    policy,
    promote,
    told,
)
from tests.registry.model_folders import announcement


class TestModes:
    @pytest.mark.parametrize(
        ("stage", "mode", "announced", "allowed"),
        [
            ("Production", None, False, False),
            ("Production", "block", True, False),
            ("Production", "warn", True, True),
            ("Production", "warn-until-announced", False, True),
            ("Production", "warn-until-announced", True, False),
            ("Staging", None, False, True),
            ("Staging", None, True, False),
            ("Staging", "block", False, False),
            ("Staging", "warn", True, True),
        ],
    )
    def test_version_findings_block_or_warn_as_the_mode_says(
        self, stage: str, mode: str | None, announced: bool, allowed: bool
    ) -> None:
        by = Policy() if mode is None else policy(references={stage: {"mode": mode}})
        ruling = ask(promote(3, stage), *([announcement("m", stage)] if announced else []), by=by)
        assert ruling.allowed is allowed
        assert told(ruling) == [("trader_version", "warning" if allowed else "version")]
        if not allowed:
            assert TOO_OLD in ruling.fact[:MOST_SHOWN]

    def test_a_trader_of_another_reference_does_not_end_the_warning(self) -> None:
        fleet = [announcement("m"), announcement("m", "@x"), announcement("n", "Staging")]
        assert ask(promote(3, "Staging"), *fleet).allowed

    @pytest.mark.parametrize("mode", ["warn", "warn-until-announced"])
    @pytest.mark.parametrize(("version", "trader"), [(2, "2.6.0"), (4, "2.7.0")])
    def test_safety_findings_always_block(self, mode: str, version: int, trader: str) -> None:
        by = policy(references={"Staging": {"mode": mode}, "Production": {"mode": mode}})
        for stage in ("Staging", "Production"):
            refused = ask(promote(version, stage), announcement("m", stage, version=trader), by=by)
            assert not refused.allowed
            assert {finding.kind for finding in refused.verdict.blocking} >= {"safety"}

    def test_the_mode_at_the_top_is_not_staging_s(self) -> None:
        by = policy(mode="warn")
        assert ask(promote(3), announcement("m"), by=by).allowed
        assert ask(SetAlias("m", "x", 3), announcement("m", "@x"), by=by).allowed
        assert not ask(promote(3, "Staging"), announcement("m", "Staging"), by=by).allowed

    def test_the_mode_holds_for_a_rollback_too(self) -> None:
        assert not ask(Rollback("m", "Production", 3), announcement("m")).allowed
        assert ask(Rollback("m", "Production", 3), announcement("m"), by=policy(mode="warn")).allowed


class TestDefaultTraders:
    def test_they_stand_for_a_reference_that_nobody_announced_for(self) -> None:
        by = policy(default_traders=["2.7.0", "2.6.0"])
        ruling = ask(promote(2), by=by)
        assert ruling.fact == (
            "Refused: m version 2 can't become Production: released trader 2.6.0 can't run it: "
            "model 2.7.0 requires trader >=2.7.0"
        )
        (nobody,) = [finding for finding in ruling.verdict.findings if finding.code == "nobody_announced"]
        assert nobody.message == (
            "Production: found no trader announced, so the released traders 2.6.0, 2.7.0 stand for it: "
            "let each trader announce itself before it loads"
        )
        assert ask(promote(1), by=by).fact == (
            "Allowed: Production loads version 1, judged for released traders 2.6.0, 2.7.0, as none announced"
        )

    def test_they_count_no_more_once_one_announced(self) -> None:
        assert ask(promote(2), announcement("m"), by=policy(default_traders=["2.6.0"])).allowed

    def test_a_reference_may_have_its_own(self) -> None:
        by = policy(default_traders=["2.6.0"], references={"m/Staging": {"default_traders": ["2.7.0"]}})
        assert not ask(promote(2), by=by).allowed
        assert ask(promote(2, "Staging"), by=by).allowed


class TestPolicyAliases:
    @pytest.mark.parametrize(
        "by",
        [
            policy(protected_aliases=["champion"]),
            policy(references={"@champion": {}}),
            policy(references={"m@champion": {}}),
        ],
    )
    def test_an_alias_that_the_policy_names_is_guarded_where_nobody_announced(self, by: Policy) -> None:
        assert not ask(SetAlias("m", "champion", 4), by=by).allowed
        assert not ask(SetAlias("m", "champion", 3), by=by).allowed
        assert ask(SetAlias("m", "champion", 2), by=by).allowed
        assert ask(SetAlias("m", "Champion", 4), by=by).moves == ()
        assert ask(SetAlias("m", "champion", 4)).allowed

    def test_the_names_of_both_models_of_a_rename(self) -> None:
        by = policy(references={"m@a": {}, "n@b": {}})
        models = {"m": RegisteredModel("m", {2: "None"}, {"a": 2, "b": 2})}
        found = moved_references(Rename("m", "n"), models, (), by)
        assert [str(move.reference) for move in found] == ["m@a", "n@b"]

    def test_a_renamed_model_is_judged_by_the_terms_of_its_new_name(self) -> None:
        by = policy(references={"m/Production": {"approvals": 5}, "n/Production": {"approvals": 1}})
        key, into = VersionKey("m", 2), Reference("n", "Production")
        stages = {2: "Production"}
        assert "0 of 1 approval" in ask(Rename("m", "n"), by=by, stages=stages).fact
        old = {(PRODUCTION, key): Evidence(approved_by=frozenset({"ann"}))}
        assert not ask(Rename("m", "n"), by=by, stages=stages, evidence=old).allowed
        new = {(into, key): Evidence(approved_by=frozenset({"ann"}))}
        assert ask(Rename("m", "n"), by=by, stages=stages, evidence=new).allowed

    def test_a_version_of_which_nobody_knows_anything_enters_no_alias_that_the_policy_names(self) -> None:
        models = {"m": RegisteredModel("m", {1: "None"}, {})}
        contracts = {VersionKey("m", 1): Contract.unknown("the disk is away")}
        operation = SetAlias("m", "champion", 1)
        assert rule_unknown(operation, models, contracts) is None
        ruling = rule_unknown(operation, models, contracts, policy(protected_aliases=["champion"]))
        assert ruling is not None
        assert ruling.fact == "Refused: m version 1 can't become @champion: the disk is away"
