"""Own features: defined by their window alone, the same bits however they are asked for, wrong answers told."""

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_ppo_flavor.contract.packages import OwnPackage
from mlflow_ppo_flavor.contract.releases import spec_named
from mlflow_ppo_flavor.decision.account import AccountState
from mlflow_ppo_flavor.decision.action import Instrument
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.decision.features import (
    FEATURES,
    OwnFeature,
    Window,
    cached_features,
    compute_features,
    known_features,
    lookback_of,
)
from mlflow_ppo_flavor.decision.features.cache import cache_name
from mlflow_ppo_flavor.decision.features.own_column import OwnColumn
from mlflow_ppo_flavor.decision.market import Costs
from mlflow_ppo_flavor.decision.observation import build_observation
from mlflow_ppo_flavor.errors import FeatureError, SpecError
from mlflow_ppo_flavor.model.golden import record_golden
from mlflow_ppo_flavor.model.policy import ActorCritic
from mlflow_ppo_flavor.model.replay import replay
from tests.decision.features.markets import random_walk
from tests.own_packages import ACME, Install, Package
from tests.tiers import SLOW_EXAMPLES
from training.backtest import Engine
from training.config import EpisodeConfig
from training.environment import GymnasiumTrading

BARS = random_walk(120, seed=3)
MIXED = ("acme/weekend@1", "cci_20@1", "acme/spread@1", "hour_sin@1", "return_60@1")


@pytest.fixture
def acme(install: Install) -> None:
    install(Package())


def naive(bars: Bars, bar: int) -> dict[str, float]:
    """The two features in plain Python, from a list of bars."""
    rows = [bars.bar(i) for i in range(bar - 29, bar + 1)]
    spread = (max(r.high for r in rows) - min(r.low for r in rows)) / rows[-1].close
    gaps = [b.time - a.time for a, b in zip(rows[-5:], rows[-4:], strict=False)]
    return {"acme/spread@1": min(spread, 0.5), "acme/weekend@1": float(max(gaps) > 2 * 86_400 * 10**9)}


@pytest.mark.usefixtures("acme")
def test_columns_of_a_mixed_list_are_what_each_gives_alone() -> None:
    assert lookback_of(MIXED) == 61
    found = compute_features(BARS, MIXED)
    assert (found.dtype, found.shape, found.flags.c_contiguous) == (np.float32, (60, 5), True)
    for row, bar in enumerate(range(60, 120)):
        expected = naive(BARS, bar)
        assert found[row, 0] == np.float32(expected["acme/weekend@1"])
        assert found[row, 2] == np.float32(expected["acme/spread@1"])
    built_in = [name for name in MIXED if "/" not in name]
    np.testing.assert_array_equal(found[:, [1, 3, 4]], compute_features(BARS, built_in, start=60))
    np.testing.assert_array_equal(found[:, [2]], compute_features(BARS, ["acme/spread@1"], start=60))


@pytest.mark.usefixtures("acme")
def test_one_bar_has_the_bits_that_the_whole_series_gives_it() -> None:
    @settings(max_examples=SLOW_EXAMPLES)
    @given(st.permutations(MIXED), st.integers(1, 5), st.data())
    def law(order: list[str], count: int, data: st.DataObject) -> None:
        chosen = order[:count]
        least = lookback_of(chosen)
        bar = data.draw(st.integers(least - 1, len(BARS) - 1))
        begin = data.draw(st.integers(0, bar + 1 - least))
        whole = compute_features(BARS, chosen)[bar - least + 1]
        part = compute_features(BARS[begin : bar + 1], chosen, start=bar - begin)
        assert part[0].tobytes() == whole.tobytes()

    law()


@pytest.mark.usefixtures("acme")
def test_they_are_known_beside_the_built_in_ones() -> None:
    known = known_features()
    assert list(known)[:53] == list(FEATURES)
    assert list(known)[53:] == ["acme/spread@1", "acme/weekend@1"]
    assert (known["acme/spread@1"].lookback, known["acme/spread@1"].high) == (30, 0.5)


def test_the_built_in_features_load_no_package(install: Install) -> None:
    install(Package(source="raise RuntimeError('loaded')"))
    compute_features(BARS, ["cci_20@1"])
    assert lookback_of(["cci_20@1"]) == 20
    assert "acme_of_tests" not in sys.modules


