"""spec × spec: each kind of breakage with its text and who moves first, and the laws that movers and detection obey."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import mlflow_ppo_flavor as ppo
from mlflow_ppo_flavor.contract.breakage import (
    KINDS,
    Breakage,
    breakages,
    changes,
    requirement_breakages,
)
from mlflow_ppo_flavor.contract.compatibility import judge
from mlflow_ppo_flavor.contract.spec import Action, ModelSpec, Sizing, feature_name
from mlflow_ppo_flavor.contract.trader import Trader
from tests.contract import contracts
from tests.tiers import SLOW_EXAMPLES

SPEC = ppo.MODEL_SPECS["2.7.0"].for_bars(timeframe="1Day", adjustment="all", symbols=["AAPL"])
HOLD, BUY, *_, SELL = SPEC.actions


def with_features(*edits: tuple[str, str]) -> ModelSpec:
    """SPEC with some references replaced; by nothing where the new one is empty."""
    found = dict(edits)
    return replace(SPEC, features=tuple(found.get(f, f) for f in SPEC.features if found.get(f, f)))


def later_format() -> ModelSpec:
    """SPEC as a later version of this code would read it, which knows another format beside today's."""
    spec = replace(SPEC)
    object.__setattr__(spec, "format", 2)
    return spec


def with_actions(*actions: Action) -> ModelSpec:
    return replace(SPEC, actions=actions)


EACH: list[tuple[str, ModelSpec, ModelSpec, str]] = [
    ("format", SPEC, later_format(), "format: 1 becomes 2: traders move first"),
    (
        "feature_revised",
        SPEC,
        with_features(("rsi_14@1", "rsi_14@2")),
        "features[26]: rsi_14@1 becomes rsi_14@2: traders move first",
    ),
    (
        "feature_added",
        with_features(("rsi_14@1", "")),
        SPEC,
        "features[26]: nothing becomes rsi_14@1: traders move first",
    ),
    (
        "feature_removed",
        SPEC,
        with_features(("rsi_14@1", "")),
        "features[26]: rsi_14@1 becomes nothing: models move first",
    ),
    (
        "features_reordered",
        SPEC,
        with_features(("rsi_7@1", "rsi_14@1"), ("rsi_14@1", "rsi_7@1")),
        "features: rsi_7, rsi_14 becomes rsi_14, rsi_7: either moves first",
    ),
    (
        "actions_permuted",
        with_actions(HOLD, BUY, SELL),
        with_actions(HOLD, SELL, BUY),
        "actions: HOLD, BUY_25%, SELL_75% becomes HOLD, SELL_75%, BUY_25%: either moves first",
    ),
    (
        "action_changed",
        with_actions(HOLD, BUY),
        with_actions(HOLD, replace(BUY, size=0.2500001)),
        "actions[1]: BUY_25% (+1, 0.25) becomes BUY_25% (+1, 0.2500001): either moves first",
    ),
    (
        "action_renamed",
        with_actions(HOLD, BUY),
        with_actions(HOLD, replace(BUY, name="LONG")),
        "actions[1]: BUY_25% (+1, 0.25) becomes LONG (+1, 0.25): either moves first",
    ),
    (
        "action_added",
        with_actions(HOLD, BUY),
        with_actions(HOLD, BUY, SELL),
        "actions[2]: nothing becomes SELL_75% (-1, 0.75): either moves first",
    ),
    (
        "action_removed",
        with_actions(HOLD, BUY, SELL),
        with_actions(HOLD, BUY),
        "actions[2]: SELL_75% (-1, 0.75) becomes nothing: either moves first",
    ),
    ("window", SPEC, replace(SPEC, window=120), "window: 100 becomes 120: either moves first"),
    (
        "bars",
        SPEC,
        SPEC.for_bars(timeframe="1Hour", adjustment="all"),
        "bars.timeframe: 1Day becomes 1Hour: either moves first",
    ),
    (
        "sizing",
        SPEC,
        replace(SPEC, sizing=Sizing(max_position=0.3)),
        "sizing.max_position: 0.2 becomes 0.3: either moves first",
    ),
    (
        "requires_trader",
        SPEC,
        replace(SPEC, requires_trader=">=2.8.0"),
        "requires_trader: >=2.7.0 becomes >=2.8.0: traders move first",
    ),
]


def all_breakages(old: ModelSpec, new: ModelSpec) -> tuple[Breakage, ...]:
    return (*breakages(old, new), *requirement_breakages(old, new))


@pytest.mark.parametrize(("kind", "old", "new", "message"), EACH, ids=[each[0] for each in EACH])
def test_each_kind_with_its_text(kind: str, old: ModelSpec, new: ModelSpec, message: str) -> None:
    assert [(found.kind, found.message) for found in all_breakages(old, new)] == [(kind, message)]
    assert (old.fingerprint == new.fingerprint) is (kind == "requires_trader")


def test_no_kind_is_left_out() -> None:
    assert tuple(each[0] for each in EACH) == KINDS


