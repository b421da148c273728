"""Announcements as clients send them, and the read-only tag that shows them."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_ppo_flavor.contract.trader import Announcement
from mlflow_ppo_flavor.errors import SpecError
from mlflow_ppo_flavor.registry.fleet import fleet_tag, parse_announcement, parse_fleet_tag
from tests.contract.contracts import announcements
from tests.registry.model_folders import announce_value, announcement


@given(announcements)
def test_an_announcement_is_read_back_equal(told: Announcement) -> None:
    assert parse_announcement(told.reference.model, announce_value(told)) == told


@given(st.lists(announcements, max_size=3))
def test_the_fleet_tag_is_read_back_equal(fleet: list[Announcement]) -> None:
    assert parse_fleet_tag(fleet_tag(fleet)) == tuple(fleet)


def test_released_traders_are_told_without_their_features() -> None:
    released = announcement("m")
    own = replace(released, trader=replace(released.trader, features=("mine_1@1",)))
    assert "features" not in fleet_tag([released])
    assert '"features":["mine_1@1"]' in fleet_tag([own])
    assert parse_fleet_tag(fleet_tag([released, own])) == (released, own)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "ppo.announce: found no JSON (Expecting property name"),
        ("[" * 100_000, "ppo.announce: found no JSON ("),
        ("[]", "ppo.announce: found [], expected a mapping"),
        ("{}", "ppo.announce.trader: found nothing, expected a mapping"),
    ],
)
def test_what_is_no_announcement_says_where(value: str, message: str) -> None:
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
    ],
)
def test_a_wrong_value_carries_its_dotted_path(change: dict[str, object], message: str) -> None:
    data = json.loads(announce_value(announcement("m"))) | change
    with pytest.raises(SpecError) as caught:
        parse_announcement("m", json.dumps(data))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("value", ["{", "{}", "[1]", '[{"trader": {"version": 3}}]'])
def test_a_broken_fleet_tag_is_refused(value: str) -> None:
    with pytest.raises(SpecError, match=r"^ppo\.fleet"):
        parse_fleet_tag(value)
