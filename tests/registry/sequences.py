"""Random sequences of everything that can be done to a registry, and an oracle of what the gate should say to each.

The oracle knows the naive registry and tables of the test's own; nothing of the package decides anything in it.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st
from packaging.version import Version

from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.request import Request, Retire, Rollback, Withdraw
from mlflow_ppo_flavor.contract.trader import Announcement
from mlflow_ppo_flavor.registry import resolution
from mlflow_ppo_flavor.registry.resolution import Operation
from tests.registry.model_folders import announcement
from tests.registry.naive import ALIASES, NaiveRegistry, Row, numbers, operations

CONFLICT = "RESOURCE_CONFLICT"
NAMES = ("a", "b", "c")
STAGES = ("Production", "Staging")
LABELS = (*STAGES, *(f"@{alias}" for alias in ALIASES))
EVERY_REFERENCE = sorted(Reference(name, label) for name in NAMES for label in LABELS)
# The lowest trader that runs a version of this kind; the other kinds are run by none.
# `later` differs from 2.7.0 in that alone: nothing but a version finding keeps a trader from it.
LOWEST_TRADER = {"2.6.0": "2.4.0", "2.7.0": "2.7.0", "unproven": "2.4.0", "later": "2.8.0"}
KINDS = (*LOWEST_TRADER, "sklearn", "missing")
# What is there before the first step: `c` isn't guarded yet.
INITIAL = {
    "a": ("2.6.0", "2.7.0", "sklearn", "2.6.0", "2.7.0"),
    "b": ("2.7.0", "unproven", "2.6.0", "missing", "later"),
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


@dataclass(frozen=True)
class Ask:
    """A rollback, a withdrawal or a retirement is asked for, by the model's tag."""

    model: str
    request: Request


Step = Operation | Announcement | CreateModel | Register | Copy | TagAsPrompt | Ask
names, labels, traders = st.sampled_from(NAMES), st.sampled_from(LABELS), st.sampled_from(("live-1", "live-2"))
releases = st.sampled_from(("2.5.0", "2.6.0", "2.7.0"))
announcing = st.builds(announcement, names, labels, traders, releases, paper=st.booleans())
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
asking = st.builds(
    Ask,
    names,
    st.one_of(st.builds(Rollback, labels), st.builds(Withdraw, labels), st.builds(Retire, traders, st.none() | labels)),
)


# each as often as it stands here: most of the steps should be what the gate is asked about
general = (promoting, promoting, announcing, announcing, operations(NAMES), operations(NAMES), building, asking)


def past(reference: Reference) -> st.SearchStrategy[list[Step]]:
    """Steps that give one reference a past and take it back there, while those who load it come and go."""
    model, label = st.just(reference.model), st.just(reference.label)
    entering: st.SearchStrategy[Step] = st.builds(resolution.Transition, model, numbers, label, st.booleans())
    if reference.alias is not None:
        entering = st.builds(resolution.SetAlias, model, st.just(reference.alias), numbers)
    told = st.builds(announcement, model, label, traders, releases, paper=st.booleans())
    retired = st.builds(Ask, model, st.builds(Retire, traders, st.none() | label))
    back, out = (st.builds(Ask, model, st.builds(request, label)) for request in (Rollback, Withdraw))
    later = (entering, entering, back, back, back, out, told, retired, st.one_of(general))
    first = st.permutations(range(1, 6)).map(lambda order: entered(reference, order[:4]))
    then = st.lists(st.sampled_from(later).flatmap(lambda chosen: chosen), min_size=4, max_size=9)
    return st.tuples(first, then).map(lambda both: [*both[0], *both[1]])


def entered(reference: Reference, order: Sequence[int]) -> list[Step]:
    """These versions enter a reference one after the other; an alias is one that somebody loads."""
    model, label, alias = reference.model, reference.label, reference.alias
    if alias is None:
        return [resolution.Transition(model, version, label, archive_existing=True) for version in order]
    return [announcement(model, label), *(resolution.SetAlias(model, alias, version) for version in order)]


steps = st.one_of(
    st.lists(st.sampled_from(general).flatmap(lambda chosen: chosen), min_size=6, max_size=14),
    st.sampled_from([each for each in EVERY_REFERENCE if each.model != "c"]).flatmap(past),
)


