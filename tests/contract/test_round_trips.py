"""What crosses a boundary comes back equal, through real JSON; what isn't understood is refused with its place."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_ppo_flavor.contract.breakage import Breakage, breakages
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.contract.trader import Trader
from mlflow_ppo_flavor.errors import SpecError
from tests.contract import contracts


@given(
    st.one_of(
        contracts.specs,
        contracts.traders,
        contracts.references,
        contracts.announcements,
        contracts.attestations,
        contracts.findings,
        contracts.verdicts,
        contracts.bar_specs,
        contracts.sizings,
    )
)
def test_a_value_comes_back_equal_through_json(value: Any) -> None:
    assert type(value).from_dict(json.loads(json.dumps(value.to_dict()))) == value


@given(contracts.specs, contracts.specs)
def test_breakages_come_back_equal_through_json(old: Any, new: Any) -> None:
    for breakage in breakages(old, new):
        assert Breakage.from_dict(json.loads(json.dumps(breakage.to_dict()))) == breakage


@given(st.one_of(contracts.specs, contracts.traders, contracts.announcements, contracts.verdicts), st.data())
def test_an_unknown_key_is_refused_with_its_name(value: Any, data: st.DataObject) -> None:
    name = data.draw(st.text("xyz", min_size=3, max_size=8))
    with pytest.raises(SpecError, match=f"^{name}: found an unknown key, expected one of "):
        type(value).from_dict(value.to_dict() | {name: 1})


@given(st.one_of(contracts.traders, contracts.announcements, contracts.attestations), st.data())
def test_a_missing_key_is_refused_with_its_name(value: Any, data: st.DataObject) -> None:
    kept = value.to_dict()
    optional = {"packages"} if isinstance(value, Trader) else set()
    name = data.draw(st.sampled_from(sorted(kept.keys() - optional)))
    del kept[name]
    with pytest.raises(SpecError, match=f"^{name}: found nothing, expected "):
        type(value).from_dict(kept)


@pytest.mark.parametrize("found", [None, [], "text", 3, b"bytes"])
def test_no_mapping_is_no_spec(found: object) -> None:
    with pytest.raises(SpecError, match=r"^spec: found .*, expected a mapping$"):
        ModelSpec.from_dict(found)