def test_what_breaks_between_2_6_0_and_2_7_0() -> None:
    old, new = ppo.MODEL_SPECS["2.6.0"], ppo.MODEL_SPECS["2.7.0"]
    assert [breakage.message for breakage in all_breakages(old, new)] == [
        "features[56]: nothing becomes position_size@1: traders move first",
        "features[57]: nothing becomes available_cash@1: traders move first",
        "features[58]: nothing becomes account_value@1: traders move first",
        "actions[1]: BUY (+1, 0.5) becomes BUY_25% (+1, 0.25): either moves first",
        "actions[2]: SELL (-1, 0.5) becomes BUY_50% (+1, 0.5): either moves first",
        "actions[3]: nothing becomes BUY_75% (+1, 0.75): either moves first",
        "actions[4]: nothing becomes SELL_25% (-1, 0.25): either moves first",
        "actions[5]: nothing becomes SELL_50% (-1, 0.5): either moves first",
        "actions[6]: nothing becomes SELL_75% (-1, 0.75): either moves first",
        "requires_trader: >=2.4.0 becomes >=2.7.0: traders move first",
    ]
    assert breakages(new, old)[0].message == "features[56]: position_size@1 becomes nothing: models move first"
    assert requirement_breakages(new, old) == ()


def test_between_equal_releases_only_the_version_differs() -> None:
    old, new = ppo.MODEL_SPECS["2.5.0"], ppo.MODEL_SPECS["2.6.0"]
    assert all_breakages(old, new) == ()
    assert [change.message for change in changes(old, new)] == ["version: 2.5.0 becomes 2.6.0"]


def test_what_changed_without_breaking() -> None:
    new = replace(SPEC, requires_trader=">=2.6.0", symbols=("AAPL", "IBM"), notes="tried twice", family="acme")
    assert [change.message for change in changes(SPEC, new)] == [
        "family: ppo becomes acme",
        "requires_trader: >=2.7.0 becomes >=2.6.0",
        "symbols: AAPL becomes AAPL, IBM",
        "notes: nothing becomes tried twice",
    ]


def test_a_template_against_its_filled_spec_differs_in_bars_as_one() -> None:
    template = ppo.MODEL_SPECS["2.7.0"]
    assert [breakage.message for breakage in breakages(template, SPEC)] == [
        "bars: not filled becomes 1Day, all, regular, America/New_York: either moves first"
    ]


@pytest.mark.parametrize(
    ("old", "new", "shuts_out"),
    [
        (">=2.7.0", ">=2.7", False),
        (">=2.7.0", ">=2.6.0", False),
        (">=2.7.0", ">2.7.0", True),
        (">=2.7.0", ">=2.7.0,<3", True),
        (">=2.7.0,<3", ">=2.7.0", False),
        (">=2.7.0", "~=2.7", True),
        ("~=2.7", ">=2.7,<4", False),
        (">=2.7.0", ">=2.7.0,!=2.7.3", True),
        ("==2.7.*", "==2.7.1", True),
        ("===2.7.0", "===2.7.0", False),
        (">=2.7.0", ">=2.7.0; acme-features>=1", True),
        (">=2.7.0; acme-features>=1", ">=2.7.0", False),
        (">=2.7.0; Acme_Features>=1", ">=2.7.0; acme-features>=1", False),
        (">=2.7.0; acme-features>=1", ">=2.7.0; acme-features>=1.1", True),
        (">=2.7.0; acme-features>=1.1", ">=2.7.0; acme-features", False),
    ],
)
def test_a_requirement_that_shuts_out_a_trader_or_package(old: str, new: str, shuts_out: bool) -> None:
    one, other = replace(SPEC, requires_trader=old), replace(SPEC, requires_trader=new)
    assert bool(requirement_breakages(one, other)) is shuts_out
    assert bool(changes(one, other)) is (old != new and not shuts_out)


specifiers = st.lists(
    st.tuples(
        st.sampled_from((">=", ">", "<", "<=", "==", "!=", "~=")), st.sampled_from(("2.0", "2.1", "2.1.1", "3.0"))
    ),
    min_size=1,
    max_size=2,
).map(lambda parts: ",".join(map("".join, parts)))
# 2.1.0.1 lies between 2.1 and 2.1.1
GRID = [
    Version(f"{a}.{b}.{c}{end}")
    for a in (1, 2, 3, 4)
    for b in (0, 1, 2)
    for c in (0, 1, 2)
    for end in ("", "rc1", ".1")
]


@given(specifiers, specifiers)
def test_a_requirement_is_compared_as_every_version_one_by_one(old: str, new: str) -> None:
    """The oracle tries a whole grid of versions; what it finds shut out is found, and nothing where all are let in."""
    left_out = [v for v in GRID if v in SpecifierSet(old, prereleases=True) and v not in SpecifierSet(new, True)]
    found = requirement_breakages(replace(SPEC, requires_trader=old), replace(SPEC, requires_trader=new))
    assert bool(found) is bool(left_out)


