"""Ways to do one and the same step: by the store's methods, by MLflow's client, over REST; and what comes of it."""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.exceptions import MlflowException
from mlflow.prompt.constants import IS_PROMPT_TAG_KEY
from mlflow.store.artifact.utils.models import get_model_name_and_version
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking import MlflowClient

from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.trader import Announcement
from mlflow_ppo_flavor.registry import resolution
from mlflow_ppo_flavor.registry.resolution import Operation
from mlflow_ppo_flavor.registry.tables import HISTORY
from tests.registry.asking import LATER
from tests.registry.model_folders import announce_value, announcement, ppo_flavors, write_mlmodel
from tests.registry.sequences import (
    CONFLICT,
    EVERY_REFERENCE,
    INITIAL,
    KINDS,
    Ask,
    Copy,
    CreateModel,
    Register,
    Step,
    TagAsPrompt,
    World,
)

# MLflow's own errors, for what isn't there or is there already.
OWN_ERRORS = ("RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "INVALID_PARAMETER_VALUE")
_NUMBERS = itertools.count()
Sources = Mapping[str, Sequence[str]]


class Driver:
    """Does steps on one registry. Each has its own names, since examples share the registry: `a` is `a~17` there."""

    def __init__(self, database: str, sources: Sources, resolver: Any) -> None:
        self._engine = sqlalchemy.create_engine(database)
        self._sources = sources
        self._resolver = resolver
        self._suffix = f"~{next(_NUMBERS)}"
        self._seen = 0
        self.workspace = "default"

    def name(self, short: str) -> str:
        """What a model is called in the registry."""
        return short + self._suffix

    def source(self, kind: str, way: int) -> str:
        """One of the sources of a kind."""
        ways = self._sources[kind]
        return ways[way % len(ways)]

    def hides(self, step: Step) -> bool:
        """Whether it says itself that there is no such model, before it asks the registry."""
        del step
        return False

    def operate(self, step: Operation) -> None:
        """Change what stands; MlflowException where that is refused."""
        raise NotImplementedError

    def build(self, step: Step) -> None:
        """Announce, ask, register, copy or tag; MlflowException where that is refused."""
        raise NotImplementedError

    def attempt(self, step: Step) -> str:
        """Carry out a step; the error code where it is refused, `done` where it isn't."""
        try:
            with self.context():
                if isinstance(step, Operation):
                    self.operate(step)
                else:
                    self.build(step)
        except MlflowException as error:
            return str(error.error_code)
        return "done"

    def context(self) -> AbstractContextManager[Any]:
        """Within what a step is done, and asked for."""
        return nullcontext()

    def loads(self) -> dict[Reference, int | None]:
        """What every reference loads, by MLflow's own resolution of `models:/` URIs."""
        with self.context():
            return {each: self._load(Reference(self.name(each.model), each.label).uri) for each in EVERY_REFERENCE}

    def _load(self, uri: str) -> int | None:
        try:
            return int(get_model_name_and_version(self._resolver, uri)[1])
        except MlflowException as error:
            assert error.error_code in OWN_ERRORS or "No versions of model" in error.message, error  # noqa: PT017
            return None

    def told(self) -> list[dict[str, Any]]:
        """The rows that the history got since it was last asked."""
        query = sqlalchemy.select(HISTORY).where(
            HISTORY.c.id > self._seen,
            HISTORY.c.workspace == self.workspace,
            HISTORY.c.model.in_([self.name(name) for name in INITIAL]),
        )
        with self._engine.connect() as connection:
            found = [dict(row) for row in connection.execute(query.order_by(HISTORY.c.id)).mappings()]
        self._seen = max([self._seen, *(row["id"] for row in found)])
        return found

    def moves(self, row: Mapping[str, Any]) -> dict[Reference, int | None]:
        """The references that a row of the history says have moved, and where to."""
        moves = json.loads(row["moves"].replace(self._suffix, ""))
        named = {str(each): each for each in EVERY_REFERENCE}
        return {named[move["reference"]]: move["after"] and move["after"]["version"] for move in moves}

    def announced(self, step: Announcement) -> str:
        """The tag's value, for the name that the model has here."""
        trader = step.trader
        told = announcement(
            self.name(step.reference.model),
            step.reference.label,
            trader.trader_id,
            trader.version,
            paper=trader.paper,
        )
        return announce_value(told)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()
        if isinstance(self._resolver, SqlAlchemyStore):
            self._resolver.engine.dispose()


class StoreDriver(Driver):
    """By the store's own methods."""

    def __init__(self, store: SqlAlchemyStore, sources: Sources) -> None:
        super().__init__(str(store.engine.url), sources, store)
        self._store = store

    def operate(self, step: Operation) -> None:
        store, name = self._store, self.name
        match step:
            case resolution.Transition(model, version, stage, archive):
                store.transition_model_version_stage(name(model), f"0{version}", stage.lower(), archive)
            case resolution.SetAlias(model, alias, version):
                store.set_registered_model_alias(name(model), alias, str(version))
            case resolution.DeleteAlias(model, alias):
                store.delete_registered_model_alias(name(model), alias)
            case resolution.DeleteVersion(model, version):
                store.delete_model_version(name(model), version)
            case resolution.DeleteModel(model):
                store.delete_registered_model(name(model))
            case resolution.Rename(model, new_name):
                store.rename_registered_model(name(model), name(new_name))

    def build(self, step: Step) -> None:
        store, name = self._store, self.name
        match step:
            case Announcement():
                store.set_registered_model_tag(*self._announcement(step))
            case Ask(model, request):
                store.set_registered_model_tag(name(model), RegisteredModelTag(request.tag, request.value))
            case CreateModel(model):
                store.create_registered_model(name(model))
            case Register(model, kind, way):
                store.create_model_version(name(model), self.source(kind, way))
            case Copy(model, version, to):
                store.create_model_version(name(to), f"models:/{name(model)}/{version}")
            case TagAsPrompt(model, version):
                store.set_registered_model_tag(name(model), RegisteredModelTag(IS_PROMPT_TAG_KEY, "true"))
                store.set_model_version_tag(name(model), version, ModelVersionTag(IS_PROMPT_TAG_KEY, "true"))

    def _announcement(self, step: Announcement) -> tuple[str, RegisteredModelTag]:
        return self.name(step.reference.model), RegisteredModelTag("ppo.announce", self.announced(step))


class ClientDriver(StoreDriver):
    """By MLflow's client, whose registry URI is `ppo:<database URI>`."""

    def __init__(self, uri: str, sources: Sources) -> None:
        self._client = MlflowClient(tracking_uri=uri, registry_uri=f"ppo:{uri}")
        Driver.__init__(self, uri, sources, self._client)
        self._prompts: set[str] = set()

    def hides(self, step: Step) -> bool:
        """Whether MLflow's client says itself that there is no such model: it does of those tagged as prompts."""
        named = step.reference.model if isinstance(step, Announcement) else getattr(step, "model", "")
        return named in self._prompts

    def operate(self, step: Operation) -> None:
        client, name = self._client, self.name
        match step:
            case resolution.Transition(model, version, stage, archive):
                client.transition_model_version_stage(name(model), f"0{version}", stage.upper(), archive)
            case resolution.SetAlias(model, alias, version):
                client.set_registered_model_alias(name(model), alias, f"0{version}")
            case resolution.DeleteAlias(model, alias):
                client.delete_registered_model_alias(name(model), alias)
            case resolution.DeleteVersion(model, version):
                client.delete_model_version(name(model), str(version))
            case resolution.DeleteModel(model):
                client.delete_registered_model(name(model))
            case resolution.Rename(model, new_name):
                client.rename_registered_model(name(model), name(new_name))

    def build(self, step: Step) -> None:
        client, name = self._client, self.name
        match step:
            case Announcement():
                client.set_registered_model_tag(name(step.reference.model), "ppo.announce", self.announced(step))
            case Ask(model, request):
                client.set_registered_model_tag(name(model), request.tag, request.value)
            case CreateModel(model):
                client.create_registered_model(name(model))
            case Register(model, kind, way):
                client.create_model_version(name(model), self.source(kind, way))
            case Copy(model, version, to):
                self._copy(f"models:/{name(model)}/{version}", name(to))
            case TagAsPrompt(model, version):
                client.set_registered_model_tag(name(model), IS_PROMPT_TAG_KEY, "true")
                self._prompts.add(model)
                client.set_model_version_tag(name(model), str(version), IS_PROMPT_TAG_KEY, "true")

    def _copy(self, source: str, to: str) -> None:
        # the client's own copy would first register the model that isn't there: another step does that
        self._client.get_registered_model(to)
        self._client.copy_model_version(source, to)


def populate(driver: Driver) -> World:
    """What INITIAL lists, in the registry and in the test's own world."""
    world = World()
    for model, kinds in INITIAL.items():
        for way, step in enumerate([CreateModel(model), *(Register(model, kind) for kind in kinds)]):
            chosen = Register(step.model, step.kind, way) if isinstance(step, Register) else step
            outcome = driver.attempt(chosen)
            assert outcome == "done", (chosen, outcome)
            world.take(chosen)
    driver.told()
    return world


def follow(driver: Driver, steps: Sequence[Step]) -> None:
    """Do the steps, and compare what the gate says, tells and lets MLflow do with the test's own world each time."""
    world = populate(driver)
    before = driver.loads()
    assert before == world.loads()
    for step in steps:
        allowed, protected = world.allows(step), world.protected()
        guarded = isinstance(step, Ask) or (
            isinstance(step, Operation) and any(world.guarded(model) for model in step.models)
        )
        answer = world.answer(step) if isinstance(step, Ask) else None
        outcome = driver.attempt(step)
        after = driver.loads()
        if outcome == "RESOURCE_DOES_NOT_EXIST" and driver.hides(step):
            assert after == before, (step, outcome)
            continue
        assert (outcome == CONFLICT) == (not allowed), (step, outcome)
        # MLflow's word where what is to be copied isn't there
        unfound = ("INTERNAL_ERROR",) if isinstance(step, Copy) else ()
        assert outcome in ("done", CONFLICT, *OWN_ERRORS, *unfound), (step, outcome)
        assert answer in (None, outcome), (step, outcome)
        if outcome == "done":
            world.take(step)
        assert after == world.loads(), (step, outcome)
        moved = {each: after[each] for each in protected if after[each] != before[each]}
        _check_moves(step, moved, world)
        _check_told(driver, step, outcome, moved if guarded else {}, after)
        before = after
    driver.close()


def _check_moves(step: Step, moved: Mapping[Reference, int | None], world: World) -> None:
    """No reference of a guarded model has moved to what was forbidden at that moment."""
    for reference, version in moved.items():
        if version is not None and world.guarded(reference.model):
            assert world.runs(reference, version), (step, reference, version)


def _check_told(
    driver: Driver,
    step: Step,
    outcome: str,
    moved: Mapping[Reference, int | None],
    loads: Mapping[Reference, int | None],
) -> None:
    """The guard's prediction, as it stands in the history, is what MLflow has then loaded.

    What moves on a model that nobody knows to be guarded isn't the gate's to tell; what an alias loads already when the
    first trader announces for it is told as adopted, and so is what had no verdict when somebody repeats it.
    """
    kinds = [(json.loads(row["operation"])["kind"], row) for row in driver.told()]
    rows = [row for kind, row in kinds if kind not in ("announce", "adopt", "retire")]
    for row in (row for kind, row in kinds if kind == "adopt"):
        entered = _entered(step)
        assert entered is not None, step
        assert entered not in moved, step
        assert driver.moves(row) == {entered: loads[entered]}
    if isinstance(step, Ask):
        # an answered one is a row, allowed or not
        answered = [row["allowed"] for kind, row in kinds if kind == step.request.tag.removeprefix("ppo.")]
        assert answered == {"done": [True], CONFLICT: [False]}.get(outcome, []), (step, outcome)
    if outcome == CONFLICT and not isinstance(step, Announcement):
        assert [row["allowed"] for row in rows] == [False], step
    told = {each: version for row in rows if row["allowed"] for each, version in driver.moves(row).items()}
    assert told == moved, step


def _entered(step: Step) -> Reference | None:
    """The reference for which a step is announced, or that it sets."""
    match step:
        case Announcement():
            return step.reference
        case resolution.Transition(model, _, stage):
            return Reference(model, stage)
        case resolution.SetAlias(model, alias):
            return Reference(model, f"@{alias}")
    return None


def sources_of(folders: Mapping[str, str], *ways: Callable[[str], str]) -> Iterator[tuple[str, list[str]]]:
    """The sources of every kind, each written in all ways."""
    later = Path(folders["2.7.0"]).parent / "later"
    made = {**folders, "later": str(write_mlmodel(later, ppo_flavors(LATER)))}
    for kind in KINDS:
        yield kind, [way(made[kind]) for way in ways]