def test_two_revisions_stand_side_by_side(install: Install) -> None:
    more = '\nFEATURES.append(ppo.OwnFeature("acme/spread", 2, 2, 0.0, 1.0, 0.0, "Else.", lambda window: 0.25))\n'
    install(Package(source=ACME + more))
    first, second = compute_features(BARS, ["acme/spread@1", "acme/spread@2"]).T
    assert set(second.tolist()) == {0.25} != set(first.tolist())


def column(compute: Callable[[Window], Any], *, lookback: int = 3, low: float = -1.0, high: float = 1.0) -> OwnColumn:
    """An own feature of this function, of a package that needn't be installed."""
    feature = OwnFeature("acme/x", 1, lookback, low, high, 0.25, "X.", compute)
    return OwnColumn(0, feature, OwnPackage("acme-features", "1.2.0", None, None))  # type: ignore[arg-type]


def values(of: OwnColumn, bars: Bars = BARS, first: int = 2) -> list[float]:
    out = np.full((len(bars) - first, 1), 99, dtype=np.float32)
    of.fill(bars, first, out)
    return list(out[:, 0])


def test_the_window_is_exactly_its_bars_and_leads_nowhere_else() -> None:
    seen: list[Window] = []
    values(column(lambda window: seen.append(window) or 0.0))
    assert len(seen) == 118
    for i, window in enumerate(seen):
        for name in ("time", "open", "high", "low", "close", "volume"):
            part = getattr(window, name)
            np.testing.assert_array_equal(part, getattr(BARS, name)[i : i + 3])
            assert part.base is None
            with pytest.raises(ValueError, match="read-only"):
                part[0] = 1
        assert (window.time.dtype, window.close.dtype) == (np.int64, np.float64)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (0.1, np.float32(0.1)),
        (math.nan, 0.25),
        (np.float64("nan"), 0.25),
        (7, 1.0),
        (-1e300, -1.0),
        (np.float32(0.5), 0.5),
        (np.int64(-3), -1.0),
        (1 / 3, np.float32(1 / 3)),
    ],
)
def test_an_answer_is_clipped_and_rounded_once(answer: float, expected: float) -> None:
    assert set(values(column(lambda window: answer))) == {np.float32(expected)}


@pytest.mark.parametrize(
    ("compute", "told"),
    [
        (lambda window: 1 / 0, "found ZeroDivisionError: division by zero, expected a number"),
        (lambda window: window.close[3], "found IndexError: index 3 is out of bounds for axis 0 with size 3, expected"),
        (lambda window: None, "found None, expected a number"),
        (lambda window: True, "found True, expected a number"),
        (lambda window: "1", "found '1', expected a number"),
        (lambda window: window.close[:1] * 0 + 2, "found array([2.]), expected a number"),
        (lambda window: 1j, "found 1j, expected a number"),
        (lambda window: sys.exit(3), "found SystemExit: 3, expected a number"),
        (lambda window: math.inf, "found inf, expected a finite number, or NaN where it is undefined"),
        (lambda window: -np.float64("inf"), "found np.float64(-inf), expected a finite number"),
        (lambda window: 10**400, "found 1000000000000000000000000000000000"),
        (lambda window: window.volume[0] / np.float64(0), "found np.float64(inf), expected a finite number"),
    ],
)
def test_a_failing_feature_is_named_with_its_bar_and_package(compute: Callable[[Window], Any], told: str) -> None:
    when = np.datetime_as_string(BARS.time[2].astype("datetime64[ns]"), unit="s")
    with pytest.raises(FeatureError) as caught:
        values(column(compute))
    assert str(caught.value).startswith(f"acme/x@1 (acme-features 1.2.0), {BARS.symbol} {when}Z: {told}")


def test_what_the_caller_made_of_division_by_zero_changes_nothing() -> None:
    undefined = column(lambda window: (window.close[0] * 0.0) / (window.close[0] * 0.0))
    with np.errstate(all="raise"):
        assert set(values(undefined)) == {np.float32(0.25)}


def stored_name(install: Install, package: Package, features: tuple[str, ...] = MIXED) -> str:
    install(package)
    return cache_name(BARS, features)


