"""Every path by which a reference can come to load something else, on the guarded store and on MLflow's own.

What the gate refuses is asked of the plain store too, which does it: with the guard off each of these tests fails.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import pytest
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.exceptions import MlflowException
from mlflow.prompt.constants import IS_PROMPT_TAG_KEY
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.registry.store import GuardMixin
from tests.registry.model_folders import announcement, ppo_flavors, trained, write_mlmodel
from tests.registry.operating import Folders, announce, refused, register, resolved, rows

Act = Callable[[SqlAlchemyStore], Any]
OLD = "trader live-1 (2.6.0) can't run it: model 2.7.0 requires trader >=2.7.0"


@dataclass(frozen=True)
class Path:
    """One path: what stands before anybody announces, the call, what it moves, and why the gate refuses it."""

    act: Act
    label: str = "Production"
    becomes: int = 2
    why: str = OLD
    before: tuple[Act, ...] = ()
    model: str = "m"
    fact: str = field(default="m version 2 can't become Production")


def stage(version: Any, to: str = "Production", *, archive: bool = False, model: str = "m") -> Act:
    return lambda s: s.transition_model_version_stage(model, version, to, archive)


def alias(version: Any, name: str = "live", model: str = "m") -> Act:
    return lambda s: s.set_registered_model_alias(model, name, version)


def as_prompt(store: SqlAlchemyStore) -> None:
    store.set_registered_model_tag("m", RegisteredModelTag(IS_PROMPT_TAG_KEY, "true"))
    store.set_model_version_tag("m", 2, ModelVersionTag(IS_PROMPT_TAG_KEY, "true"))


def copied(store: SqlAlchemyStore) -> None:
    """A version 6 of `m`, from another model whose only version the fleet of `m` can't run."""
    store.create_registered_model("other")
    store.create_model_version("other", store.get_model_version("m", 2).source)
    store.create_model_version("m", "models:/other/1")


def by_mlflows_copy(store: SqlAlchemyStore) -> None:
    store.copy_model_version(store.get_model_version("m", 2), "m")


def renamed(store: SqlAlchemyStore) -> None:
    store.rename_registered_model("new", "awaited")


def replaced(store: SqlAlchemyStore) -> None:
    """The model is deleted and made anew under its name: its traders still load that."""
    source = store.get_model_version("m", 2).source
    store.delete_registered_model("m")
    store.create_registered_model("m")
    store.create_model_version("m", source)


def other_model(store: SqlAlchemyStore) -> None:
    store.create_registered_model("new")
    store.create_model_version("new", store.get_model_version("m", 2).source)
    store.transition_model_version_stage("new", 1, "Production", False)


HIDDEN = (stage(2), stage(4))
SURFACES = "would make m version 2 Production"
PATHS = {
    "transition": Path(stage(2)),
    "transition, stage in another case": Path(stage(2, "pRoDuCtIoN")),
    "transition, version 02": Path(stage("02")),
    "transition, archiving the existing": Path(stage("2", archive=True), before=(stage(1),)),
    "transition into the other stage": Path(stage(2, "sTAGING"), "Staging", fact="m version 2 can't become Staging"),
    "transition out, another surfaces": Path(
        stage(4, "Archived"), before=HIDDEN, fact=f"moving version 4 to Archived {SURFACES}"
    ),
    "transition to the other stage, another surfaces": Path(
        stage(4, "Staging"), before=HIDDEN, fact=f"moving version 4 to Staging {SURFACES}"
    ),
    "version deleted, another surfaces": Path(
        lambda s: s.delete_model_version("m", "4"), before=HIDDEN, fact=f"deleting version 4 {SURFACES}"
    ),
    "alias set": Path(alias("2"), "@live", fact="m version 2 can't become @live"),
    "alias set, version 02": Path(alias("02"), "@live", fact="m version 2 can't become @live"),
    "alias moved": Path(alias(2), "@live", before=(alias(1),), fact="m version 2 can't become @live"),
    "rename into a name that traders load": Path(
        renamed,
        becomes=1,
        before=(other_model,),
        model="awaited",
        fact="renaming new to awaited would make awaited version 1 Production",
    ),
    "model deleted and made anew": Path(
        stage(1), becomes=1, before=(replaced,), fact="m version 1 can't become Production"
    ),
    "copy of another model": Path(stage(6), becomes=6, before=(copied,), fact="m version 6 can't become Production"),
    "MLflow's own copy": Path(
        stage(6), becomes=6, before=(by_mlflows_copy,), fact="m version 6 can't become Production"
    ),
    "tagged as a prompt": Path(stage(2), before=(as_prompt,)),
    "another flavor": Path(
        stage(3), becomes=3, why="MLmodel has no ppo flavor", fact="m version 3 can't become Production"
    ),
    "unreadable source": Path(
        stage(5), becomes=5, why="MLmodel can't be read", fact="m version 5 can't become Production"
    ),
}


def prepared(store: SqlAlchemyStore, folders: Folders, path: Path) -> None:
    """Versions 1 and 4 (2.6.0), 2 (2.7.0), 3 (another flavor), 5 (nowhere); the path's own; then traders 2.6.0."""
    register(store, folders, "2.6.0", "2.7.0", "sklearn", "2.6.0", "missing")
    store.create_registered_model("awaited")
    for act in path.before:
        act(store)
    if isinstance(store, GuardMixin):
        for model in ("m", "awaited"):
            for label in ("Production", "Staging", "@live"):
                announce(store, announcement(model, label, version="2.6.0"))
    store.delete_registered_model("awaited")


