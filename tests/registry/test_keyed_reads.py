"""The guarded store's reads answer what MLflow's do, in no more statements."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import event

from mlflow_ppo_flavor.registry.keyed_reads import KeyedReads
from mlflow_ppo_flavor.registry.store import GuardMixin
from tests.registry.operating import Folders

READS: dict[str, Callable[[SqlAlchemyStore], Any]] = {
    "a version": lambda store: store.get_model_version("m", 2),
    "a version by its alias": lambda store: store.get_model_version_by_alias("m", "champion"),
    "versions found": lambda store: list(store.search_model_versions("name = 'm'", max_results=100)),
    "versions found by a tag": lambda store: list(store.search_model_versions("tag.colour = 'red'", max_results=100)),
    "all versions, two a page": lambda store: list(store.search_model_versions("", max_results=2)),
    "latest versions": lambda store: store.get_latest_versions("m"),
    "a model": lambda store: store.get_registered_model("m"),
    "models found": lambda store: list(store.search_registered_models("name LIKE '%'", max_results=100)),
    "versions of three models found": lambda store: list(store.search_model_versions("", max_results=100)),
    "models found by a tag": lambda store: list(store.search_registered_models("tag.team = 'a'")),
}


ODD = """{ü,"😀"} '$[0]' \\u0041 NULL %"""


def fill(store: SqlAlchemyStore, folders: Folders) -> None:
    """Models of odd names with tags and aliases, other versions of each in stages, one of them deleted."""
    for production, staging, model in ((2, 3, "m"), (1, 2, "n"), (3, 1, ODD)):
        store.create_registered_model(model, [RegisteredModelTag("team", "a"), RegisteredModelTag("desk", model)])
        for number in range(1, 5):
            tags = [ModelVersionTag("colour", ("red", "blue")[number % 2]), ModelVersionTag("n", str(number))]
            store.create_model_version(model, folders["2.6.0"], tags=tags)
        store.transition_model_version_stage(model, production, "Production", False)
        store.transition_model_version_stage(model, staging, "Staging", False)
        for alias, version in (("champion", 2), ("canary", 2), ("old", 1), ("gone", 4)):
            store.set_registered_model_alias(model, alias, version)
        store.delete_model_version(model, 4)


def told(found: Any) -> Any:
    """What an answer says, to the last field."""
    if isinstance(found, list):
        return [told(each) for each in found]
    return {name: told(value) if name == "latest_versions" else value for name, value in dict(found).items()}


@contextmanager
def counted(store: SqlAlchemyStore) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(*given: Any) -> None:
        seen.append(given[2])

    event.listen(store.engine, "before_cursor_execute", note)
    yield seen
    event.remove(store.engine, "before_cursor_execute", note)


def test_what_it_replaces_is_there_in_mlflow_with_the_same_parameters() -> None:
    replaced = [name for name in vars(KeyedReads) if hasattr(SqlAlchemyStore, name) and not name.startswith("__")]
    assert len(replaced) == 4
    for name in replaced:
        ours, theirs = (inspect.signature(getattr(store, name)) for store in (KeyedReads, SqlAlchemyStore))
        assert [each for each in ours.parameters if each != "self"] == [
            each for each in theirs.parameters if each != "self"
        ], name


def test_names_that_only_sqlite_takes_have_their_tags(store: GuardMixin, folders: Folders) -> None:
    names = ("a", "a\0b", "\0")
    for name in names:
        store.create_registered_model(name, [RegisteredModelTag("desk", name)])
        for number in "12":
            store.create_model_version(name, folders["sklearn"], tags=[ModelVersionTag("n", name + number)])
    versions = {(each.name, each.version): each.tags["n"] for each in store.search_model_versions("", max_results=9)}
    assert versions == {(name, number): name + str(number) for name in names for number in (1, 2)}
    assert {each.name: each.tags for each in store.search_registered_models("")} == {n: {"desk": n} for n in names}


class TestReads:
    def test_every_answer_is_that_of_mlflow(self, store: GuardMixin, folders: Folders) -> None:
        fill(store, folders)
        mlflows = SqlAlchemyStore(store.engine.url.render_as_string(hide_password=False))
        for what, ask in READS.items():
            found = told(ask(store))
            assert found == told(ask(mlflows)), what
            assert found, what

    def test_none_takes_more_statements_but_for_the_fleet_of_a_model(self, store: GuardMixin, folders: Folders) -> None:
        fill(store, folders)
        mlflows = SqlAlchemyStore(store.engine.url.render_as_string(hide_password=False))
        for what, ask in READS.items():
            with counted(store) as ours:
                ask(store)
            with counted(mlflows) as theirs:
                ask(mlflows)
            assert len(ours) <= len(theirs) + (what == "a model"), what

    def test_tags_are_found_by_key_and_not_by_searching_again(self, store: GuardMixin, folders: Folders) -> None:
        fill(store, folders)
        with counted(store) as seen:
            store.search_registered_models("")
        assert sum("row_number()" in statement for statement in seen) == 1

    def test_a_transition_brings_the_model_along(self, store: GuardMixin, folders: Folders) -> None:
        fill(store, folders)
        with counted(store) as seen:
            store.transition_model_version_stage("m", 3, "None", False)
        assert sum("JOIN registered_models" in statement for statement in seen) == 1
        assert not [statement for statement in seen if statement.startswith("SELECT registered_models.")]
