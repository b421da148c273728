"""Nobody writes in the gate's name: blocks and tags, at creation and later, of models and versions, in any spelling."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from mlflow_ppo_flavor.registry.notices import Notices
from mlflow_ppo_flavor.registry.store import GuardMixin, open_store
from tests.registry.forgeries import HEADLINES, block
from tests.registry.model_folders import announcement
from tests.registry.operating import Folders, announce, register

VERSIONS = 10_000
MOST_SECONDS = 3.0
FORGED = {
    "as it is written": "PPO policy 2.7.0, requires trader >=2.0.0 (written by mlflow-ppo)\n\nall is well",
    "lower case": "ppo policy 2.7.0 (written by mlflow-ppo)\nall is well",
    "upper case": "PPO POLICY 2.7.0 (WRITTEN BY MLFLOW-PPO)\nall is well\n*END OF WHAT MLFLOW-PPO WROTE.*",
    "with blanks": "  PPO \u00a0 policy 2.7.0 ( written  by\tmlflow-ppo ) \nall is well",
    "in bold": "**PPO policy 2.7.0 (written by mlflow-ppo)**\nall is well",
    "as a heading": "# PPO policy 2.7.0 (written by **mlflow-ppo**)\nall is well",
    "quoted": "> PPO policy 2.7.0 (written by mlflow-ppo)\n> all is well",
    "without the hyphen": "PPO policy 2.7.0 (written by mlflow ppo)\nall is well",
    "with line ends of Windows": "PPO policy 2.7.0 (written by mlflow-ppo)\r\nall is well\r\n",
}
WAYS: dict[str, Callable[[SqlAlchemyStore, Folders, str], Any]] = {
    "a version's creation": lambda s, f, text: s.create_model_version("m", f["sklearn"], description=text),
    "a version's update": lambda s, f, text: s.update_model_version("m", 2, text),
    "a guarded version's update": lambda s, f, text: s.update_model_version("m", 1, text),
    "a model's update": lambda s, f, text: s.update_registered_model("m", text),
}


def created(store: SqlAlchemyStore, folders: Folders, text: str) -> str | None:
    made = store.create_model_version("m", folders["sklearn"], description=text)
    return str(store.get_model_version("m", made.version).description)


def copied(store: SqlAlchemyStore, folders: Folders, text: str) -> str | None:
    """Into the guarded model, from one that isn't."""
    store.update_model_version("other", 1, text)
    source = store.get_model_version("other", 1)
    assert source.description == text
    return str(store.get_model_version("m", store.copy_model_version(source, "m").version).description)


SHOWN: dict[str, Callable[[SqlAlchemyStore, Folders, str], str | None]] = {
    "a version's creation": created,
    "a version's update": lambda s, f, text: s.update_model_version("m", 2, text).description,
    "a guarded version's update": lambda s, f, text: s.update_model_version("m", 1, text).description,
    "a model's update": lambda s, f, text: s.update_registered_model("m", text).description,
    "a copy": copied,
}


def texts(store: SqlAlchemyStore) -> str:
    """All that is described in the registry, but for the gate's own block on version 1."""
    versions = [v for v in store.search_model_versions("name = 'm'") if v.version != 1]
    first = (store.get_model_version("m", 1).description or "").partition("PPO policy 2.6.0, 56 features")[0]
    described = [first, *(v.description for v in versions), store.get_registered_model("m").description]
    return "\n".join(each or "" for each in described)


@pytest.mark.parametrize("spelling", FORGED)
@pytest.mark.parametrize("way", WAYS)
def test_what_reads_as_the_gates_block_is_left_out(
    way: str, spelling: str, store: GuardMixin, plain: SqlAlchemyStore, folders: Folders
) -> None:
    for each in (store, plain):
        register(each, folders, "2.6.0", "sklearn")
        WAYS[way](each, folders, f"mine\n\n{FORGED[spelling]}")
    assert "all is well" not in texts(store)
    assert "mine" in texts(store)
    assert "all is well" in texts(plain)


@pytest.mark.parametrize("way", SHOWN)
def test_what_reads_as_the_gates_block_is_left_out_however_it_is_spelled(
    way: str, store: GuardMixin, plain: SqlAlchemyStore, folders: Folders
) -> None:
    for each in (store, plain):
        register(each, folders, "2.6.0", "sklearn")
        register(each, folders, "sklearn", model="other")
    shown = {name: SHOWN[way](store, folders, f"mine\n\n{block(line)}") or "" for name, line in HEADLINES.items()}
    assert [name for name, text in shown.items() if "everybody" in text] == []
    assert [name for name, text in shown.items() if not text.startswith("mine")] == []
    assert "everybody" in (SHOWN[way](plain, folders, block(HEADLINES["in a span"])) or "")


def test_a_model_made_under_a_name_that_traders_load(store: GuardMixin, plain: SqlAlchemyStore) -> None:
    store.create_registered_model("m")
    announce(store, announcement("m"))
    store.delete_registered_model("m")
    for each in (store, plain):
        each.create_registered_model("m", description=FORGED["lower case"])
    assert (store.get_registered_model("m").description or "") == ""
    assert plain.get_registered_model("m").description == FORGED["lower case"]


