"""Random operations on MLflow's real SQL store: `resolution` predicts what MLflow then loads, and the gate holds."""

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.entities.model_registry import RegisteredModelTag
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from packaging.version import Version

from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.trader import Announcement
from mlflow_ppo_flavor.registry import resolution
from mlflow_ppo_flavor.registry.resolution import Operation, moves, stage_references
from mlflow_ppo_flavor.registry.standing import Standing
from tests import tiers
from tests.registry import databases
from tests.registry.model_folders import announce_value, announcement
from tests.registry.naive import ALIASES, NaiveRegistry, Row, operations

NAMES = ("a", "b")
# The version number says what a version is: the test's own table, which no code under test reads.
KINDS = {1: "2.6.0", 2: "2.7.0", 3: "sklearn", 4: "2.6.0", 5: "2.7.0"}
LOWEST_TRADER = {"2.6.0": "2.4.0", "2.7.0": "2.7.0"}
EVERY_REFERENCE = stage_references(NAMES) | {Reference(name, f"@{alias}") for name in NAMES for alias in ALIASES}
announcing = st.builds(
    announcement,
    st.sampled_from(NAMES),
    st.sampled_from(("Production", "Staging", *(f"@{alias}" for alias in ALIASES))),
    st.sampled_from(("live-1", "live-2")),
    st.sampled_from(("2.5.0", "2.6.0", "2.7.0")),
)
steps = st.lists(st.one_of(operations(NAMES), operations(NAMES), announcing), min_size=4, max_size=12)


def do(store: SqlAlchemyStore, step: Operation | Announcement) -> None:
    """Carry out a step by the store's own methods."""
    match step:
        case resolution.Transition(model, version, stage, archive):
            store.transition_model_version_stage(model, f"0{version}", stage.lower(), archive)
        case resolution.SetAlias(model, alias, version):
            store.set_registered_model_alias(model, alias, str(version))
        case resolution.DeleteAlias(model, alias):
            store.delete_registered_model_alias(model, alias)
        case resolution.DeleteVersion(model, version):
            store.delete_model_version(model, version)
        case resolution.DeleteModel(model):
            store.delete_registered_model(model)
        case resolution.Rename(model, new_name):
            store.rename_registered_model(model, new_name)
        case Announcement():
            tag = RegisteredModelTag("ppo.announce", announce_value(step))
            store.set_registered_model_tag(step.reference.model, tag)


def loaded(store: SqlAlchemyStore) -> dict[Reference, int | None]:
    """What every reference loads, asked of MLflow."""
    found: dict[Reference, int | None] = dict.fromkeys(EVERY_REFERENCE)
    for reference in EVERY_REFERENCE:
        try:
            if reference.alias is None:
                latest = store.get_latest_versions(reference.model, [reference.label])
                found[reference] = max((int(mv.version) for mv in latest), default=None)
            else:
                found[reference] = int(store.get_model_version_by_alias(reference.model, reference.alias).version)
        except MlflowException as error:
            assert error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # noqa: PT017
    return found


def populate(store: SqlAlchemyStore, folders: dict[str, str]) -> NaiveRegistry:
    """Two models of five versions, and the naive registry of the same."""
    for name in NAMES:
        store.create_registered_model(name)
        for version in KINDS:
            store.create_model_version(name, folders[KINDS[version]])
    return NaiveRegistry(set(NAMES), [Row(name, version) for name in NAMES for version in KINDS])


def attempt(store: SqlAlchemyStore, step: Operation | Announcement) -> str:
    """Carry out a step; the error code where it is refused, `done` where it isn't."""
    try:
        do(store, step)
    except MlflowException as error:
        return error.error_code
    return "done"


@settings(max_examples=tiers.COSTLY_EXAMPLES)
@given(steps=st.lists(operations(NAMES), min_size=4, max_size=12))
def test_prediction_equals_what_mlflow_then_loads(
    tmp_path_factory: Any, folders: dict[str, str], steps: list[Operation]
) -> None:
    store = databases.unguarded(tmp_path_factory.mktemp("random"))
    naive = populate(store, folders)
    for step in steps:
        with store.ManagedSessionMaker() as session:
            models = Standing(session, "default").models(step.models, step.versions)
        predicted = {move.reference: move.after and move.after.version for move in moves(models, step, EVERY_REFERENCE)}
        before = loaded(store)
        attempt(store, step)
        after = loaded(store)
        assert {reference: v for reference, v in after.items() if v != before[reference]} == {
            reference: v for reference, v in predicted.items() if v != before[reference]
        }
        naive.do(step)
        assert after == {reference: naive.resolve(reference.model, reference.label) for reference in EVERY_REFERENCE}
    store.engine.dispose()


def runs(kind: str, traders: list[str]) -> bool:
    """The oracle: may traders of these versions run a version of this kind?"""
    return kind in LOWEST_TRADER and all(Version(each) >= Version(LOWEST_TRADER[kind]) for each in traders)


class Oracle:
    """What the gate should say, from the test's own tables and the naive registry alone."""

    def __init__(self, naive: NaiveRegistry) -> None:
        self.naive = naive
        self.fleet: dict[Reference, dict[str, str]] = {}

    def traders(self, reference: Reference) -> list[str]:
        return list(self.fleet.get(reference, {}).values()) or ["2.7.0"]

    def protected(self) -> set[Reference]:
        return stage_references(NAMES) | set(self.fleet)

    def expects(self, step: Operation | Announcement) -> bool:
        """Whether the step is allowed."""
        if isinstance(step, Announcement):
            present = self.naive.resolve(step.reference.model, step.reference.label)
            return present is None or runs(KINDS[present], [step.trader.version])
        models = self.naive.models()
        if resolution.without_effect(models, step) is not None:
            return False
        return all(
            move.after is None or runs(KINDS[move.after.version], self.traders(move.reference))
            for move in moves(models, step, self.protected())
        )

    def take(self, step: Operation | Announcement) -> None:
        """Follow a step that was done."""
        if isinstance(step, Announcement):
            self.fleet.setdefault(step.reference, {})[step.trader.trader_id] = step.trader.version
        else:
            self.naive.do(step)


@settings(max_examples=tiers.COSTLY_EXAMPLES)
@given(steps=steps)
def test_no_operation_moves_a_reference_to_a_version_that_its_fleet_cannot_run(
    tmp_path_factory: Any, folders: dict[str, str], steps: list[Operation | Announcement]
) -> None:
    store = databases.guarded(Path(tmp_path_factory.mktemp("random")))
    oracle = Oracle(populate(store, folders))
    for step in steps:
        before, allowed = loaded(store), oracle.expects(step)
        outcome = attempt(store, step)
        after = loaded(store)
        assert (outcome == "RESOURCE_CONFLICT") == (not allowed), (step, outcome)
        for reference in oracle.protected():
            now = after[reference]
            if now != before[reference] and now is not None:
                assert runs(KINDS[now], oracle.traders(reference)), (step, reference, now)
        if outcome == "RESOURCE_CONFLICT":
            assert after == before
        elif outcome == "done":
            oracle.take(step)
        assert after == {
            reference: oracle.naive.resolve(reference.model, reference.label) for reference in EVERY_REFERENCE
        }
    store.engine.dispose()
