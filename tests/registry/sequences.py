"""Random sequences of everything that can be done to a registry, and an oracle of what the gate should say to each.

The oracle knows the naive registry and tables of the test's own; nothing of the package decides anything in it.
"""

import copy
from dataclasses import dataclass, field

from hypothesis import strategies as st
from packaging.version import Version

from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.trader import Announcement
from mlflow_ppo_flavor.registry import resolution
from mlflow_ppo_flavor.registry.resolution import Operation
from tests.registry.model_folders import announcement
from tests.registry.naive import ALIASES, NaiveRegistry, Row, numbers, operations

NAMES = ("a", "b", "c")
STAGES = ("Production", "Staging")
LABELS = (*STAGES, *(f"@{alias}" for alias in ALIASES))
EVERY_REFERENCE = sorted(Reference(name, label) for name in NAMES for label in LABELS)
# The lowest trader that runs a version of this kind; the other kinds are run by none.
LOWEST_TRADER = {"2.6.0": "2.4.0", "2.7.0": "2.7.0", "unproven": "2.4.0"}
KINDS = (*LOWEST_TRADER, "sklearn", "missing")
# What is there before the first step: `c` isn't guarded yet.
INITIAL = {
    "a": ("2.6.0", "2.7.0", "sklearn", "2.6.0", "2.7.0"),
    "b": ("2.7.0", "unproven", "2.6.0", "missing"),
    "c": ("sklearn", "sklearn", "missing"),
}


@dataclass(frozen=True)
class CreateModel:
    """A model is registered, without a version."""

    model: str


@dataclass(frozen=True)
class Register:
    """A version of a kind is registered; `way` chooses how its source is written."""

    model: str
    kind: str
    way: int = 0


@dataclass(frozen=True)
class Copy:
    """A version is registered anew from another: `models:/<model>/<version>`."""

    model: str
    version: int
    to: str


@dataclass(frozen=True)
class TagAsPrompt:
    """A model, and one version of it, get the tag that makes MLflow hide models."""

    model: str
    version: int


Step = Operation | Announcement | CreateModel | Register | Copy | TagAsPrompt
names = st.sampled_from(NAMES)
announcing = st.builds(
    announcement,
    names,
    st.sampled_from(LABELS),
    st.sampled_from(("live-1", "live-2")),
    st.sampled_from(("2.5.0", "2.6.0", "2.7.0")),
    paper=st.booleans(),
)
building = st.one_of(
    st.builds(CreateModel, names),
    st.builds(Register, names, st.sampled_from(KINDS), st.integers(0, 2)),
    st.builds(Copy, names, numbers, names),
    st.builds(TagAsPrompt, names, numbers),
)
promoting = st.one_of(
    st.builds(resolution.Transition, names, numbers, st.sampled_from(STAGES), st.booleans()),
    st.builds(resolution.SetAlias, names, st.sampled_from(ALIASES), numbers),
)
# each as often as it stands here: most of the steps should be what the gate is asked about
steps = st.lists(
    st.sampled_from(
        (promoting, promoting, announcing, announcing, operations(NAMES), operations(NAMES), building)
    ).flatmap(lambda chosen: chosen),
    min_size=6,
    max_size=14,
)


@dataclass
class World:
    """The registry as the test knows it: what stands, of which kind every version is, who announced for what."""

    naive: NaiveRegistry = field(default_factory=NaiveRegistry)
    kinds: dict[tuple[str, int], str] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)
    flavored: set[str] = field(default_factory=set)
    fleet: dict[Reference, dict[str, tuple[str, bool]]] = field(default_factory=dict)

    def loads(self) -> dict[Reference, int | None]:
        """What every reference loads."""
        return {each: self.naive.resolve(each.model, each.label) for each in EVERY_REFERENCE}

    def protected(self) -> set[Reference]:
        """Both stages of every model, and what traders announced for."""
        return {Reference(name, stage) for name in NAMES for stage in STAGES} | set(self.fleet)

    def guarded(self, model: str) -> bool:
        """Whether a version of it ever had the flavor, or a trader announced for it."""
        return model in self.flavored or any(reference.model == model for reference in self.fleet)

    def runs(self, reference: Reference, version: int, *traders: tuple[str, bool]) -> bool:
        """May these traders (version, paper), or else those that announced, or else the released one, run it?"""
        kind = self.kinds[reference.model, version]
        fleet = traders or tuple(self.fleet.get(reference, {}).values()) or (("2.7.0", True),)
        return kind in LOWEST_TRADER and all(
            Version(trader) >= Version(LOWEST_TRADER[kind]) and (paper or kind != "unproven") for trader, paper in fleet
        )

    def allows(self, step: Step) -> bool:
        """Whether the gate should let it pass."""
        if isinstance(step, Announcement):
            return self.allows_announcement(step)
        if not isinstance(step, Operation):
            return True
        after = copy.deepcopy(self)
        after.take(step)
        touched = {each for each in self.protected() if each.model in step.models}
        before, now = self.loads(), after.loads()
        entering = {each: version for each in touched if (version := now[each]) not in (None, before[each])}
        if not any(self.guarded(model) for model in step.models):
            return not any(after.kinds[each.model, v] == "missing" for each, v in entering.items() if v is not None)
        if self.without_effect(step, now):
            return False
        # judged for those who load the name that the version gets, by the kind that it has there
        return all(after.runs(each, version) for each, version in entering.items() if version is not None)

    def allows_announcement(self, step: Announcement) -> bool:
        present = self.naive.resolve(step.reference.model, step.reference.label)
        trader = (step.trader.version, step.trader.paper)
        missing = step.reference.model not in self.naive.names
        return missing or present is None or self.runs(step.reference, present, trader)

    def without_effect(self, step: Operation, now: dict[Reference, int | None]) -> bool:
        """A version enters a protected stage below a higher one that stays there."""
        if not isinstance(step, resolution.Transition) or step.stage not in STAGES:
            return False
        row = next((r for r in self.naive.rows if (r.model, r.version) == (step.model, step.version)), None)
        return row is not None and row.stage != step.stage and now[Reference(step.model, step.stage)] != step.version

    def take(self, step: Step) -> None:
        """Follow a step that was done."""
        match step:
            case Announcement():
                trader = step.trader
                self.fleet.setdefault(step.reference, {})[trader.trader_id] = (trader.version, trader.paper)
            case CreateModel(model):
                self.naive.names.add(model)
            case Register(model, kind):
                self.add(model, kind)
            case Copy(model, version, to):
                self.add(to, self.kinds[model, version])
            case resolution.DeleteModel(model):
                self.naive.do(step)
                self.flavored.discard(model)
                self.last.pop(model, None)
            case resolution.Rename(model, new_name):
                self.rename(step, model, new_name)
            case Operation():
                self.naive.do(step)

    def add(self, model: str, kind: str) -> None:
        """One more version."""
        self.last[model] = version = self.last.get(model, 0) + 1
        self.naive.rows.append(Row(model, version))
        self.kinds[model, version] = kind
        if kind in LOWEST_TRADER:
            self.flavored.add(model)

    def rename(self, step: Operation, model: str, new_name: str) -> None:
        if model not in self.naive.names or new_name in self.naive.names:
            return
        self.naive.do(step)
        self.kinds |= {(new_name, v): kind for (name, v), kind in self.kinds.items() if name == model}
        self.last[new_name] = self.last.pop(model, 0)
        self.flavored = {new_name if name == model else name for name in self.flavored - {new_name}}