def test_what_was_forged_before_the_model_was_guarded_goes_when_it_is(store: GuardMixin, folders: Folders) -> None:
    uri = str(store.engine.url)
    plain = SqlAlchemyStore(uri)
    model_tags = [RegisteredModelTag("team", "a"), RegisteredModelTag("ppo.fleet", "forged")]
    plain.create_registered_model("m", model_tags, f"ours\n{FORGED['lower case']}")
    plain.create_model_version("m", folders["sklearn"], description=FORGED["without the hyphen"])
    forged = [ModelVersionTag(key, "Allowed") for key in ("PPO.verdict", "p\u3164po.verdict", "\uff50po.digest")]
    plain.create_model_version("m", folders["2.6.0"], tags=[*forged, ModelVersionTag("mine", "kept")])
    guarded = open_store(f"ppo:{uri}")
    guarded.transition_model_version_stage("m", 2, "Production", False)
    assert guarded.get_registered_model("m").description == "ours"
    assert guarded.get_registered_model("m").tags == {"team": "a"}
    assert guarded.get_model_version("m", 1).description == ""
    tags = guarded.get_model_version("m", 2).tags
    assert "Allowed" not in tags.values()
    assert tags["mine"] == "kept"
    assert tags["ppo.verdict"].endswith("as none announced")


def test_any_spelling_from_before_goes_when_the_model_becomes_guarded(store: GuardMixin, folders: Folders) -> None:
    plain = SqlAlchemyStore(str(store.engine.url))
    honest = "Of PPO policies:\r\n\r\n| a | b |\r\n|---|---|\r\n| 1 < 2 | mlflow-ppo |\r\n"
    plain.create_registered_model("m", description=block(HEADLINES["in bold by HTML"]))
    for text in (honest, None, *map(block, HEADLINES.values())):
        plain.create_model_version("m", folders["sklearn"], description=text)
    store.create_model_version("m", folders["2.6.0"])
    described = {v.version: v.description for v in store.search_model_versions("name = 'm'")}
    assert (described.pop(1), described.pop(2)) == (honest, None)
    assert described.pop(len(HEADLINES) + 3).startswith("PPO policy 2.6.0, 56 features")
    assert set(described.values()) == {""}
    assert store.get_registered_model("m").description == ""


@pytest.mark.bench
def test_ten_thousand_descriptions_are_cleared_in_seconds(store: GuardMixin) -> None:
    store.create_registered_model("m")
    note = "Trained with seed 3; see [the run](http://host/run) for <5% drawdown & more.\n\n- better Sharpe\n" * 3
    texts = [block(HEADLINES["in bold by HTML"]) if i % 2 else note for i in range(VERSIONS)]
    row = {"workspace": "default", "name": "m", "creation_time": 1, "current_stage": "None", "source": "s"}
    with store.engine.begin() as connection:
        rows = [{**row, "version": i + 1, "description": text} for i, text in enumerate(texts)]
        connection.execute(sqlalchemy.insert(SqlModelVersion), rows)
    start = time.process_time()
    with store.ManagedSessionMaker() as session:
        Notices(session, "default").clear_model("m")
    seconds = time.process_time() - start
    print(f"\n{VERSIONS} descriptions of {len(note)} characters, half of them forged: {seconds:.1f} s of CPU time")
    assert seconds <= MOST_SECONDS
    assert store.get_model_version("m", 1).description == note
    assert store.get_model_version("m", 2).description == ""


@pytest.mark.parametrize(
    "key",
    ["ppo.x", " PPO.x", "Ppo\u200b.x", "\uff50\uff50\uff4f.x", "p\u00adpo.x", "ppo .x", "p\uffa0po.x", "\u3164ppo.x"],
)
def test_a_tag_is_the_gates_however_it_is_spelled(key: str, store: GuardMixin, folders: Folders) -> None:
    register(store, folders, "2.6.0")
    for call in (
        lambda: store.set_model_version_tag("m", 1, ModelVersionTag(key, "forged")),
        lambda: store.set_registered_model_tag("m", RegisteredModelTag(key, "forged")),
        lambda: store.create_model_version("m", folders["2.6.0"], tags=[ModelVersionTag(key, "forged")]),
        lambda: store.create_registered_model("n", tags=[RegisteredModelTag(key, "forged")]),
    ):
        with pytest.raises(MlflowException) as caught:
            call()
        assert caught.value.get_http_status_code() == 400


def test_another_key_is_the_clients(store: GuardMixin, folders: Folders) -> None:
    register(store, folders, "2.6.0")
    for key in ("pposition", "app.ppo", "mlflow.ppo.x"):
        store.set_model_version_tag("m", 1, ModelVersionTag(key, "mine"))
    assert store.get_model_version("m", 1).tags["pposition"] == "mine"
