"""The fact of a refusal stands in the first 150 characters, whatever the names are; whole names where there is room."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.registry.claims import rule_announcement
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.fact import MOST_SHOWN
from mlflow_ppo_flavor.registry.gate import Ruling, rule
from mlflow_ppo_flavor.registry.resolution import (
    DeleteVersion,
    Operation,
    RegisteredModel,
    Rename,
    SetAlias,
    Transition,
    VersionKey,
)
from tests.registry.model_folders import announcement, trained

NEW = Contract(True, trained("2.7.0"), "b" * 64, golden=True)
MODEL = "ppo-momentum-us-large-caps-1day-v2"
TRADER = "trader-ip-10-20-30-40.us-east-1.compute.internal"
REQUIRED = "requires trader >=2.7.0"


def refusal(operation: Operation, model: str, label: str, trader: str, stages: dict[int, str]) -> Ruling:
    """The ruling on what would give a 2.6.0 trader a 2.7.0 model."""
    models = {operation.model: RegisteredModel(operation.model, stages, {})}
    contracts = {VersionKey(operation.model, version): NEW for version in stages}
    ruling = rule(operation, models, contracts, [announcement(model, label, trader, "2.6.0")])
    assert not ruling.allowed
    assert any(trader in finding.place for finding in ruling.verdict.blocking)
    return ruling


def test_long_names_as_people_have_them() -> None:
    ruling = refusal(Transition(MODEL, 12, "Production"), MODEL, "Production", TRADER, {12: "None"})
    assert ruling.fact == (
        "Refused: ppo-momentum-us-large-caps-1d… version 12 can't become Production: "
        "model 2.7.0 requires trader >=2.7.0: trader trader-ip-10-20-30-… (2.6.0) can't run it"
    )


@pytest.mark.parametrize(
    "ruling",
    [
        refusal(Transition(MODEL, 12, "Production"), MODEL, "Production", TRADER, {12: "None"}),
        refusal(SetAlias("m" * 60, "a" * 60, 2), "m" * 60, "@" + "a" * 60, "t" * 64, {2: "None"}),
        refusal(Rename("a" * 70, "b" * 70), "b" * 70, "Production", "t" * 64, {2: "Production"}),
        refusal(DeleteVersion(MODEL, 13), MODEL, "Staging", TRADER, {12: "Staging", 13: "Staging"}),
        refusal(Transition(MODEL, 13, "Archived"), MODEL, "Production", TRADER, {12: "Production", 13: "Production"}),
    ],
)
def test_what_is_required_is_seen_at_once(ruling: Ruling) -> None:
    assert ruling.fact.index(REQUIRED) < 110
    assert ruling.fact.index("trader t") < MOST_SHOWN - 10


@pytest.mark.parametrize("label", ["Production", "@" + "a" * 60])
def test_an_announcement_says_it_at_once_too(label: str) -> None:
    told = announcement(MODEL, label, TRADER, "2.6.0")
    stages, aliases = ({12: "Production"}, {}) if told.reference.stage else ({12: "None"}, {"a" * 60: 12})
    models = {MODEL: RegisteredModel(MODEL, stages, aliases)}
    fact = rule_announcement(told, models, {VersionKey(MODEL, 12): NEW}).fact
    assert fact.index(REQUIRED) < 110
    assert "trader trader-ip-10-20-30-… (2.6.0)" in fact[:MOST_SHOWN]
    if told.reference.stage:
        assert fact.startswith("Refused: ppo-momentum-us-large-caps-1d…/Production holds version 12: model 2.7.0")


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_names_are_whole_wherever_all_of_it_fits(model: int, alias: int, trader: int) -> None:
    name, label, who = "m" * model, "@" + "a" * alias, "t" * trader
    fact = refusal(SetAlias(name, label[1:], 2), name, label, who, {2: "None"}).fact
    whole = f"Refused: {name} version 2 can't become {label}: trader {who} (2.6.0) can't run it: model 2.7.0 {REQUIRED}"
    assert (fact == whole) == (len(whole) <= MOST_SHOWN)
    assert REQUIRED in fact[:MOST_SHOWN]


def test_a_long_trader_version_is_cut_in_the_fact_alone() -> None:
    told = announcement("m", version="2.6.0")
    told = replace(told, trader=replace(told.trader, version="2.6.0+" + "x" * 90))
    models = {"m": RegisteredModel("m", {2: "None"}, {})}
    ruling = rule(Transition("m", 2, "Production"), models, {VersionKey("m", 2): NEW}, [told])
    assert "(2.6.0+xxxxxxxxxxxxx…) can't run it" in ruling.fact[:MOST_SHOWN]
    assert "2.6.0+" + "x" * 90 in ruling.message


def test_a_version_without_a_contract_is_told_as_such() -> None:
    models = {MODEL: RegisteredModel(MODEL, {3: "None"}, {})}
    foreign = Contract.unreadable("MLmodel has no ppo flavor, only " + "sklearn, " * 20)
    ruling = rule(Transition(MODEL, 3, "Production"), models, {VersionKey(MODEL, 3): foreign}, [])
    assert "can't become Production: MLmodel has no ppo flavor" in ruling.fact[:MOST_SHOWN]
    assert Reference(MODEL, "Production") == ruling.moves[0].reference
