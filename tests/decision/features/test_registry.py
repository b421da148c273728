"""The registry: exactly the names that the contract promises, each with a sensible declaration."""

import numpy as np
import pytest

from mlflow_ppo_flavor.contract.releases import MARKET_FEATURES
from mlflow_ppo_flavor.decision.features import FEATURES, MAX_LOOKBACK, Feature, lookback_of

EACH = pytest.mark.parametrize("feature", FEATURES.values(), ids=lambda feature: feature.name)


def test_the_registry_and_the_contract_name_the_same_features_in_the_same_order() -> None:
    assert tuple(FEATURES) == MARKET_FEATURES
    assert set(MARKET_FEATURES) - set(FEATURES) == set()
    assert set(FEATURES) - set(MARKET_FEATURES) == set()


def test_there_are_53() -> None:
    assert len(FEATURES) == 53
    assert len({feature.name for feature in FEATURES.values()}) == 53


def test_the_registry_cannot_be_written() -> None:
    with pytest.raises(TypeError, match="does not support item assignment"):
        FEATURES["rsi_14@1"] = FEATURES["rsi_7@1"]  # type: ignore[index]


@EACH
def test_a_feature_is_listed_under_its_reference(feature: Feature) -> None:
    assert FEATURES[f"{feature.name}@{feature.revision}"] is feature


@EACH
def test_a_feature_looks_back_at_most_512_bars(feature: Feature) -> None:
    assert 1 <= feature.lookback <= MAX_LOOKBACK == 512


@EACH
def test_the_range_holds_the_degenerate_value_and_rounds_to_itself(feature: Feature) -> None:
    assert feature.low <= feature.degenerate <= feature.high
    assert feature.scale == feature.high - feature.low > 0
    assert (feature.low, feature.high) == (float(np.float32(feature.low)), float(np.float32(feature.high)))


@EACH
def test_a_feature_is_described_in_a_sentence(feature: Feature) -> None:
    assert len(feature.description) > 20
    assert feature.description.endswith(".")


def test_the_neutral_values_are_as_designed() -> None:
    half = {
        "close_location",
        "rsi_7",
        "rsi_14",
        "stochastic_k_14",
        "stochastic_d_14",
        "mfi_14",
        "bollinger_position_20",
    }
    e = float(np.e)
    others = {"williams_r_14": -0.5, "regime_range": e / (3 + e)}
    others |= {f"regime_{name}": 1 / (3 + e) for name in ("up", "down", "volatile")}
    for feature in FEATURES.values():
        expected = 0.5 if feature.name in half else others.get(feature.name, 0.0)
        assert feature.degenerate == pytest.approx(expected, abs=1e-15), feature.name


def test_the_lookback_of_several_is_the_longest() -> None:
    assert lookback_of(["return_1@1", "sma_distance_200@1", "body@1"]) == 200
    assert lookback_of(MARKET_FEATURES) == max(feature.lookback for feature in FEATURES.values()) == 260
    assert lookback_of([]) == 1