@st.composite
def edits(draw: st.DrawFn) -> tuple[ModelSpec, ModelSpec]:
    """Two specs that are as near to each other as two releases: one to three edits apart."""
    spec = new = draw(contracts.specs)
    for edit in draw(st.lists(st.sampled_from(EDITS), min_size=1, max_size=3)):
        new = edit(draw, new)
    return spec, new


def _less(draw: st.DrawFn, spec: ModelSpec) -> ModelSpec:
    at = draw(st.integers(0, spec.n_features - 1))
    return replace(spec, features=spec.features[:at] + spec.features[at + 1 :]) if spec.n_features > 1 else spec


def _more(draw: st.DrawFn, spec: ModelSpec) -> ModelSpec:
    name = draw(contracts.names.filter(lambda name: name not in set(map(feature_name, spec.features))))
    return replace(spec, features=(f"{name}@1", *spec.features))


def _revised(draw: st.DrawFn, spec: ModelSpec) -> ModelSpec:
    at = draw(st.integers(0, spec.n_features - 1))
    reference = f"{feature_name(spec.features[at])}@{draw(contracts.revisions)}"
    return replace(spec, features=(*spec.features[:at], reference, *spec.features[at + 1 :]))


def _shuffled(draw: st.DrawFn, spec: ModelSpec) -> ModelSpec:
    return replace(spec, features=(*draw(st.permutations(spec.market_features)), *spec.account_features))


EDITS: list[Callable[[st.DrawFn, ModelSpec], ModelSpec]] = [
    _less,
    _more,
    _revised,
    _shuffled,
    lambda draw, spec: replace(spec, actions=tuple(draw(st.permutations(spec.actions)))),
    lambda draw, spec: replace(spec, actions=draw(contracts.action_tables())),
    lambda draw, spec: replace(spec, window=draw(st.integers(1, 5))),
    lambda draw, spec: replace(spec, bars=draw(contracts.bar_specs)),
    lambda draw, spec: replace(spec, sizing=draw(contracts.sizings)),
    lambda draw, spec: replace(spec, requires_trader=draw(st.sampled_from((">=1.0", ">=2.0", "<3", "==2.*")))),
    lambda draw, spec: replace(spec, version="9.9.9", notes="other", symbols=("XYZ",)),
]


@given(edits())
@settings(max_examples=SLOW_EXAMPLES)
def test_nothing_breaks_exactly_where_the_fingerprints_are_equal(pair: tuple[ModelSpec, ModelSpec]) -> None:
    old, new = pair
    assert (not breakages(old, new)) is (old.fingerprint == new.fingerprint)
    assert bool(breakages(old, new)) is bool(breakages(new, old))
    assert {found.kind for found in all_breakages(old, new)} <= set(KINDS)


@given(contracts.specs)
def test_a_spec_differs_in_nothing_from_itself(spec: ModelSpec) -> None:
    assert all_breakages(spec, spec) == changes(spec, spec) == ()


@given(edits())
@settings(max_examples=SLOW_EXAMPLES)
def test_breakages_and_changes_together_tell_every_difference(pair: tuple[ModelSpec, ModelSpec]) -> None:
    old, new = pair
    told: list[Any] = [*all_breakages(old, new), *changes(old, new)]
    assert bool(told) is (old != new)


def runs(trader: Trader, spec: ModelSpec) -> bool:
    return judge(spec, trader, proven=True, strict=True).allowed


paper = st.builds(
    Trader, st.just("any"), st.sampled_from(("1.0", "2.0", "2.9", "3.0")), contracts.features(), st.just(True)
)


@given(edits(), paper)
@settings(max_examples=SLOW_EXAMPLES)
def test_unless_traders_move_first_who_runs_the_old_model_runs_the_new_one(
    pair: tuple[ModelSpec, ModelSpec], trader: Trader
) -> None:
    old, new = pair
    able = replace(trader, features=tuple(dict.fromkeys((*old.features, *trader.features))))
    if not any(found.first == "traders" for found in all_breakages(old, new)):
        assert runs(able, new) or not runs(able, old)


@given(edits())
@settings(max_examples=SLOW_EXAMPLES)
def test_where_traders_move_first_one_of_exactly_the_old_features_can_not_run_the_new_model(
    pair: tuple[ModelSpec, ModelSpec],
) -> None:
    old, new = (replace(spec, requires_trader=">=1") for spec in pair)
    trader = Trader("any", "2.0", old.features, paper=True)
    assert runs(trader, new) is not any(found.first == "traders" for found in breakages(old, new))


@given(edits())
@settings(max_examples=SLOW_EXAMPLES)
def test_where_models_move_first_one_of_exactly_the_new_features_can_not_run_the_old_model(
    pair: tuple[ModelSpec, ModelSpec],
) -> None:
    old, new = (replace(spec, requires_trader=">=1") for spec in pair)
    trader = Trader("any", "2.0", new.features, paper=True)
    lost = [found for found in breakages(old, new) if found.kind in ("feature_removed", "feature_revised")]
    assert runs(trader, old) is not bool(lost)
    assert all(found.first == "models" for found in lost if found.kind == "feature_removed")