@dataclass
class World:
    """The registry as the test knows it: what stands, of which kind every version is, who announced for what, and which
    versions every reference was let load, in order. `made` tells a version from another that had its name and number.
    """

    naive: NaiveRegistry = field(default_factory=NaiveRegistry)
    kinds: dict[tuple[str, int], str] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)
    flavored: set[str] = field(default_factory=set)
    fleet: dict[Reference, dict[str, tuple[str, bool]]] = field(default_factory=dict)
    made: dict[tuple[str, int], int] = field(default_factory=dict)
    ran: dict[Reference, list[tuple[int, int]]] = field(default_factory=dict)

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
        """May these traders (version, paper), or else those that announced, or else the released one, run it?

        Staging only warns that a trader is too old, until one announced for that very reference.
        """
        kind = self.kinds[reference.model, version]
        announced = traders or tuple(self.fleet.get(reference, {}).values())
        warned = reference.label == "Staging" and not announced
        return kind in LOWEST_TRADER and all(
            (warned or Version(trader) >= Version(LOWEST_TRADER[kind])) and (paper or kind != "unproven")
            for trader, paper in announced or (("2.7.0", True),)
        )

    def allows(self, step: Step) -> bool:
        """Whether the gate should let it pass."""
        if isinstance(step, Announcement):
            return self.allows_announcement(step)
        if isinstance(step, Ask):
            return self.answer(step) != CONFLICT
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

    def answer(self, step: Ask) -> str:
        """What a request is answered: the error's code, or `done`."""
        if step.model not in self.naive.names:
            return "RESOURCE_DOES_NOT_EXIST"
        match step.request:
            case Retire():
                return "done" if self.retired(step.model, step.request) else "RESOURCE_DOES_NOT_EXIST"
            case Rollback(label) if self.guarded(step.model):
                return CONFLICT if self.goes_back(Reference(step.model, label)) is None else "done"
            case Withdraw() if self.guarded(step.model):
                return "done"
        return "INVALID_PARAMETER_VALUE"

    def retired(self, model: str, asked: Retire) -> list[Reference]:
        """The references whose trader a retirement means."""
        here = [each for each in self.fleet if each.model == model and asked.reference in (None, each.label)]
        return [each for each in here if asked.trader_id in self.fleet[each]]

    def goes_back(self, reference: Reference) -> int | None:
        """The version that a rollback makes a reference load: the last that it loaded before the present one first ran
        there, that is still there, and that can be moved there with nothing entering what may not run it.
        """
        model, before = reference.model, self.loads()
        present, ran = before[reference], self.ran.get(reference, [])
        running = None if present is None else (present, self.made[model, present])
        for version, made in reversed(ran[: ran.index(running)] if running in ran else ran):
            if not self.naive.exists(model, version) or self.made[model, version] != made:
                continue
            after = copy.deepcopy(self)
            after.naive.rollback(resolution.Rollback(model, reference.label, version))
            now = after.loads()
            moved = {other: now[other] for other in self.protected() | {reference} if now[other] != before[other]}
            if all(self.runs(other, entering) for other, entering in moved.items() if entering is not None):
                return version
        return None

    def withdraw(self, reference: Reference) -> None:
        """The top of a stage leaves it, and whatever would surface and may not run there; an alias is deleted."""
        model, label = reference.model, reference.label
        inside = sorted((r.version for r in self.naive.rows if (r.model, r.stage) == (model, label)), reverse=True)
        for count, version in enumerate(inside):
            if count and self.runs(reference, version):
                break
            self.naive.do(resolution.Transition(model, version, "Archived"))
        if reference.alias is not None:
            self.naive.do(resolution.DeleteAlias(model, reference.alias))

    def without_effect(self, step: Operation, now: dict[Reference, int | None]) -> bool:
        """A version enters a protected stage below a higher one that stays there."""
        if not isinstance(step, resolution.Transition) or step.stage not in STAGES:
            return False
        row = next((r for r in self.naive.rows if (r.model, r.version) == (step.model, step.version)), None)
        return row is not None and row.stage != step.stage and now[Reference(step.model, step.stage)] != step.version

    def take(self, step: Step) -> None:
        """Follow a step that was done, and note what it made protected references of guarded models load."""
        before, protected = self.loads(), self.protected()
        guarded = isinstance(step, Ask) or (
            isinstance(step, Operation) and any(self.guarded(model) for model in step.models)
        )
        self.do(step)
        now = self.loads()
        moved = {each for each in protected if guarded and now[each] != before[each]}
        if isinstance(step, Announcement) and step.reference.alias is not None:
            # what an alias loads is ruled on when the first trader announces for it
            moved |= {step.reference} - protected
        for each in moved:
            if (version := now[each]) is not None:
                self.ran.setdefault(each, []).append((version, self.made[each.model, version]))

    def do(self, step: Step) -> None:
        """Follow a step that was done in what stands."""
        match step:
            case Announcement():
                trader = step.trader
                self.fleet.setdefault(step.reference, {})[trader.trader_id] = (trader.version, trader.paper)
            case Ask():
                self.grant(step)
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

    def grant(self, step: Ask) -> None:
        match step.request:
            case Retire():
                for each in self.retired(step.model, step.request):
                    del self.fleet[each][step.request.trader_id]
                self.fleet = {each: told for each, told in self.fleet.items() if told}
            case Rollback(label):
                version = self.goes_back(Reference(step.model, label))
                assert version is not None, step
                self.naive.rollback(resolution.Rollback(step.model, label, version))
            case Withdraw(label):
                self.withdraw(Reference(step.model, label))

    def add(self, model: str, kind: str) -> None:
        """One more version."""
        self.last[model] = version = self.last.get(model, 0) + 1
        self.naive.rows.append(Row(model, version))
        self.kinds[model, version] = kind
        self.made[model, version] = max(self.made.values(), default=0) + 1
        if kind in LOWEST_TRADER:
            self.flavored.add(model)

    def rename(self, step: Operation, model: str, new_name: str) -> None:
        if model not in self.naive.names or new_name in self.naive.names:
            return
        self.naive.do(step)
        self.kinds |= {(new_name, v): kind for (name, v), kind in self.kinds.items() if name == model}
        self.made |= {(new_name, v): made for (name, v), made in self.made.items() if name == model}
        self.last[new_name] = self.last.pop(model, 0)
        self.flavored = {new_name if name == model else name for name in self.flavored - {new_name}}
