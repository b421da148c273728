"""Announcements on a real database: kept, replaced, shown, and refused."""

from typing import Any

import pytest
from mlflow.entities.model_registry import RegisteredModelTag
from mlflow.exceptions import MlflowException

from mlflow_ppo_flavor.registry.fleet import parse_fleet_tag
from mlflow_ppo_flavor.registry.store import GuardMixin
from tests.registry.model_folders import announce_value, announcement
from tests.registry.operating import Folders, announce, refused, register, rows


class TestAnnouncements:
    def test_is_kept_in_the_guards_table_and_shown_as_a_read_only_tag(
        self, store: GuardMixin, folders: Folders
    ) -> None:
        register(store, folders, "2.6.0")
        told = [announcement("m", "@live", trader_id="live-2"), announcement("m", version="2.6.0")]
        for each in told:
            announce(store, each)
        assert parse_fleet_tag("m", store.get_registered_model("m").tags["ppo.fleet"]) == tuple(told)
        assert "ppo.announce" not in store.get_registered_model("m").tags
        with store.ManagedSessionMaker() as session:
            assert store._get_registered_model_tag(session, "m", "ppo.fleet") is None

    def test_a_later_one_replaces_the_same_traders_earlier_one_for_that_reference_alone(
        self, store: GuardMixin, folders: Folders
    ) -> None:
        register(store, folders, "2.6.0", "2.7.0")
        for label in ("Production", "@live"):
            announce(store, announcement("m", label, version="2.6.0"))
        announce(store, announcement("m", version="2.7.0"))
        store.transition_model_version_stage("m", 2, "Production", False)
        refused(lambda: store.set_registered_model_alias("m", "live", 2))

    def test_is_refused_while_its_reference_loads_what_it_cannot_run(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.7.0")
        store.transition_model_version_stage("m", 1, "Production", False)
        error = refused(lambda: announce(store, announcement("m", version="2.6.0")))
        assert error.message.startswith(
            "Refused: trader live-1 (2.6.0) can't serve m/Production: version 1 stands there"
        )
        assert len(error.json_kwargs["findings"]) == 4
        assert "ppo.fleet" not in store.get_registered_model("m").tags
        assert [row["allowed"] for row in rows(store)] == [True, False]

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ("nonsense", "ppo.announce: found no JSON"),
            ("{}", "ppo.announce.trader: found nothing, expected a mapping"),
            (
                announce_value(announcement("m")).replace('"2.7.0"', f'"{"9" * 5_000}"'),
                "ppo.announce.trader.version: found 5000 characters, expected a version such as 2.7.0 (PEP 440)",
            ),
            (
                announce_value(announcement("m")).replace("-31T", "-31\\ud800"),
                "ppo.announce.announced_at: found '2026-01-31\\ud80014:30",
            ),
            (None, "ppo.announce: found None, expected a string"),
            (announce_value(announcement("other")), "ppo.announce.reference.model: found 'other', expected 'm'"),
        ],
    )
    def test_what_cannot_be_read_is_400_with_the_dotted_path(
        self, value: Any, text: str, store: GuardMixin, folders: Folders
    ) -> None:
        register(store, folders, "2.6.0")
        with pytest.raises(MlflowException) as caught:
            store.set_registered_model_tag("m", RegisteredModelTag("ppo.announce", value))
        assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
        assert caught.value.message.startswith(text)
        assert caught.value.json_kwargs["path"].startswith("ppo.announce")

    def test_needs_a_registered_model(self, store: GuardMixin) -> None:
        with pytest.raises(MlflowException, match="not found") as caught:
            announce(store, announcement("m"))
        assert caught.value.error_code == "RESOURCE_DOES_NOT_EXIST"

    def test_stays_when_the_model_is_deleted_and_made_again(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.6.0")
        announce(store, announcement("m", version="2.6.0"))
        store.delete_registered_model("m")
        register(store, folders, "2.7.0")
        refused(lambda: store.transition_model_version_stage("m", 1, "Production", False))
