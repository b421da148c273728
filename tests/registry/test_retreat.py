"""Rollback and withdrawal: which version is chosen, what is passed over, and when nothing can be done."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.trader import Announcement
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.fact import MOST_SHOWN
from mlflow_ppo_flavor.registry.gate import rule
from mlflow_ppo_flavor.registry.policy import Policy
from mlflow_ppo_flavor.registry.resolution import RegisteredModel, Rollback, VersionKey, Withdraw
from mlflow_ppo_flavor.registry.retreat import (
    MOST_TRIED,
    Choice,
    Ran,
    choose_rollback,
    choose_withdrawal,
    needed,
    rollbacks,
    withdrawal,
)
from tests.registry.asking import CONTRACTS, EVERYTHING, KINDS, PRODUCTION, TOO_OLD, policy
from tests.registry.model_folders import announcement

CHAMPION = Reference("m", "@champion")
LIVE_27, LIVE_26 = announcement("m"), announcement("m", version="2.6.0")


def ran(*versions: int | None) -> list[Ran]:
    """What a reference loaded, oldest first, each version with the digest that it has today."""
    return [Ran(version, "" if version is None else KINDS[version].digest) for version in versions]


def models(stages: dict[int, str] | None = None, aliases: dict[str, int] | None = None) -> dict[str, RegisteredModel]:
    return {"m": RegisteredModel("m", dict.fromkeys(KINDS, "None") | (stages or {}), aliases or {})}


def tried(present: int | None, *versions: int | None) -> list[int]:
    """The versions that a rollback tries where the reference loads `present` after having loaded these."""
    stands = models({} if present is None else {present: "Production"})
    return [each.version for each in rollbacks(PRODUCTION, ran(*versions), stands)]


@pytest.mark.parametrize(
    ("present", "versions", "expected"),
    [
        (3, (1, 2, 3), [2, 1]),
        (3, (2, 1, 3), [1, 2]),
        (2, (1, 2, 3, 2), [1]),
        (1, (1, 2, 3, 2, 1), []),
        (4, (1, 2, 3, 2, 4), [2, 3, 1]),
        (None, (1, 2, None), [2, 1]),
        (3, (1, None, 2, None, 3), [2, 1]),
        (3, (1, 2), [2, 1]),
        (1, (1,), []),
        (1, (), []),
        (None, (), []),
    ],
)
def test_what_is_tried_ran_before_the_present_version_first_ran_the_latest_first(
    present: int | None, versions: tuple[int | None, ...], expected: list[int]
) -> None:
    assert tried(present, *versions) == expected


@given(st.lists(st.integers(1, 4), max_size=8))
def test_rolling_back_again_and_again_never_comes_back(versions: list[int]) -> None:
    """Each rollback is one more thing that ran; a version that was left is never loaded again."""
    left: set[int] = set()
    while versions:
        found = tried(versions[-1], *versions)
        assert not left & set(found)
        left.add(versions[-1])
        if not found:
            break
        versions = [*versions, found[0]]
    assert len(left) <= 4


def test_only_the_latest_hundred_are_tried() -> None:
    everything = dict.fromkeys(range(1, 200), "None") | {200: "Production"}
    found = rollbacks(PRODUCTION, [Ran(v, "a" * 64) for v in everything], {"m": RegisteredModel("m", everything, {})})
    assert [each.version for each in found] == list(range(199, 199 - MOST_TRIED, -1))


def back(
    history: list[Ran],
    *fleet: Announcement,
    stages: dict[int, str] | None = None,
    reference: Reference = PRODUCTION,
    aliases: dict[str, int] | None = None,
    by: Policy | None = None,
) -> Choice:
    return choose_rollback(reference, history, models(stages, aliases), CONTRACTS, fleet, by or Policy())


class TestRollback:
    def test_it_goes_to_the_last_that_ran_and_asks_no_approval(self) -> None:
        choice = back(ran(1, 2, 3), LIVE_27, stages={2: "Archived", 3: "Production"}, by=EVERYTHING)
        assert choice.operation == Rollback("m", "Production", 2)
        assert choice.ruling.allowed
        assert choice.ruling.fact == "Allowed: Production loads version 2, judged for 1 announced trader(s)"
        assert choice.ruling.verdict.findings == ()

    def test_what_the_fleet_cannot_run_is_passed_over_and_told(self) -> None:
        choice = back(ran(1, 2, 3), LIVE_26, stages={3: "Production"})
        assert choice.operation == Rollback("m", "Production", 1)
        assert choice.ruling.allowed
        assert {finding.kind for finding in choice.ruling.verdict.findings} == {"warning"}
        assert choice.ruling.verdict.findings[0].place.startswith("version 2, Production, trader live-1 (2.6.0)")

    def test_an_alias_goes_back_too(self) -> None:
        told = announcement("m", "@champion")
        choice = back(ran(2, 1), told, reference=CHAMPION, aliases={"champion": 1})
        assert choice.operation == Rollback("m", "@champion", 2)
        assert choice.ruling.allowed

    def test_after_the_reference_was_emptied_it_loads_again_what_it_loaded(self) -> None:
        assert back(ran(1, 2, None), LIVE_27).operation == Rollback("m", "Production", 2)

    def test_a_later_version_of_the_same_number_is_not_what_ran(self) -> None:
        older = [Ran(2, KINDS[2].digest, gone=True), Ran(3, KINDS[3].digest, gone=True)]
        choice = back([*older, *ran(1, 3)], LIVE_27, stages={3: "Production"})
        assert choice.operation == Rollback("m", "Production", 1)
        choice = back([*older, *ran(1)], LIVE_27, stages={1: "Production"})
        assert choice.operation is None
        assert [(finding.code, finding.found) for finding in choice.ruling.verdict.findings] == [
            ("gone", "another version 3"),
            ("gone", "another version 2"),
        ]

    def test_a_version_that_was_deleted_is_passed_over(self) -> None:
        stands = {"m": RegisteredModel("m", {1: "None", 3: "Production"}, {})}
        choice = choose_rollback(PRODUCTION, ran(1, 2, 3), stands, CONTRACTS, [LIVE_27])
        assert choice.operation == Rollback("m", "Production", 1)
        assert [finding.message for finding in choice.ruling.verdict.findings] == [
            "version 2, Production: found no version 2, it ran there and was deleted since: "
            "promote a version that is there"
        ]

    def test_a_version_with_another_digest_is_passed_over(self) -> None:
        choice = back([*ran(1), Ran(2, "f" * 64), *ran(3)], LIVE_27, stages={3: "Production"})
        assert choice.operation == Rollback("m", "Production", 1)
        (finding,) = choice.ruling.verdict.findings
        assert (finding.code, finding.found) == ("digest", "digest bbbbbbbbbbbb…")
        assert finding.expected == "what ran there as version 2 had ffffffffffff…"

    def test_where_none_can_run_the_reason_of_the_latest_leads(self) -> None:
        choice = back([Ran(1, "f" * 64), *ran(2, 3)], LIVE_26, stages={3: "Production"})
        assert choice.operation is None
        assert not choice.ruling.allowed
        assert choice.ruling.fact == (
            "Refused: m/Production can't be rolled back: version 2: model 2.7.0 requires trader >=2.7.0"
        )
        assert {finding.place[:9] for finding in choice.ruling.verdict.blocking} == {"version 1", "version 2"}

    def test_where_nothing_ran_before(self) -> None:
        choice = back(ran(3), LIVE_27, stages={3: "Production"})
        assert choice.ruling.message.splitlines() == [
            "Refused: m/Production can't be rolled back: no other version is known to have run there before",
            "[safety] Production: found no other version that ran there before, a rollback goes to the last that did: "
            "promote a version, or withdraw what stands",
        ]

    def test_what_it_would_surface_in_the_other_stage_is_judged_too(self) -> None:
        """Version 2 stands in Staging above version 1: back in Production, it leaves Staging to version 1."""
        stages, fleet = {1: "Staging", 2: "Staging", 3: "Production"}, [LIVE_27, announcement("m", "Staging", "s")]
        assert back(ran(2, 3), *fleet, stages=stages).operation == Rollback("m", "Production", 2)
        contracts = {**CONTRACTS, VersionKey("m", 1): Contract.unreadable("gone bad")}
        choice = choose_rollback(PRODUCTION, ran(2, 3), models(stages), contracts, fleet)
        assert choice.operation is None
        assert "gone bad" in choice.ruling.fact

    def test_a_contract_that_was_not_read_is_passed_over(self) -> None:
        contracts = {key: contract for key, contract in CONTRACTS.items() if key.version != 2}
        choice = choose_rollback(PRODUCTION, ran(1, 2, 3), models({3: "Production"}), contracts, [LIVE_27])
        assert choice.operation == Rollback("m", "Production", 1)
        assert choice.ruling.verdict.findings[0].found == "its contract hasn't been read"

    def test_the_mode_holds(self) -> None:
        stages = {4: "Production"}
        assert back(ran(3, 4), LIVE_27, stages=stages).operation is None
        assert TOO_OLD in back(ran(3, 4), LIVE_27, stages=stages).ruling.fact[:MOST_SHOWN]
        assert back(ran(3, 4), LIVE_27, stages=stages, by=policy(mode="warn")).operation is not None

    def test_the_contracts_that_it_needs(self) -> None:
        stands = models({1: "Staging", 2: "Staging", 3: "Production"})
        operations = rollbacks(PRODUCTION, ran(2, 3), stands)
        assert needed(operations, stands, [LIVE_27]) == {VersionKey("m", 1), VersionKey("m", 2)}


def out(
    stages: dict[int, str], *fleet: Announcement, contracts: dict[VersionKey, Contract] | None = None
) -> tuple[int, ...]:
    """The versions that leave Production; the withdrawal is always allowed."""
    choice = choose_withdrawal(PRODUCTION, models(stages), CONTRACTS if contracts is None else contracts, fleet)
    assert choice.ruling.allowed
    assert isinstance(choice.operation, Withdraw)
    return choice.operation.versions


class TestWithdrawal:
    def test_the_top_leaves_and_what_surfaces_is_judged(self) -> None:
        assert out({2: "Production", 3: "Production"}, LIVE_27) == (3,)
        assert out({1: "Production", 2: "Production", 3: "Production"}, LIVE_26) == (3, 2)
        assert out({2: "Production", 3: "Production"}, LIVE_26) == (3, 2)
        assert out({3: "Production"}, LIVE_26) == (3,)
        assert out({}, LIVE_26) == ()

    def test_what_leaves_along_with_the_top_is_told(self) -> None:
        stands = models({1: "Production", 2: "Production", 3: "Production"})
        choice = choose_withdrawal(PRODUCTION, stands, CONTRACTS, [LIVE_26], EVERYTHING)
        assert choice.ruling.fact == "Allowed: Production loads version 1, judged for 1 announced trader(s)"
        assert choice.ruling.verdict.findings[0].place.startswith("version 2, Production, trader live-1")

    def test_a_contract_that_is_not_known_leaves_too(self) -> None:
        assert out({1: "Production", 2: "Production"}, LIVE_26, contracts={}) == (2, 1)

    def test_an_alias_is_deleted(self) -> None:
        choice = choose_withdrawal(CHAMPION, models({}, {"champion": 2}), CONTRACTS, [announcement("m", "@champion")])
        assert choice.operation == Withdraw("m", "@champion", (2,))
        assert choice.ruling.fact == "Allowed: @champion is empty"

    def test_nothing_to_withdraw_is_allowed(self) -> None:
        for reference in (PRODUCTION, CHAMPION, Reference("gone", "Production")):
            choice = choose_withdrawal(reference, models(), CONTRACTS, [])
            assert choice.operation == withdrawal(reference, models()) == Withdraw(*reference.to_dict().values(), ())
            assert choice.ruling.fact == "Allowed: no protected reference moves"

    @given(st.dictionaries(st.sampled_from(sorted(KINDS)), st.sampled_from(("Production", "Staging", "None"))))
    def test_it_is_allowed_and_the_least_that_is(self, stages: dict[int, str]) -> None:
        stands = models(stages)
        leaving = out(stages, LIVE_26)
        inside = sorted((v for v, stage in stages.items() if stage == "Production"), reverse=True)
        assert list(leaving) == inside[: len(leaving)]
        for count in range(1, len(leaving)):
            less = Withdraw("m", "Production", tuple(inside[:count]))
            assert not rule(less, stands, CONTRACTS, [LIVE_26]).allowed
