"""Tags and descriptions that the gate writes to a real database, and that clients don't."""

import json

import pytest
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.exceptions import MlflowException

from mlflow_ppo_flavor.registry.store import GuardMixin
from tests.registry.model_folders import announcement
from tests.registry.operating import Folders, announce, refused, register


class TestTagsAndDescription:
    def test_are_written_at_registration(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.6.0")
        version = store.get_model_version("m", 1)
        assert sorted(version.tags) == ["ppo.digest", "ppo.proof", "ppo.requires_trader", "ppo.spec"]
        assert version.description.startswith("PPO policy 2.6.0, 56 features × 100 bars, 3 actions")

    def test_are_in_what_registering_returns(self, store: GuardMixin, folders: Folders) -> None:
        store.create_registered_model("m")
        made = store.create_model_version("m", folders["2.6.0"], description="mine")
        kept = store.get_model_version("m", 1)
        assert (made.tags, made.description) == (kept.tags, kept.description)
        assert made.description.startswith("mine\n\nPPO policy 2.6.0")

    def test_tell_the_last_verdict_allowed_or_refused(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.7.0")
        announce(store, announcement("m", version="2.6.0"))
        refused(lambda: store.transition_model_version_stage("m", 1, "Production", False))
        version = store.get_model_version("m", 1)
        assert len([key for key in version.tags if key.startswith("ppo.")]) == 5
        assert "Refused: m version 1 can't become Production" in version.tags["ppo.verdict"]
        assert "- **Last verdict** " in version.description
        announce(store, announcement("m"))
        store.transition_model_version_stage("m", 1, "Production", False)
        assert "Allowed: Production loads version 1" in store.get_model_version("m", 1).tags["ppo.verdict"]

    def test_the_users_description_stands_beside_the_block(self, store: GuardMixin, folders: Folders) -> None:
        store.create_registered_model("m")
        store.create_model_version("m", folders["2.6.0"], description="my notes")
        block = store.get_model_version("m", 1).description.removeprefix("my notes\n\n")
        assert block.startswith("PPO policy 2.6.0")
        for text, expected in (("new notes", f"new notes\n\n{block}"), (None, block), ("", block)):
            assert store.update_model_version("m", 1, text).description == expected
            assert store.get_model_version("m", 1).description == expected

    @pytest.mark.parametrize("key", ["ppo.verdict", "ppo.digest", "ppo.mine", "PPO.digest"])
    def test_no_client_writes_or_deletes_the_gates_tags(self, key: str, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.6.0")
        version_tag, model_tag = ModelVersionTag(key, "forged"), RegisteredModelTag(key, "forged")
        for call in (
            lambda: store.set_model_version_tag("m", 1, version_tag),
            lambda: store.delete_model_version_tag("m", 1, key),
            lambda: store.set_registered_model_tag("m", model_tag),
            lambda: store.delete_registered_model_tag("m", key),
            lambda: store.create_model_version("m", folders["2.6.0"], tags=[version_tag]),
            lambda: store.create_registered_model("n", tags=[model_tag]),
        ):
            with pytest.raises(MlflowException) as caught:
                call()
            assert caught.value.message == (
                f"{key}: found a tag that starts with ppo., expected another name: the gate alone writes these"
            )
            assert caught.value.get_http_status_code() == 400
        assert "forged" not in json.dumps(store.get_model_version("m", 1).tags)

    def test_a_copy_gets_its_own(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.6.0")
        store.transition_model_version_stage("m", 1, "Production", False)
        source = store.get_model_version("m", 1)
        copy = store.copy_model_version(source, "n")
        copied = store.get_model_version("n", copy.version)
        assert copied.tags == {key: value for key, value in source.tags.items() if key != "ppo.verdict"}
        assert "Last verdict" not in copied.description

    def test_a_digest_is_as_the_trader_computes_it(self, store: GuardMixin, folders: Folders) -> None:
        register(store, folders, "2.6.0", "unproven")
        first, second = (store.get_model_version("m", v).tags for v in (1, 2))
        assert first["ppo.digest"] != second["ppo.digest"]
        assert (first["ppo.proof"], second["ppo.proof"]) == (
            "golden decisions recorded",
            "unproven: no golden decisions",
        )
