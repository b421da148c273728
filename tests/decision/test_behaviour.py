"""Behaviour digests: those of this code are the repository's lock, and their inputs make every feature speak."""

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlflow_ppo_flavor.contract.lock import BEHAVIOURS, LockedPackage, parse_lock
from mlflow_ppo_flavor.contract.owed import owed
from mlflow_ppo_flavor.decision.action import SKIPS, decide
from mlflow_ppo_flavor.decision.behaviour import behaviour_digests, feature_digests, lock_of_this_code
from mlflow_ppo_flavor.decision.features import FEATURES, compute_features
from mlflow_ppo_flavor.decision.fixed_accounts import INSTRUMENTS, PRICES, SIZINGS, SPEC, STATES
from mlflow_ppo_flavor.decision.fixed_bars import FIRST_ROW, N_ROWS, REGIMES, fixed_bars
from mlflow_ppo_flavor.decision.observation import ACCOUNT_RANGES
from mlflow_ppo_flavor.errors import FeatureError
from tests.own_packages import ACME, Install, Package

LOCK = Path(__file__).parents[2] / "spec.lock"
# sha256 over the digests of all fixed bars: whoever changes them writes locks of another format
FIXED_BARS = "4c8ea59c3c918052d3a087037425cfbe6dc933742761b85a0802b15af73f87a6"


def test_the_lock_of_the_repository_is_that_of_this_code() -> None:
    assert parse_lock(LOCK.read_bytes(), "spec.lock") == lock_of_this_code()
    assert LOCK.read_text() == lock_of_this_code().text()


def test_the_fixed_bars_never_change() -> None:
    found = fixed_bars()
    assert len(found) == 3 * len(REGIMES)
    told = "".join(f"{name} {bars.digest}\n" for name, bars in found.items())
    assert hashlib.sha256(told.encode()).hexdigest() == FIXED_BARS


def test_the_fixed_bars_are_of_every_kind() -> None:
    daily = {name: fixed_bars()[f"1Day {name}"] for name in REGIMES}
    assert {len(bars) for bars in daily.values()} == {FIRST_ROW + N_ROWS}
    assert np.ptp(daily["flat"].close) == np.ptp(daily["flat"].high - daily["flat"].low) == 0
    assert not daily["no volume"].volume.any()
    ratios = daily["splits"].close[1:] / daily["splits"].close[:-1]
    assert ratios.max() > 9
    assert ratios.min() < 0.6
    assert daily["spikes"].close.max() > 4 * np.median(daily["spikes"].close)
    assert daily["pennies"].close.max() < 0.001
    assert {bars.spec.timeframe for bars in fixed_bars().values()} == {"1Day", "1Hour", "1Min"}
    hours = [bars.local.hour[FIRST_ROW:] for name, bars in fixed_bars().items() if name.startswith("1Hour")]
    assert len(np.unique(np.concatenate(hours))) == 24


def test_every_feature_takes_many_values_on_them_and_its_degenerate_one() -> None:
    values = np.concatenate(
        [compute_features(bars, tuple(FEATURES), start=FIRST_ROW) for bars in fixed_bars().values()]
    )
    distinct = {reference: len(np.unique(column)) for reference, column in zip(FEATURES, values.T, strict=True)}
    assert {reference for reference, number in distinct.items() if number < 4} == set()
    never = [f.reference for f, column in zip(FEATURES.values(), values.T, strict=True) if f.degenerate not in column]
    assert [reference for reference in never if not reference.startswith(("weekday", "month"))] == []


def test_every_feature_has_a_digest_of_its_own() -> None:
    digests = feature_digests()
    assert list(digests) == [*FEATURES, *ACCOUNT_RANGES]
    assert len(set(digests.values())) == len(digests)
    assert digests == feature_digests()


def noise(i: int, k: int, w: int) -> int:
    return (7919 * i * i + (104729 + 613 * k) * i + 12345 * (k + 1)) % 10007 % w


