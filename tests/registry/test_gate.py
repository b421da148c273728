"""The gate's rulings: who is judged, what is refused, and the words of it."""

from dataclasses import replace

import pytest

from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.trader import Announcement
from mlflow_ppo_flavor.registry.claims import rule_announcement, rule_attestation
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.gate import Ruling, moved_references, rule
from mlflow_ppo_flavor.registry.judgement import judge_fleet
from mlflow_ppo_flavor.registry.resolution import (
    DeleteAlias,
    DeleteVersion,
    Operation,
    RegisteredModel,
    Rename,
    SetAlias,
    Transition,
    VersionKey,
)
from tests.registry.model_folders import VOUCH, announcement, attestation, trained

OLD, NEW = (
    Contract(True, trained("2.6.0"), "a" * 64, golden=True),
    Contract(True, trained("2.7.0"), "b" * 64, golden=True),
)
FOREIGN = Contract.unreadable("MLmodel has no ppo flavor, only sklearn")
UNPROVEN = Contract(True, trained("2.7.0"), "c" * 64, golden=False)
CONTRACTS = {
    VersionKey("ppo-aapl", version): contract for version, contract in {1: OLD, 2: NEW, 3: FOREIGN, 4: UNPROVEN}.items()
}
LIVE_26 = announcement("ppo-aapl", version="2.6.0")
LIVE_27 = announcement("ppo-aapl", trader_id="live-2")


def ask(
    operation: Operation,
    *fleet: Announcement,
    stages: dict[int, str] | None = None,
    aliases: dict[str, int] | None = None,
) -> Ruling:
    """The ruling on an operation on `ppo-aapl`, whose four versions are in no stage unless told."""
    everywhere = dict.fromkeys((1, 2, 3, 4), "None") | (stages or {})
    models = {"ppo-aapl": RegisteredModel("ppo-aapl", everywhere, aliases or {})}
    return rule(operation, models, CONTRACTS, fleet)


def to_production(version: int, *, archive: bool = False) -> Transition:
    return Transition("ppo-aapl", version, "Production", archive)


def test_the_refusal_tells_the_fact_first_and_then_every_finding() -> None:
    ruling = ask(to_production(2), LIVE_26)
    assert not ruling.allowed
    assert ruling.message.splitlines() == [
        "Refused: ppo-aapl version 2 can't become Production: trader live-1 (2.6.0) can't run it: "
        "model 2.7.0 requires trader >=2.7.0",
        "[version] Production, trader live-1 (2.6.0), requires_trader: found trader 2.6.0, "
        "model 2.7.0 requires trader >=2.7.0: upgrade the trader to >=2.7.0 or choose a model that 2.6.0 runs",
        *(
            f"[safety] Production, trader live-1 (2.6.0), features[{i}]: found {name}@1, "
            f"this trader doesn't compute {name}: upgrade the trader"
            for i, name in ((56, "position_size"), (57, "available_cash"), (58, "account_value"))
        ),
    ]
    assert len(ruling.fact) <= 150


@pytest.mark.parametrize(("version", "allowed"), [(1, True), (2, False)])
def test_a_mixed_fleet_is_judged_by_its_weakest_member(version: int, allowed: bool) -> None:
    ruling = ask(to_production(version), LIVE_27, LIVE_26)
    assert ruling.allowed is allowed
    if not allowed:
        assert "trader live-1 (2.6.0) can't run it" in ruling.fact
        assert not any("live-2" in finding.place for finding in ruling.verdict.blocking)


def test_the_lowest_trader_leads_and_every_refusing_one_is_told() -> None:
    lowest = announcement("ppo-aapl", trader_id="old", version="2.5.0")
    ruling = ask(to_production(2), LIVE_26, lowest)
    assert "trader old (2.5.0) can't run it" in ruling.fact
    assert {"old", "live-1"} == {finding.place.split()[2] for finding in ruling.verdict.blocking}


def test_where_nobody_announced_the_released_trader_stands_and_the_verdict_says_so() -> None:
    ruling = ask(to_production(2))
    assert ruling.allowed
    assert ruling.fact == "Allowed: Production loads version 2, judged for released trader 2.7.0, as none announced"
    assert [f.message for f in ruling.verdict.findings] == [
        "Production: found no trader announced, so the released trader 2.7.0 stands for it: "
        "let each trader announce itself before it loads"
    ]


def test_traders_of_one_reference_do_not_guard_another() -> None:
    assert ask(Transition("ppo-aapl", 2, "Staging"), LIVE_26).allowed
    assert ask(SetAlias("ppo-aapl", "champion", 2), LIVE_26).allowed