def test_stored_features_are_found_by_the_code_and_version_of_their_package(install: Install, tmp_path: Path) -> None:
    plain = cache_name(BARS, ["cci_20@1"])
    first = stored_name(install, Package())
    assert stored_name(install, Package()) == first
    assert stored_name(install, Package(version="1.2.1")) != first
    changed = Package(source=ACME.replace("high.max()", "close.max()"))
    before = Package()
    install(before)
    old = cached_features(BARS, MIXED, tmp_path / "store")
    np.testing.assert_array_equal(cached_features(BARS, MIXED, tmp_path / "store"), old)
    install(changed)
    new = cached_features(BARS, MIXED, tmp_path / "store")
    assert (new[:, 2] < old[:, 2]).any()
    assert len(list((tmp_path / "store").iterdir())) == 2
    assert cache_name(BARS, ["cci_20@1"]) == plain


def feature(**change: Any) -> str:
    """The source of a package with one feature."""
    fields = {"name": "'acme/x'", "revision": 1, "lookback": 3, "low": 0.0, "high": 1.0, "degenerate": 0.5}
    fields |= {"description": "'X.'", "compute": "len"} | change
    told = ", ".join(f"{key}={value}" for key, value in fields.items())
    return f"import mlflow_ppo_flavor as ppo\nFEATURES = [ppo.OwnFeature({told})]\nSPECS = 0\n"


PLACE = "mlflow_ppo_flavor.features.acme"
BROKEN = [
    ("import nothing_of_that_name", "{p}: found ModuleNotFoundError: No module named 'nothing_of_that_name', expected"),
    ("1 / 0", "{p}: found ZeroDivisionError: division by zero, expected acme_of_tests:FEATURES to be imported"),
    ("raise SystemExit(3)", "{p}: found SystemExit: 3, expected acme_of_tests:FEATURES to be imported"),
    ("raise ValueError('long ' * 99)", "{p}: found ValueError: " + "long " * 57 + "..., expected acme_of_tests"),
    ("OTHER = 1", "{p}: found AttributeError: module 'acme_of_tests' has no attribute 'FEATURES', expected acme_of_"),
    ("FEATURES = 5", "{p}: found 5, expected a list of OwnFeature, not empty"),
    ("FEATURES = []", "{p}: found [], expected a list of OwnFeature, not empty"),
    ("FEATURES = {'acme/x': len}", "{p}: found {'acme/x': <built-in function len>}, expected a list of OwnFeature"),
    ("FEATURES = [len]", "{p}[0]: found <built-in function len>, expected an OwnFeature"),
    (feature(name="'zed/x'"), "{p}[0].name: found 'zed/x', expected a name such as acme/momentum"),
    (feature(name="'acme/X'"), "{p}[0].name: found 'acme/X', expected a name such as acme/momentum"),
    (feature(name="'acme/a/b'"), "{p}[0].name: found 'acme/a/b', expected a name such as acme/momentum"),
    (feature(name="5"), "{p}[0].name: found 5, expected a string"),
    (feature(name="'rsi_14'"), "{p}[0].name: found rsi_14, which is built in, expected a name such as acme/momentum"),
    (feature(name="'drawdown'"), "{p}[0].name: found drawdown, which is the account's, expected a name such as acme/"),
    (feature(revision=0), "{p}[0].revision: found 0, expected a whole number in [1, 1000000]"),
    (feature(lookback=513), "{p}[0].lookback: found 513, expected a whole number in [1, 512]"),
    (feature(lookback=True), "{p}[0].lookback: found True, expected a whole number in [1, 512]"),
    (feature(low=0.1), "{p}[0].low: found 0.1, expected a number that float32 holds exactly"),
    (feature(high="float('inf')"), "{p}[0].high: found inf, expected a number in [-1e+30, 1e+30]"),
    (feature(high=0.0), "{p}[0].high: found 0.0, expected more than low, 0"),
    (feature(degenerate=2.0), "{p}[0].degenerate: found 2.0, expected a number in [0, 1]"),
    (feature(description="''"), "{p}[0].description: found '', expected a string that isn't empty"),
    (feature(compute="'len'"), "{p}[0].compute: found 'len', expected a function of the window"),
    (feature() + "FEATURES *= 2", "{p}[1]: found acme/x@1 a second time, expected each once"),
]