def test_a_digest_can_be_computed_from_the_written_protocol_alone() -> None:
    """return_1@1 from the formulas of the page, in plain Python."""

    def wave(i: int) -> int:
        return 10000 + 25 * abs(i % 120 - 60) + 9 * abs(7 * i % 61 - 30) + noise(i, 1, 101)

    closes = {
        "rising": lambda i: 5000 + 11 * i + noise(i, 3, 151),
        "falling": lambda i: 20000 - 17 * i + noise(i, 4, 151),
        "waves": wave,
        "stairs": lambda i: 10000 + 50 * (i // 40 % 5),
        "flat": lambda i: 10000,
        "no volume": wave,
        "thin": wave,
        "spikes": lambda i: wave(i) * (5 if i % 103 == 97 else 1),
        "splits": lambda i: wave(i) * (1 if i < 400 else 10) // (1 if i < 506 else 2),
        "pennies": wave,
    }

    def counted(name: str, i: int) -> int:
        divisor = 10**8 if name == "pennies" else 100
        log = math.log((closes[name](i) / divisor) / (closes[name](i - 1) / divisor))
        return round(float(np.float32(min(max(log, -1.0), 1.0))) / 2.0 * 1e9)

    rows = {name: [counted(name, i) for i in range(512, 520)] for name in closes}
    values = {f"{timeframe} {name}": row for timeframe in ("1Day", "1Hour", "1Min") for name, row in rows.items()}
    told = {"lookback": 2, "low": -1.0, "high": 1.0, "degenerate": 0.0, "values": values}
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == feature_digests()["return_1@1"]


def test_every_behaviour_has_a_digest() -> None:
    digests = behaviour_digests()
    assert tuple(digests) == BEHAVIOURS
    assert len(set(digests.values())) == len(BEHAVIOURS)


def test_the_fixed_accounts_buy_sell_and_skip_for_every_reason() -> None:
    decisions = [
        decide(index, replace(SPEC, sizing=sizing), state, instrument, price)
        for sizing in SIZINGS
        for index in range(SPEC.n_actions)
        for state in STATES
        for instrument in INSTRUMENTS
        for price in PRICES
    ]
    assert {decision.skipped for decision in decisions} == {None, *SKIPS}
    assert {int(np.sign(decision.quantity)) for decision in decisions} == {-1, 0, 1}


def test_own_features_and_specs_are_locked_with_their_package(install: Install) -> None:
    bare = lock_of_this_code()
    install(Package())
    lock = lock_of_this_code()
    assert set(lock.features) - set(bare.features) == {"acme/spread@1", "acme/weekend@1"}
    assert {reference: lock.features[reference] for reference in bare.features} == bare.features
    assert lock.specs["acme:1.0.0"].requires_trader == ">=2.7.0; acme-features>=1.2"
    assert lock.packages == {"acme-features": LockedPackage("1.2.0", ("acme",), ("acme",))}


@pytest.mark.parametrize(
    ("old", "new", "version", "told"),
    [
        ("window.low.min()", "window.low.max()", "1.3.0", ["feature features.acme/spread@1"]),
        ('"acme/spread", 1, 30,', '"acme/spread", 1, 31,', "1.3.0", ["feature features.acme/spread@1"]),
        ('"acme/weekend", 1', '"acme/weekend", 2', "2.0.0", []),
        ("\nSPECS", "\nFEATURES.append(ppo.OwnFeature('acme/x', 1, 1, 0.0, 1.0, 0.0, 'x', spread))\nSPECS", "1.3", []),
        (
            "\nSPECS",
            "\nFEATURES.append(ppo.OwnFeature('acme/x', 1, 1, 0.0, 1.0, 0.0, 'x', spread))\nSPECS",
            "1.2.0",
            ["package features.acme/x@1"],
        ),
        ("window=4", "window=5", "1.3.0", ["model specs.acme:1.0.0.fingerprint"]),
    ],
)
def test_own_features_and_specs_owe_as_built_in_ones_do(
    old: str, new: str, version: str, told: list[str], install: Install
) -> None:
    install(Package())
    before = lock_of_this_code()
    assert old in ACME
    source = ACME.replace(old, new).replace(
        "acme/weekend@1", "acme/weekend@2" if "weekend" in new else "acme/weekend@1"
    )
    install(Package(source=source, version=version))
    found = owed(before, lock_of_this_code())
    expected = ["model specs.acme:1.0.0.fingerprint"] if "weekend" in new else told
    assert [f"{each.bump} {each.place}" for each in found] == expected


def test_a_package_that_can_not_be_used_is_not_locked_without_a_word(install: Install) -> None:
    install(Package(source=ACME.replace('"acme/spread", 1, 30', '"acme/spread", 1, 600')))
    with pytest.raises(
        FeatureError, match=r"^acme-features 1\.2\.0: mlflow_ppo_flavor\.features\.acme\[0\]\.lookback: "
    ):
        lock_of_this_code()


@pytest.mark.parametrize("answer", ["random.random()", "next(COUNT)"])
def test_a_feature_that_answers_otherwise_when_asked_again_is_not_locked(answer: str, install: Install) -> None:
    kept = f"import itertools, random\n{ACME}\nCOUNT = itertools.count()\ndef spread(window):\n    return {answer}\n"
    again = "FEATURES[0] = ppo.OwnFeature('acme/spread', 1, 30, 0.0, 1e6, 0.0, 'Kept.', spread)\n"
    install(Package(source=kept + again))
    told = (
        r"^acme/spread@1 \(acme-features 1\.2\.0\): found other values for the same bars when asked again "
        r"\(1Min pennies\), expected the same: let it depend on its window alone, on no random number and nothing "
        r"that it keeps$"
    )
    with pytest.raises(FeatureError, match=told):
        lock_of_this_code()


def test_a_change_shows_however_wide_the_range_is_that_was_declared(install: Install) -> None:
    wide = ACME.replace('"acme/spread", 1, 30, 0.0, 0.5', f'"acme/spread", 1, 30, 0.0, {2.0**99!r}')
    assert wide != ACME
    install(Package(source=wide))
    before = lock_of_this_code()
    install(Package(source=wide.replace("window.low.min()", "window.low.max()")))
    assert [each.place for each in owed(before, lock_of_this_code())] == ["features.acme/spread@1"]