def test_an_announced_alias_is_protected_and_another_is_not() -> None:
    canary = announcement("ppo-aapl", "@champion", version="2.6.0")
    refused = ask(SetAlias("ppo-aapl", "champion", 2), canary)
    assert refused.fact.startswith("Refused: ppo-aapl version 2 can't become @champion: trader live-1 (2.6.0)")
    assert ask(SetAlias("ppo-aapl", "other", 3), canary) == Ruling(
        "Allowed: no protected reference moves", refused.verdict.__class__((), strict=True)
    )


@pytest.mark.parametrize(
    ("operation", "told"),
    [
        (
            Transition("ppo-aapl", 3, "None"),
            "moving version 3 to None would make ppo-aapl version 2 Production: "
            "trader live-1 (2.6.0) can't run it: model 2.7.0 requires trader >=2.7.0",
        ),
        (
            Transition("ppo-aapl", 3, "Archived"),
            "moving version 3 to Archived would make version 2 Production: "
            "model 2.7.0 requires trader >=2.7.0: trader live-1 (2.6.0) can't run it",
        ),
        (
            DeleteVersion("ppo-aapl", 3),
            "deleting version 3 would make ppo-aapl version 2 Production: "
            "trader live-1 (2.6.0) can't run it: model 2.7.0 requires trader >=2.7.0",
        ),
    ],
)
def test_what_surfaces_when_the_highest_leaves_is_judged(operation: Operation, told: str) -> None:
    ruling = ask(operation, LIVE_26, stages={2: "Production", 3: "Production"})
    assert not ruling.allowed
    assert ruling.fact == f"Refused: {told}"


def test_emptying_is_allowed_and_warns_who_finds_nothing() -> None:
    ruling = ask(Transition("ppo-aapl", 1, "None"), LIVE_26, stages={1: "Production"})
    assert ruling.allowed
    assert ruling.fact == "Allowed: Production is empty"
    assert [f.message for f in ruling.verdict.findings] == [
        "Production: found version 1 leaving, nothing takes its place: live-1 will find no model there"
    ]
    assert ask(DeleteAlias("ppo-aapl", "x"), announcement("ppo-aapl", "@x"), aliases={"x": 3}).allowed


def test_a_promotion_below_a_higher_version_is_refused_as_without_effect() -> None:
    ruling = ask(to_production(1), stages={2: "Production"})
    assert ruling.message == (
        "Refused: ppo-aapl version 1 can't become Production: version 2 stays there, and MLflow loads the highest\n"
        "[safety] Production: found version 1 below version 2, Production loads the highest version in it: "
        "archive the existing versions in the same call, or the higher one first"
    )
    assert ask(to_production(1, archive=True), stages={2: "Production"}).allowed
    assert ask(to_production(1), stages={1: "Production", 2: "Production"}).allowed


def test_repeating_the_present_state_is_allowed_even_where_it_is_forbidden_today() -> None:
    assert ask(to_production(2), LIVE_26, stages={2: "Production"}).allowed
    assert ask(SetAlias("ppo-aapl", "x", 3), announcement("ppo-aapl", "@x"), aliases={"x": 3}).allowed


def test_a_version_without_a_contract_enters_no_protected_reference() -> None:
    ruling = ask(to_production(3))
    assert ruling.fact == (
        "Refused: ppo-aapl version 3 can't become Production: MLmodel has no ppo flavor, only sklearn"
    )
    assert ruling.verdict.blocking[0].remedy == "log it with mlflow_ppo_flavor.log_model and register that"
    assert ask(Transition("ppo-aapl", 3, "Archived")).allowed


def test_unproven_models_run_on_paper_and_not_on_real_money() -> None:
    assert ask(to_production(4), LIVE_27).allowed
    real = announcement("ppo-aapl", trader_id="cash", paper=False)
    assert "trader cash (2.7.0) can't run it: no golden decisions" in ask(to_production(4), real).fact


def test_renaming_into_a_name_that_traders_use_is_judged_for_them() -> None:
    other = announcement("ppo-ibm", version="2.6.0")
    ruling = ask(Rename("ppo-aapl", "ppo-ibm"), other, stages={2: "Production"})
    assert ruling.fact.startswith("Refused: renaming ppo-aapl to ppo-ibm would make ppo-ibm version 2 Production:")


def test_long_names_leave_room_for_the_fact() -> None:
    name = "m" * 256
    models = {name: RegisteredModel(name, {2: "None"}, {})}
    told = announcement(name, version="2.6.0")
    ruling = rule(Transition(name, 2, "Production"), models, {VersionKey(name, 2): NEW}, [told])
    assert "trader live-1 (2.6.0) can't run it" in ruling.fact[:150]


