"""What a change of the lock owes: each rule with its text, and the laws of judging two locks."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_ppo_flavor.contract.lock import BEHAVIOURS, LockedPackage, LockedSpec, SpecLock
from mlflow_ppo_flavor.contract.owed import BUMPS, Owed, owed, stale, too_early
from mlflow_ppo_flavor.contract.spec import Action, ModelSpec
from tests.contract import contracts
from tests.contract.locks import LOCK, changed, locks
from tests.tiers import SLOW_EXAMPLES

ACTIONS = (Action("HOLD", 0, 0.0), Action("BUY", 1, 0.5))
RAISE = "raise the trader version (mlflow-ppo spec bump trader), or undo the change"
HOW = "as it was and give the change a new model version (mlflow-ppo spec bump)"
TRADER_3, MODEL_3 = replace(LOCK, trader_version="3.0.0"), replace(LOCK, model_version="3.0.0")
ACME_2 = changed(LOCK, "packages", **{"acme-features": LockedPackage("2.0", ("acme",), ("acme",))})


def edited(section: str, name: str, entry: Any, lock: SpecLock = LOCK) -> SpecLock:
    return changed(lock, section, **{name: entry})


RULES: list[tuple[str, SpecLock, str, SpecLock | None]] = [
    (
        "feature",
        edited("features", "rsi_14@1", "9" * 64),
        "features.rsi_14@1: found digest 999999999999, expected the locked 111111111111: "
        "give the change a revision of its own, rsi_14@2, and leave rsi_14@1 as it was",
        None,
    ),
    (
        "feature",
        edited("features", "acme/spread@1", "9" * 64),
        "features.acme/spread@1: found digest 999999999999, expected the locked 333333333333: "
        "give the change a revision of its own, acme/spread@2, and leave acme/spread@1 as it was",
        None,
    ),
    (
        "restore",
        edited("features", "rsi_14@1", None),
        "features.rsi_14@1: found no such feature any more, expected digest 111111111111: "
        "compute it as before: models in the field use it, and traders promised to run them",
        edited("features", "rsi_14@1", None, TRADER_3),
    ),
    (
        "restore",
        edited("features", "acme/spread@1", None),
        "features.acme/spread@1: found no such feature any more, expected digest 333333333333: "
        "compute it as before: models in the field use it, and traders promised to run them",
        edited("features", "acme/spread@1", None, ACME_2),
    ),
    (
        "trader",
        edited("features", "rsi_14@2", "9" * 64),
        f"features.rsi_14@2: found a feature that trader 2.7.0 doesn't compute, expected a trader above 2.7.0: {RAISE}",
        edited("features", "rsi_14@2", "9" * 64, replace(LOCK, trader_version="2.7.1")),
    ),
    (
        "package",
        edited("features", "acme/spread@2", "9" * 64),
        "features.acme/spread@2: found a feature that acme-features 1.2.0 doesn't bring, "
        "expected acme-features above 1.2.0: raise the version of acme-features",
        edited("features", "acme/spread@2", "9" * 64, ACME_2),
    ),
    (
        "model",
        edited("specs", "ppo:2.6.0", LockedSpec("9" * 64, ">=2.4.0")),
        f"specs.ppo:2.6.0.fingerprint: found 999999999999, expected the locked 666666666666: leave 2.6.0 {HOW}",
        None,
    ),
    (
        "model",
        edited("specs", "ppo:2.6.0", LockedSpec("6" * 64, ">=2.5.0")),
        f"specs.ppo:2.6.0.requires_trader: found >=2.5.0, expected the locked >=2.4.0: leave 2.6.0 {HOW}",
        None,
    ),
    (
        "restore",
        edited("specs", "ppo:2.6.0", None),
        "specs.ppo:2.6.0: found no such spec any more, expected fingerprint 666666666666: "
        "put its entry back: models and checkpoints of that version are still read by it",
        edited("specs", "ppo:2.6.0", None, MODEL_3),
    ),
    (
        "restore",
        edited("specs", "acme:1.0.0", None, MODEL_3),
        "specs.acme:1.0.0: found no such spec any more, expected fingerprint aaaaaaaaaaaa: "
        "put its entry back: models and checkpoints of that version are still read by it",
        edited("specs", "acme:1.0.0", None, ACME_2),
    ),
    (
        "model",
        edited("matrix", "2.6.0", "2.5.0"),
        f"matrix.2.6.0: found 2.5.0, expected the locked 2.4.0: leave the entry of 2.6.0 {HOW}",
        None,
    ),
    (
        "restore",
        edited("matrix", "2.6.0", None),
        f"matrix.2.6.0: found no entry any more, expected the locked 2.4.0: leave the entry of 2.6.0 {HOW}",
        edited("matrix", "2.6.0", None, MODEL_3),
    ),
    *[
        (
            "trader",
            edited("behaviour", name, "9" * 64),
            f"behaviour.{name}: found digest 999999999999, expected the locked bbbbbbbbbbbb of trader 2.7.0: {RAISE}",
            edited("behaviour", name, "9" * 64, replace(LOCK, trader_version="2.8.0")),
        )
        for name in BEHAVIOURS
    ],
    (
        "trader",
        replace(LOCK, spec_formats=(1, 2)),
        f"current.spec_formats: found 2, which trader 2.7.0 doesn't read, expected a trader above 2.7.0: {RAISE}",
        replace(LOCK, spec_formats=(1, 2), trader_version="2.8.0"),
    ),
    (
        "restore",
        replace(LOCK, spec_formats=(2,), trader_version="2.8.0"),
        "current.spec_formats: found no 1 any more, expected format 1: "
        "read it as before: models in the field are written in it",
        replace(LOCK, spec_formats=(2,), trader_version="3.0.0"),
    ),
    (
        "restore",
        replace(LOCK, model_version="2.6.0"),
        "current.model: found 2.6.0, expected at least 2.7.0: put back CURRENT_MODEL_VERSION: versions only rise",
        None,
    ),
    (
        "restore",
        replace(LOCK, trader_version="2.7.0rc1"),
        "current.trader: found 2.7.0rc1, expected at least 2.7.0: put back CURRENT_TRADER_VERSION: versions only rise",
        None,
    ),
    (
        "restore",
        edited("packages", "acme-features", LockedPackage("1.1.9", ("acme",), ("acme",))),
        "packages.acme-features: found 1.1.9, expected at least 1.2.0: "
        "install acme-features 1.2.0 or a later one: versions only rise",
        None,
    ),
]


@pytest.mark.parametrize(("bump", "new", "message", "paid"), RULES)
def test_each_rule_with_its_text_and_what_settles_it(
    bump: str, new: SpecLock, message: str, paid: SpecLock | None
) -> None:
    assert [(found.bump, found.message) for found in owed(LOCK, new)] == [(bump, message)]
    if paid is not None:
        assert owed(LOCK, paid) == ()


def test_a_package_that_is_gone_is_told_once_with_all_that_it_brought() -> None:
    gone = changed(LOCK, "packages", **{"acme-features": None})
    gone = edited("specs", "acme:1.0.0", None, edited("features", "acme/spread@1", None, gone))
    assert [found.message for found in owed(LOCK, gone)] == [
        "packages.acme-features: found no such package installed, expected 1.2.0: install it; if it was given up, take "
        "what it brought out of the lock by hand: features acme/…, specs acme:…"
    ]


def test_what_is_new_and_paid_for_owes_nothing_but_the_lock() -> None:
    new = replace(LOCK, model_version="2.8.0", trader_version="2.8.0")
    new = edited("specs", "ppo:2.8.0", LockedSpec("8" * 64, ">=2.8.0"), edited("matrix", "2.8.0", "2.8.0", new))
    assert owed(LOCK, new) == ()
    assert [found.message for found in stale(LOCK, new)] == [
        f"{place}: found {found}, expected {expected}: run mlflow-ppo spec lock, and commit the file"
        for place, found, expected in (
            ("current.model", '"2.7.0"', '"2.8.0"'),
            ("current.trader", '"2.7.0"', '"2.8.0"'),
            ("matrix.2.8.0", "no entry", '"2.8.0"'),
            ("specs.ppo:2.8.0", "no entry", '{"fingerprint": "' + 60 * "8" + "..."),
        )
    ]


@pytest.mark.parametrize(("requires", "told"), [(">=2.7.0", True), (">=2.7.1", False), ("<3", True)])
def test_a_new_spec_may_not_let_in_a_trader_that_lacks_its_features(requires: str, told: bool) -> None:
    spec = ModelSpec("2.8.0", requires, ("rsi_14@1", "rsi_14_fast@1", "acme/new@1"), ACTIONS)
    assert [found.message for found in too_early(LOCK, [spec])] == told * [
        f"specs.ppo:2.8.0.requires_trader: found {requires}, expected one above 2.7.0, which doesn't compute "
        "rsi_14_fast@1: require a trader version that does, in the matrix too"
    ]
    assert too_early(LOCK, [replace(spec, features=("rsi_14@1",)), replace(spec, version="2.7.0")]) == ()


def test_a_new_package_owes_nothing() -> None:
    before = replace(LOCK, packages={}, specs={}, features={})
    assert owed(before, replace(LOCK, trader_version="2.8.0")) == ()


@given(locks)
@settings(max_examples=SLOW_EXAMPLES)
def test_a_lock_owes_itself_nothing(lock: SpecLock) -> None:
    assert owed(lock, lock) == stale(lock, lock) == ()


@given(locks, locks)
@settings(max_examples=SLOW_EXAMPLES)
def test_no_difference_goes_unseen(old: SpecLock, new: SpecLock) -> None:
    assert bool(stale(old, new)) is (old != new)
    places = {found.place for found in stale(old, new)}
    for found in owed(old, new):
        assert any(found.place == place or found.place.startswith(f"{place}.") for place in places)


@given(locks, st.data())
@settings(max_examples=SLOW_EXAMPLES)
def test_digests_under_a_kept_name_are_owed_whatever_versions_are_raised(lock: SpecLock, data: st.DataObject) -> None:
    """The law that no version pays for: rewriting history."""
    risen = replace(lock, model_version="999.0", trader_version="999.0")
    for section, names in (("features", lock.features), ("specs", lock.specs), ("matrix", lock.matrix)):
        if names:
            name = data.draw(st.sampled_from(sorted(names)))
            entry = {"features": "f" * 64, "specs": LockedSpec("f" * 64, ">=0"), "matrix": "999.9"}[section]
            if names[name] != entry:
                places = [found.place for found in owed(lock, edited(section, name, entry, risen))]
                assert f"{section}.{name}" in places or f"{section}.{name}.fingerprint" in places


@given(st.builds(Owed, st.sampled_from(BUMPS), *[contracts.texts] * 4))
def test_a_finding_comes_back_equal_through_json(found: Owed) -> None:
    assert Owed.from_dict(json.loads(json.dumps(found.to_dict()))) == found
