"""ModelSpec: its released values, what its fingerprint covers, and the text of each refusal."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

import mlflow_ppo_flavor as ppo
from mlflow_ppo_flavor.contract.digest import canonical_json, sha256_hex
from mlflow_ppo_flavor.contract.releases import MARKET_FEATURES, features_of_trader
from mlflow_ppo_flavor.contract.spec import Action, BarSpec, ModelSpec, Sizing
from mlflow_ppo_flavor.errors import SpecError, UnknownFormat
from tests.contract import contracts

GOLDEN = Path(__file__).parents[1] / "golden" / "released_specs.json"
SPEC = ppo.MODEL_SPECS["2.7.0"]


def changed(path: str, value: object) -> dict[str, Any]:
    """The spec 2.7.0 for daily bars as a dict, with one value changed; the path is `actions.3.size`."""
    data = SPEC.for_bars(timeframe="1Day", adjustment="all").to_dict()
    place: Any = data
    *parents, last = path.split(".")
    for key in parents:
        place = place[int(key) if key.isdigit() else key]
    place[int(last) if last.isdigit() else last] = value
    return data


@pytest.mark.parametrize(
    ("version", "n_features", "obs_dim", "n_actions", "lowest"),
    [
        ("2.3.0", 53, 5300, 3, "2.3.0"),
        ("2.4.0", 56, 5600, 3, "2.4.0"),
        ("2.5.0", 56, 5600, 3, "2.4.0"),
        ("2.6.0", 56, 5600, 3, "2.4.0"),
        ("2.7.0", 59, 5900, 7, "2.7.0"),
    ],
)
def test_released_shapes(version: str, n_features: int, obs_dim: int, n_actions: int, lowest: str) -> None:
    spec = ppo.MODEL_SPECS[version]
    assert (spec.n_features, spec.obs_dim, spec.n_actions) == (n_features, obs_dim, n_actions)
    assert spec.min_trader_version == ppo.MODEL_TRADER_COMPATIBILITY[version] == lowest
    assert spec.requires_trader == f">={lowest}"
    assert spec.bars is None
    assert not spec.sizing.allow_short


def test_released_meanings_have_integer_keys() -> None:
    three, seven = ppo.MODEL_SPECS["2.6.0"].action_meanings, SPEC.action_meanings
    assert three == {0: "HOLD", 1: "BUY", 2: "SELL"}
    assert seven == {
        0: "HOLD", 1: "BUY_25%", 2: "BUY_50%", 3: "BUY_75%", 4: "SELL_25%", 5: "SELL_50%", 6: "SELL_75%",
    }  # fmt: skip


def test_released_specs_are_those_of_the_golden_file() -> None:
    released = {v: s.to_dict() | {"fingerprint": s.fingerprint} for v, s in ppo.MODEL_SPECS.items()}
    assert json.loads(GOLDEN.read_text()) == released


def test_market_comes_first_and_account_last() -> None:
    assert SPEC.market_features == MARKET_FEATURES
    assert SPEC.account_features == (
        "total_pnl@1", "win_rate@1", "drawdown@1", "position_size@1", "available_cash@1", "account_value@1",
    )  # fmt: skip
    assert SPEC.features == SPEC.market_features + SPEC.account_features


def test_a_trader_computes_the_features_of_all_that_it_runs() -> None:
    assert features_of_trader("2.2.9") == ()
    assert features_of_trader("2.3.0") == ppo.MODEL_SPECS["2.3.0"].features
    assert features_of_trader("2.6.0") == ppo.MODEL_SPECS["2.6.0"].features
    assert features_of_trader("3.1") == SPEC.features


def test_for_bars_fills_what_training_knows() -> None:
    spec = SPEC.for_bars(timeframe="1Hour", adjustment="split", symbols=["AAPL", "BTC/USD"])
    assert spec.bars == BarSpec("1Hour", "split", "regular", "America/New_York")
    assert spec.symbols == ("AAPL", "BTC/USD")
    with pytest.raises(SpecError, match=r"^bars\.timeframe: found '5Min', expected one of 1Day, 1Hour, 1Min$"):
        SPEC.for_bars(timeframe="5Min", adjustment="all")


def test_equal_shapes_have_equal_fingerprints_and_other_bars_another() -> None:
    fingerprints = {v: s.fingerprint for v, s in ppo.MODEL_SPECS.items()}
    assert fingerprints["2.4.0"] == fingerprints["2.5.0"] == fingerprints["2.6.0"]
    assert len(set(fingerprints.values())) == 3
    assert SPEC.for_bars(timeframe="1Day", adjustment="all").fingerprint != SPEC.fingerprint


@given(contracts.specs)
def test_the_fingerprint_covers_behaviour_alone(spec: ModelSpec) -> None:
    said = replace(
        spec, version="9.9.9", requires_trader=">=9", notes="n", breaking_changes="b", symbols=("X",), family="other"
    )
    assert said.fingerprint == spec.fingerprint
    for behaves in (
        replace(spec, window=spec.window + 1),
        replace(spec, features=("another@1", *spec.features)),
        replace(spec, actions=(*spec.actions, Action("another", 1, 0.5))),
        replace(spec, sizing=replace(spec.sizing, allow_short=not spec.sizing.allow_short)),
    ):
        assert behaves.fingerprint != spec.fingerprint


def test_the_fingerprint_is_what_the_design_says() -> None:
    keys = ("format", "features", "window", "bars", "actions", "sizing")
    data = SPEC.to_dict()
    text = json.dumps({key: data[key] for key in keys}, sort_keys=True, separators=(",", ":")).encode()
    assert SPEC.fingerprint == sha256_hex(text)


def test_canonical_json_is_one_byte_string() -> None:
    assert canonical_json({"b": [1, 0.1], "a": "é"}) == '{"a":"é","b":[1,0.1]}'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("actions.3.size", 1.5, "actions[3].size: found 1.5, expected a number in [0, 1]"),
        ("actions.3.size", float("nan"), "actions[3].size: found nan, expected a number in [0, 1]"),
        ("actions.3.size", True, "actions[3].size: found True, expected a number in [0, 1]"),
        ("actions.3.size", 0, "actions[3].size: found 0.0, expected more than 0 where there is a direction"),
        ("actions.0.size", 0.5, "actions[0].size: found 0.5, expected 0 where the direction is 0"),
        ("actions.3.direction", 2, "actions[3].direction: found 2, expected one of -1, 0, 1"),
        ("actions.3.direction", True, "actions[3].direction: found True, expected one of -1, 0, 1"),
        ("actions.3.name", "HOLD", "actions[3]: found HOLD a second time, expected each once"),
        ("actions", [], "actions: found 0 action(s), expected at least two"),
        ("features.3", "rsi_14", "features[3]: found 'rsi_14', expected a feature such as rsi_14@1"),
        ("features.3", "rsi_14@0", "features[3]: found 'rsi_14@0', expected a feature such as rsi_14@1"),
        ("features.3", "body@2", "features[6]: found body a second time, expected each once"),
        ("features", [], "features: found no feature, expected at least one"),
        ("features", "rsi_14@1", "features: found 'rsi_14@1', expected a list"),
        ("window", 0, "window: found 0, expected a whole number in [1, 10000]"),
        ("window", 100.0, "window: found 100.0, expected a whole number in [1, 10000]"),
        ("version", "two", "version: found 'two', expected a version such as 2.7.0 (PEP 440)"),
        ("requires_trader", "2.7", "requires_trader: found '2.7', expected a specifier set such as >=2.7.0 (PEP 440)"),
        ("requires_trader", "", "requires_trader: found '', expected a specifier set such as >=2.7.0 (PEP 440)"),
        ("sizing.max_position", -0.1, "sizing.max_position: found -0.1, expected a number in [0, 1]"),
        ("sizing.allow_short", 0, "sizing.allow_short: found 0, expected true or false"),
        ("sizing.leverage", 2, "sizing.leverage: found an unknown key, expected one of base_allocation, "),
        ("bars.adjustment", "dividend", "bars.adjustment: found 'dividend', expected one of raw, split, all"),
        ("bars.time_zone", "", "bars.time_zone: found '', expected an IANA time zone such as America/New_York"),
        ("symbols", ["aapl"], "symbols[0]: found 'aapl', expected a symbol such as AAPL or BTC/USD"),
        ("family", 1, "family: found 1, expected a family such as ppo"),
    ],
)
def test_each_refusal_says_where_and_what(path: str, value: object, message: str) -> None:
    with pytest.raises(SpecError) as refusal:
        ModelSpec.from_dict(changed(path, value))
    assert str(refusal.value).startswith(message)


@pytest.mark.parametrize("found", [0, 2, "1", True, 1.0, None])
def test_an_unknown_format_is_refused_never_guessed(found: object) -> None:
    with pytest.raises(UnknownFormat) as refusal:
        ModelSpec.from_dict(changed("format", found))
    assert str(refusal.value) == f"format: found {found!r}, expected 1: upgrade mlflow-ppo-flavor to read this spec"


def test_a_market_feature_after_the_account_is_refused() -> None:
    message = (
        r"features\[1\]: found market feature rsi_14@1 after an account feature, expected market first, account last"
    )
    with pytest.raises(SpecError, match=message):
        replace(SPEC, features=("win_rate@1", "rsi_14@1"))


def test_building_by_hand_is_checked_as_well() -> None:
    with pytest.raises(SpecError, match=r"^sizing\.max_position: found 2\.0, expected a number in \[0, 1\]$"):
        replace(SPEC, sizing=Sizing(max_position=2.0))


def test_checkpoint_metadata_has_the_protocols_keys_and_the_whole_spec() -> None:
    metadata = ppo.get_checkpoint_metadata()
    protocol = ("model_version", "min_trader_version", "n_features", "n_actions", "obs_dim")
    assert [metadata[key] for key in protocol] == ["2.7.0", "2.7.0", 59, 7, 5900]
    assert metadata["action_meanings"] == SPEC.action_meanings
    assert ModelSpec.from_dict(metadata["spec"]) == SPEC