def test_a_crowd_of_findings_is_cut_in_the_message_alone() -> None:
    crowd = [announcement("ppo-aapl", trader_id=f"live-{i}", version="2.6.0") for i in range(10)]
    ruling = ask(to_production(2), *crowd)
    assert len(ruling.verdict.blocking) == 40
    assert len(ruling.message.splitlines()) == 22
    assert ruling.message.endswith("and 20 more findings, all of them in the answer's JSON")


@pytest.mark.parametrize(
    ("standing", "told", "fact"),
    [
        (None, LIVE_26, "trader live-1 (2.6.0) announced for ppo-aapl/Production, which loads nothing yet"),
        (1, LIVE_26, "trader live-1 (2.6.0) announced for ppo-aapl/Production: it runs version 1"),
        (
            2,
            LIVE_26,
            "Refused: trader live-1 (2.6.0) can't serve ppo-aapl/Production: version 2 stands there: "
            "model 2.7.0 requires trader >=2.7.0",
        ),
        (
            3,
            LIVE_27,
            "Refused: ppo-aapl/Production holds version 3: MLmodel has no ppo flavor, only sklearn: "
            "a trader needs a contract that can be read: trader live-2 (2.7.0) can't serve it",
        ),
    ],
)
def test_an_announcement_is_refused_while_its_reference_loads_what_it_cannot_run(
    standing: int | None, told: Announcement, fact: str
) -> None:
    stages = {} if standing is None else {standing: "Production"}
    ruling = rule_announcement(told, {"ppo-aapl": RegisteredModel("ppo-aapl", stages, {})}, CONTRACTS)
    assert ruling.fact == fact
    assert ruling.allowed is not fact.startswith("Refused")


def test_both_stages_and_announced_aliases_are_protected() -> None:
    models = {"m": RegisteredModel("m", {1: "None"}, {"x": 2, "y": 2})}
    fleet = [announcement("m", "@x"), announcement("other", "@y")]
    for operation, expected in (
        (SetAlias("m", "x", 1), ["m@x"]),
        (SetAlias("m", "y", 1), []),
        (Transition("m", 1, "Staging"), ["m/Staging"]),
        (Transition("m", 1, "Archived"), []),
    ):
        assert [str(move.reference) for move in moved_references(operation, models, fleet)] == expected


def test_judging_a_fleet_gives_each_trader_its_verdict() -> None:
    judged = judge_fleet(Reference("ppo-aapl", "Production"), NEW, [LIVE_27, LIVE_26])
    assert [(trader.trader_id, verdict.allowed) for trader, verdict in judged] == [("live-1", False), ("live-2", True)]


def test_an_unproven_version_is_refused_where_a_real_money_trader_announced() -> None:
    cash = announcement("ppo-aapl", trader_id="cash-1", paper=False)
    ruling = ask(to_production(4), cash, LIVE_27)
    assert ruling.fact == (
        "Refused: ppo-aapl version 4 can't become Production: trader cash-1 (2.7.0) can't run it: "
        "no golden decisions: real money needs proof"
    )
    assert [(finding.code, finding.kind) for finding in ruling.verdict.findings] == [
        ("unproven", "safety"),
        ("unproven", "warning"),
    ]
    assert ask(to_production(4), LIVE_27).allowed


def test_a_vouched_version_passes_there_with_a_warning() -> None:
    vouched = replace(UNPROVEN, vouched=VOUCH.text)
    models = {"ppo-aapl": RegisteredModel("ppo-aapl", {4: "None"}, {})}
    cash = announcement("ppo-aapl", trader_id="cash-1", paper=False)
    ruling = rule(to_production(4), models, {VersionKey("ppo-aapl", 4): vouched}, [cash])
    assert ruling.allowed
    (finding,) = ruling.verdict.findings
    assert (finding.code, finding.kind) == ("vouched", "warning")
    assert finding.message == (
        "Production, trader cash-1 (2.7.0), golden: found no golden decisions, vouched by Ann: trained by the old "
        "trainer: record golden decisions with the code that trained it"
    )


def test_the_fact_of_a_refused_attestation_is_short_whatever_the_names_are() -> None:
    ruling = rule_attestation(VersionKey("m" * 200, 123), attestation("0" * 64, trader_id="t" * 64), NEW)
    assert len(ruling.fact) < 150
    assert ruling.fact.endswith("… version 123: digest 000000000000…, the version has bbbbbbbbbbbb…")