@pytest.mark.parametrize("name", PATHS)
def test_the_gate_refuses_what_mlflow_does(
    name: str, store: GuardMixin, plain: SqlAlchemyStore, folders: Folders
) -> None:
    path = PATHS[name]
    for each in (store, plain):
        prepared(each, folders, path)
    stands = resolved(store, path.label, path.model)
    error = refused(lambda: path.act(store))
    assert path.fact in error.message[:150]
    assert path.why in error.message
    assert resolved(store, path.label, path.model) == stands != path.becomes
    path.act(plain)
    assert resolved(plain, path.label, path.model) == path.becomes


EMPTYING: dict[str, tuple[Act, str]] = {
    "transition out": (stage(2, "Archived"), "Production"),
    "alias deleted": (lambda s: s.delete_registered_model_alias("m", "live"), "@live"),
    "version deleted": (lambda s: s.delete_model_version("m", 2), "Production"),
    "model deleted": (lambda s: s.delete_registered_model("m"), "Production"),
    "renamed away": (lambda s: s.rename_registered_model("m", "elsewhere"), "Production"),
}


@pytest.mark.parametrize("path", EMPTYING)
def test_emptying_a_reference_is_never_blocked_and_is_told(path: str, store: GuardMixin, folders: Folders) -> None:
    act, label = EMPTYING[path]
    register(store, folders, "2.6.0", "2.7.0")
    for each in ("Production", "@live"):
        announce(store, announcement("m", each))
    stage(2)(store)
    alias(2)(store)
    act(store)
    assert resolved(store, label) is None
    last = rows(store)[-1]
    assert last["allowed"]
    assert f"{label} is empty" in last["fact"]


@pytest.mark.parametrize("archive", [False, True])
def test_repeating_what_stands_is_allowed_and_changes_nothing(
    archive: bool, store: GuardMixin, folders: Folders
) -> None:
    register(store, folders, "2.6.0")
    announce(store, announcement("m", version="2.6.0"))
    for _ in range(2):
        stage("01", "production", archive=archive)(store)
        alias(1, "other")(store)
    assert resolved(store, "Production") == 1
    # the announcement, and the one move
    assert [row["moves"] != "[]" for row in rows(store)] == [False, True]


def test_a_promotion_without_effect_is_refused_and_done_by_the_plain_store(
    store: GuardMixin, plain: SqlAlchemyStore, folders: Folders
) -> None:
    for each in (store, plain):
        register(each, folders, "2.6.0", "2.6.0")
        stage(2)(each)
    error = refused(lambda: stage(1)(store))
    assert "m version 1 can't become Production: version 2 stays there" in error.message[:150]
    stage(1)(plain)
    assert resolved(plain, "Production") == 2


@pytest.mark.parametrize("first", ["nothing", "no YAML"])
def test_what_could_not_be_read_enters_once_it_is_read_again(
    first: str, store: GuardMixin, plain: SqlAlchemyStore, tmp_path: FilePath
) -> None:
    folder = tmp_path / "model"
    if first == "no YAML":
        folder.mkdir()
        (folder / "MLmodel").write_text("flavors: [")
    for each in (store, plain):
        register(each, {"model": str(folder)}, "model")
    announce(store, announcement("m"))
    for each in ("Production", "Staging"):
        error = refused(lambda to=each: stage(1, to)(store))
        assert f"m version 1 can't become {each}: " in error.message[:150]
        assert "MLmodel" in error.message[:150]
    stage(1)(plain)
    assert resolved(plain, "Production") == 1
    write_mlmodel(folder, ppo_flavors(trained("2.7.0")))
    store.set_model_version_tag("m", 1, ModelVersionTag("ppo.reverify", "{}"))
    stage(1)(store)
    assert resolved(store, "Production") == 1
    assert "ppo.reverify" not in store.get_model_version("m", 1).tags


@pytest.mark.parametrize("label", ["@latest", "latest", "@Latest"])
def test_latest_cannot_be_announced(label: str, store: GuardMixin, folders: Folders) -> None:
    register(store, folders, "2.6.0")
    told = announcement("m").to_dict() | {"reference": {"model": "m", "label": label}}
    tag = RegisteredModelTag("ppo.announce", canonical_json(told).decode())
    with pytest.raises(MlflowException) as caught:
        store.set_registered_model_tag("m", tag)
    assert caught.value.get_http_status_code() == 400
    assert caught.value.message.startswith("ppo.announce.reference.")
    assert f"found '{label}', expected " in caught.value.message


def test_an_unguarded_model_is_let_alone_until_somebody_announces(
    store: GuardMixin, plain: SqlAlchemyStore, folders: Folders
) -> None:
    for each in (store, plain):
        register(each, folders, "sklearn", "sklearn")
        for act in (stage(2), stage(1), alias(2), stage(2, "None")):
            act(each)
        assert resolved(each, "Production") == 1
    assert rows(store) == []
    announce(store, announcement("m", "Staging"))
    error = refused(lambda: stage(2)(store))
    assert "MLmodel has no ppo flavor" in error.message[:150]
    stage(2)(plain)
    assert resolved(plain, "Production") == 2
