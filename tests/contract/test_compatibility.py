"""spec × trader and spec × spec: every finding with its text, soft and hard kinds, and one outcome."""

from dataclasses import replace

import pytest
from hypothesis import given

import mlflow_ppo_flavor as ppo
from mlflow_ppo_flavor.contract.compatibility import Finding, Verdict, judge
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.contract.trader import Trader
from mlflow_ppo_flavor.errors import IncompatibleModel, SpecError
from tests.contract import contracts

SPEC = ppo.MODEL_SPECS["2.7.0"].for_bars(timeframe="1Day", adjustment="all", symbols=["AAPL"])
PAPER = Trader.released("2.7.0", trader_id="live-1", paper=True)
REAL = replace(PAPER, paper=False)


def messages(verdict: Verdict) -> list[str]:
    """Kind and text of each finding."""
    return [f"{finding.kind} {finding.message}" for finding in verdict.findings]


@pytest.mark.parametrize("trader", ["2.3.0", "2.4.0", "2.5.1", "2.6.0", "2.7.0rc1", "2.7.0", "2.7.1", "3.0"])
@pytest.mark.parametrize("model", ["2.3.0", "2.4.0", "2.5.0", "2.6.0", "2.7.0"])
def test_the_released_matrix(model: str, trader: str) -> None:
    lowest = ppo.MODEL_TRADER_COMPATIBILITY[model]
    runs = tuple(map(int, trader.split("rc")[0].split("."))) >= tuple(map(int, lowest.split(".")))
    expected = runs and not (trader == "2.7.0rc1" and model == "2.7.0")
    assert ppo.check_compatibility(ppo.MODEL_SPECS[model], trader, strict=True).allowed is expected


def test_a_2_6_0_trader_is_told_everything_that_it_lacks() -> None:
    verdict = ppo.check_compatibility(SPEC, trader_version="2.6.0", strict=False)
    assert not verdict.allowed
    assert messages(verdict) == [
        "version requires_trader: found trader 2.6.0, model 2.7.0 requires trader >=2.7.0: "
        "upgrade the trader to >=2.7.0 or choose a model that 2.6.0 runs",
        "safety features[56]: found position_size@1, this trader doesn't compute position_size: upgrade the trader",
        "safety features[57]: found available_cash@1, this trader doesn't compute available_cash: upgrade the trader",
        "safety features[58]: found account_value@1, this trader doesn't compute account_value: upgrade the trader",
    ]
    assert verdict.text.splitlines()[0] == "refused, 3 finding(s)"


def test_another_revision_is_a_safety_finding() -> None:
    place = SPEC.features.index("rsi_14@1")
    spec = replace(SPEC, features=tuple(f.replace("rsi_14@1", "rsi_14@2") for f in SPEC.features))
    assert messages(judge(spec, PAPER, proven=True, strict=False)) == [
        f"safety features[{place}]: found rsi_14@2, this trader computes rsi_14@1: upgrade the trader"
    ]


@pytest.mark.parametrize("strict", [False, True])
def test_a_policy_finding_always_blocks_and_safety_ones_are_told_before_it(strict: bool) -> None:
    told = [Finding(kind, kind, "x", "f", "e", "r") for kind in ("warning", "version", "policy", "safety")]
    kinds = ["safety", "policy", "version"] if strict else ["safety", "policy"]
    assert [finding.kind for finding in Verdict(tuple(told), strict).blocking] == kinds
    assert not Verdict((told[2],), strict).allowed
    assert Verdict((told[0],), strict).allowed


def test_a_version_finding_is_soft_unless_strict() -> None:
    spec = replace(SPEC, requires_trader=">=2.8")
    soft, hard = (judge(spec, PAPER, proven=True, strict=strict) for strict in (False, True))
    assert [f.code for f in soft.findings] == [f.code for f in hard.findings] == ["trader_version"]
    assert soft.allowed
    assert not hard.allowed


def test_another_spec_format_is_a_safety_finding() -> None:
    old = replace(PAPER, spec_formats=(7, 8))
    assert messages(judge(SPEC, old, proven=True, strict=False)) == [
        "safety format: found 1, this trader reads 7, 8: upgrade the trader"
    ]


def test_differing_timeframe_and_adjustment_are_safety_findings() -> None:
    verdict = judge(SPEC, PAPER, proven=True, strict=False, timeframe="1Hour", adjustment="raw")
    assert messages(verdict) == [
        "safety bars.timeframe: found 1Hour, the model was trained on 1Day: leave the flag out or give 1Day",
        "safety bars.adjustment: found raw, the model was trained on all: leave the flag out or give all",
    ]
    assert judge(SPEC, PAPER, proven=True, strict=True, timeframe="1Day", adjustment="all").findings == ()


@pytest.mark.parametrize(("trader", "kind", "allowed"), [(PAPER, "warning", True), (REAL, "safety", False)])
def test_unproven_is_a_warning_on_paper_and_unsafe_with_real_money(trader: Trader, kind: str, allowed: bool) -> None:
    template = ppo.MODEL_SPECS["2.7.0"]
    verdict = judge(template, trader, proven=False, strict=True)
    assert [(f.kind, f.place) for f in verdict.findings] == [(kind, "golden"), (kind, "bars")]
    assert verdict.allowed is allowed


def test_another_symbol_is_a_warning() -> None:
    verdict = judge(SPEC, REAL, proven=True, strict=True, symbols=["AAPL", "IBM"])
    assert messages(verdict) == ["warning symbols: found IBM, the model was trained on AAPL: check that this is wanted"]
    assert verdict.allowed


def test_no_version_is_refused() -> None:
    with pytest.raises(SpecError, match=r"^trader_version: found 'new', expected a version such as"):
        ppo.check_compatibility(SPEC, "new")


@given(contracts.verdicts)
def test_a_verdict_allows_what_nothing_blocks(verdict: Verdict) -> None:
    kinds = [finding.kind for finding in verdict.findings]
    blocked = {"safety", "policy"} & set(kinds) or (verdict.strict and "version" in kinds)
    assert verdict.allowed is not bool(blocked)
    assert str(IncompatibleModel(verdict)) == verdict.text


@given(contracts.verdicts)
def test_what_a_verdict_says_of_itself_is_not_believed(verdict: Verdict) -> None:
    lying = verdict.to_dict() | {"allowed": not verdict.allowed}
    assert Verdict.from_dict(lying).allowed is verdict.allowed


@given(contracts.specs, contracts.traders)
def test_judging_is_complete_and_a_trader_of_the_same_features_misses_none(spec: ModelSpec, trader: Trader) -> None:
    missing = {f.found for f in judge(spec, trader, proven=True, strict=True).findings if f.code == "feature"}
    assert missing == set(spec.features) - set(trader.features)
    able = replace(trader, features=spec.features)
    assert not [f for f in judge(spec, able, proven=True, strict=True).findings if f.code == "feature"]
