"""Announcements as clients send them, and the read-only tag that shows them."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_ppo_flavor.contract.trader import Announcement
from mlflow_ppo_flavor.errors import SpecError
from mlflow_ppo_flavor.registry.fleet import fleet_tag, parse_announcement, parse_fleet_tag
from tests.contract.contracts import announcements
from tests.registry.model_folders import ANNOUNCED_AT, announce_value, announcement


@given(announcements)
def test_an_announcement_is_read_back_equal(told: Announcement) -> None:
    assert parse_announcement(told.reference.model, announce_value(told)) == told


@given(st.lists(announcements, max_size=3))
def test_the_fleet_tag_is_read_back_equal_but_for_packages(fleet: list[Announcement]) -> None:
    of_one = tuple(replace(told, reference=replace(told.reference, model="m"), packages={}) for told in fleet)
    assert parse_fleet_tag("m", fleet_tag([replace(told, packages={"numpy": "2.4.0"}) for told in of_one])) == of_one


def test_released_traders_are_told_without_their_features() -> None:
    released = announcement("m")
    own = replace(released, trader=replace(released.trader, features=("mine_1@1",)))
    assert json.loads(fleet_tag([released, own])) == [
        entry := {
            "reference": "Production",
            "trader_id": "live-1",
            "version": "2.7.0",
            "paper": True,
            "announced_at": ANNOUNCED_AT,
        },
        entry | {"features": ["mine_1@1"]},
    ]
    assert parse_fleet_tag("m", fleet_tag([released, own])) == (released, own)


def test_own_packages_are_told_with_the_features_that_they_add() -> None:
    released = announcement("m")
    packages = {"acme-features": "1.2.0"}
    own = replace(released.trader, features=(*released.trader.features, "acme/spread@1"), packages=packages)
    told = replace(released, trader=own)
    entry = json.loads(fleet_tag([told]))[0]
    assert (entry["own_features"], entry["own_packages"], "features" in entry) == (["acme/spread@1"], packages, False)
    assert parse_fleet_tag("m", fleet_tag([told])) == (told,)
    assert parse_announcement("m", announce_value(told)) == told


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "ppo.announce: found no JSON (Expecting property name"),
        ("[" * 100_000, "ppo.announce: found no JSON ("),
        ("[]", "ppo.announce: found [], expected a mapping"),
        ("{}", "ppo.announce.trader: found nothing, expected a mapping"),
        ("9" * 5_000, "ppo.announce: found no JSON ("),
        (None, "ppo.announce: found None, expected a string"),
        ("\ud800", "ppo.announce: found '\\ud800', expected text that UTF-8 can write"),
    ],
)
def test_what_is_no_announcement_says_where(value: Any, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_announcement("m", value)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": {"model": "n", "label": "Production"}}, "ppo.announce.reference.model: found 'n', expected 'm'"),
        ({"reference": {"model": "m", "label": "latest"}}, "ppo.announce.reference.reference: found 'latest'"),
        ({"announced_at": "today"}, "ppo.announce.announced_at: found 'today', expected a time with its zone"),
        ({"mood": "good"}, "ppo.announce.mood: found an unknown key"),
        ({"\ud800": "good"}, "ppo.announce.'\\ud800': found an unknown key"),
        ({"announced_at": "2026-01-31\ud80014:30:00+00:00"}, "ppo.announce.announced_at: found '2026-01-31\\ud800"),
        ({"reference": {"model": "m\ud800", "label": "Production"}}, "ppo.announce.reference.model: found 'm\\ud800'"),
        ({"packages": {"a\0b": "1"}}, "ppo.announce.packages: found 'a\\x00b', expected the name of a package"),
        ({"packages": {"a": "9" * 101}}, "ppo.announce.packages.a: found 101 characters, expected a version such as"),
        ({"trader": {"version": "9" * 5_000}}, "ppo.announce.trader.version: found 5000 characters"),
        ({"trader": {"features": []}}, "ppo.announce.trader.features: found no feature, expected those that"),
        ({"trader": {"features": ["a@1", "a@1"]}}, "ppo.announce.trader.features[1]: found a@1 a second time"),
    ],
)
def test_a_wrong_value_carries_its_dotted_path(change: dict[str, object], message: str) -> None:
    data: dict[str, Any] = json.loads(announce_value(announcement("m")))
    changed: dict[str, Any] = data | change
    changed["trader"] = data["trader"] | changed["trader"]
    with pytest.raises(SpecError) as caught:
        parse_announcement("m", json.dumps(changed))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("value", ["{", "{}", "[1]", '[{"trader": {"version": 3}}]'])
def test_a_broken_fleet_tag_is_refused(value: str) -> None:
    with pytest.raises(SpecError, match=r"^ppo\.fleet"):
        parse_fleet_tag("m", value)