@pytest.mark.parametrize(("source", "told"), BROKEN, ids=lambda text: text[-40:])
def test_a_broken_package_is_told_and_harms_nobody_else(install: Install, source: str, told: str) -> None:
    other = feature(name="'beta/x'").replace("len", "lambda window: 0.75")
    install(Package(source=source), Package(other, "beta", "0.1", "beta_of_tests", {"beta": "FEATURES"}, {}))
    reason = f"acme-features 1.2.0: {told.replace('{p}', PLACE)}"
    with pytest.warns(UserWarning, match="its features can't be used") as caught:
        assert list(known_features())[53:] == ["beta/x@1"]
    assert str(caught[0].message).startswith(reason)
    assert compute_features(BARS, ["cci_20@1", "beta/x@1"])[0, 1] == 0.75
    with pytest.raises(SpecError) as refused:
        compute_features(BARS, ["cci_20@1", "acme/x@1"])
    expected = "features[1]: found acme/x@1, expected a feature that an installed package brings for acme: "
    assert str(refused.value).startswith(expected + reason)


@pytest.mark.parametrize(
    ("packages", "told"),
    [
        (
            (Package(), Package(name="acme2", module="acme2_of_tests")),
            f"acme-features 1.2.0: {PLACE}: found the same in acme2 1.2.0, expected one package: uninstall the others; "
            f"acme2 1.2.0: {PLACE}: found the same in acme-features 1.2.0, expected one package: uninstall the others",
        ),
        (
            (Package(version="newest"),),
            "acme-features newest: version: found 'newest', expected a version such as 2.7.0 (PEP 440)",
        ),
    ],
)
def test_packages_that_cannot_be_told_apart_or_required_bring_nothing(
    install: Install, packages: tuple[Package, ...], told: str
) -> None:
    install(*packages)
    with pytest.warns(UserWarning, match="can't be used"), pytest.raises(SpecError) as refused:
        compute_features(BARS, ["acme/spread@1"])
    assert str(refused.value).endswith(f"a feature that an installed package brings for acme: {told}")


def test_a_namespace_must_be_one(install: Install) -> None:
    install(Package(features={"Acme": "FEATURES"}))
    with pytest.warns(UserWarning, match="features.Acme: found 'Acme', expected a namespace such as acme"):
        known_features()


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("acme/spread@2", "acme/spread@1"),
        ("acme/other@1", "a feature that an installed package brings for acme"),
        ("zed/other@1", "a feature that an installed package brings for zed"),
        ("cci_20@9", "cci_20@1"),
    ],
)
def test_an_unknown_feature_is_refused(reference: str, expected: str) -> None:
    with pytest.raises(SpecError) as refused:
        lookback_of(["return_1@1", reference])
    assert str(refused.value) == f"features[1]: found {reference}, expected {expected}"


@pytest.mark.usefixtures("acme")
def test_an_observation_holds_them(tmp_path: Path) -> None:
    spec = spec_named("acme:1.0.0")
    market = compute_features(BARS, spec.market_features)[-4:]
    seen = build_observation(market, AccountState.start(1000.0), replace(spec, window=4)).reshape(4, 5)
    np.testing.assert_array_equal(seen[:, 0], compute_features(BARS, ["acme/spread@1"])[-4:, 0])


def trained_policy() -> ActorCritic:
    spec = spec_named("acme:1.0.0").for_bars(**BARS.spec.to_dict(), symbols=[BARS.symbol])
    return ActorCritic(spec, (6,), generator=torch.Generator().manual_seed(1)).eval()


def test_golden_decisions_hold_them_and_catch_changed_code(install: Install) -> None:
    install(Package())
    policy = trained_policy()
    golden = record_golden(policy, BARS)
    assert replay(golden, policy, policy.spec) == ()
    install(Package(source=ACME.replace("high.max()", "close.max()")))
    finding = replay(golden, policy, policy.spec)[0]
    assert "acme/spread@1" in finding.place
    install(Package(source=ACME.replace("window.close[-1]", "0 * undefined")))
    assert "found NameError: name 'undefined' is not defined" in replay(golden, policy, policy.spec)[0].message


@pytest.mark.usefixtures("acme")
def test_the_environment_observes_them_in_their_range() -> None:
    spec = trained_policy().spec
    engine = Engine.prepare(BARS, spec, Instrument.equity(BARS.symbol), Costs())
    environment = GymnasiumTrading(engine, EpisodeConfig(length=10))
    space = environment.observation_space
    assert isinstance(space, gymnasium.spaces.Box)
    assert (space.low[:5].tolist(), space.high[:4].tolist()) == ([0.0, -7.0, 0.0, -1.0, -100.0], [0.5, 7.0, 1.0, 1.0])
    seen, _ = environment.reset(seed=1)
    assert space.contains(seen)
    assert seen.reshape(4, 5)[-1, 0] == compute_features(BARS[: environment._moment.bar + 1], ["acme/spread@1"])[-1, 0]
