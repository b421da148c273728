"""Pure: the registry as it stands + one operation → which protected references resolve elsewhere.

MLflow's rules, measured: a stage resolves to the HIGHEST version number in it, not to the last one moved there; an
alias to the version that it names; deleting a version deletes its aliases; a rename carries stages and aliases along.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

from mlflow_ppo_flavor.contract.reference import PROTECTED_STAGES, Reference

NO_STAGE, ARCHIVED = "None", "Archived"


@dataclass(frozen=True, slots=True, order=True)
class VersionKey:
    """One version of a registered model, by the name that the model has before the operation."""

    model: str
    version: int


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """What resolution needs of one registered model: {version: stage} and {alias: version}.

    `stages` may leave out versions outside the protected stages, as long as the operation doesn't name them. `missing`:
    the versions that aliases name and that aren't there, as somebody wrote who went round MLflow.
    """

    name: str
    stages: Mapping[int, str]
    aliases: Mapping[str, int]
    missing: frozenset[int] = frozenset()

    def resolve(self, reference: Reference) -> int | None:
        """The version that a reference to this model loads; None where it loads nothing."""
        if reference.alias is not None:
            version = self.aliases.get(reference.alias)
            return None if version in self.missing else version
        return max((v for v, stage in self.stages.items() if stage == reference.label), default=None)


Models = Mapping[str, RegisteredModel]


@dataclass(frozen=True, slots=True)
class Operation:
    """One call that changes a registered model; `model` is the name that it is called with.

    `retreats`: it takes a reference back from what it loads, for which the fleet's verdict is enough.
    """

    kind: ClassVar[str]
    words: ClassVar[str]
    retreats: ClassVar[bool] = False
    model: str

    @property
    def models(self) -> tuple[str, ...]:
        """The names whose references the operation can move."""
        return (self.model,)

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions of `model` that the operation names."""
        version = getattr(self, "version", None)
        return () if version is None else (version,)

    def origin(self, name: str) -> str:
        """The name that the model called `name` after the operation had before it."""
        return name

    def apply(self, models: Models) -> Models:
        """The registry after MLflow did it; unchanged where MLflow would refuse it."""
        model = models.get(self.model)
        return models if model is None else {**models, self.model: self._change(model)}

    def _change(self, model: RegisteredModel) -> RegisteredModel:
        raise NotImplementedError

    @property
    def doing(self) -> str:
        """The operation in words: `moving version 3 to Archived`."""
        return self.words.format(**asdict(self))

    def to_dict(self) -> dict[str, Any]:
        """The operation as JSON values, for the history."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True, slots=True)
class Transition(Operation):
    """A version moves to another stage; `archive_existing` moves all others of that stage to Archived."""

    kind = "transition"
    words = "moving version {version} to {stage}"
    version: int
    stage: str
    archive_existing: bool = False

    def _change(self, model: RegisteredModel) -> RegisteredModel:
        if self.version not in model.stages:
            return model
        others = {
            version: ARCHIVED if self.archive_existing and stage == self.stage else stage
            for version, stage in model.stages.items()
        }
        return replace(model, stages={**others, self.version: self.stage})


@dataclass(frozen=True, slots=True)
class SetAlias(Operation):
    """An alias is set to a version."""

    kind = "set alias"
    words = "setting @{alias} to version {version}"
    alias: str
    version: int

    def _change(self, model: RegisteredModel) -> RegisteredModel:
        if self.version not in model.stages:
            return model
        return replace(model, aliases={**model.aliases, self.alias: self.version})


@dataclass(frozen=True, slots=True)
class DeleteAlias(Operation):
    """An alias is deleted."""

    kind = "delete alias"
    words = "deleting @{alias}"
    alias: str

    def _change(self, model: RegisteredModel) -> RegisteredModel:
        return replace(model, aliases={a: v for a, v in model.aliases.items() if a != self.alias})


@dataclass(frozen=True, slots=True)
class DeleteVersion(Operation):
    """A version is deleted, and its aliases with it."""

    kind = "delete version"
    words = "deleting version {version}"
    version: int

    def _change(self, model: RegisteredModel) -> RegisteredModel:
        stages = {v: stage for v, stage in model.stages.items() if v != self.version}
        return replace(model, stages=stages, aliases={a: v for a, v in model.aliases.items() if v != self.version})


@dataclass(frozen=True, slots=True)
class DeleteModel(Operation):
    """A registered model is deleted with all its versions and aliases."""

    kind = "delete model"
    words = "deleting the model"

    def apply(self, models: Models) -> Models:
        """The registry without the model."""
        return {name: model for name, model in models.items() if name != self.model}


@dataclass(frozen=True, slots=True)
class Rename(Operation):
    """A registered model gets a new name and takes stages and aliases along."""

    kind = "rename"
    words = "renaming {model} to {new_name}"
    new_name: str

    @property
    def models(self) -> tuple[str, ...]:
        """Both names."""
        return (self.model, self.new_name)

    def origin(self, name: str) -> str:
        """The old name for the new one."""
        return self.model if name == self.new_name else name

    def apply(self, models: Models) -> Models:
        """The registry with the model under its new name; unchanged where that is taken."""
        if self.model not in models or self.new_name in models:
            return models
        rest = {name: model for name, model in models.items() if name != self.model}
        return {**rest, self.new_name: replace(models[self.model], name=self.new_name)}


@dataclass(frozen=True, slots=True)
class CreateModel(Operation):
    """A model is registered, without any version."""

    kind = "create model"
    words = "registering the model"

    def apply(self, models: Models) -> Models:
        """The registry with the model; unchanged where it is there."""
        return {self.model: RegisteredModel(self.model, {}, {}), **models}


@dataclass(frozen=True, slots=True)
class CreateVersion(Operation):
    """A version is registered, a copy of another model's too: it enters no stage and gets no alias, but for one that
    named its number before it was there.
    """

    kind = "create version"
    words = "registering version {version}"
    version: int

    def _change(self, model: RegisteredModel) -> RegisteredModel:
        stages = {self.version: NO_STAGE, **model.stages}
        return replace(model, stages=stages, missing=model.missing - {self.version})


@dataclass(frozen=True, slots=True)
class Rollback(Operation):
    """A reference loads a version again: it enters the stage and all above it there go to Archived; or the alias is set
    to it.
    """

    kind = "rollback"
    retreats = True
    words = "rolling {label} back to version {version}"
    label: str
    version: int

    def _change(self, model: RegisteredModel) -> RegisteredModel:
        if self.version not in model.stages:
            return model
        if self.label.startswith("@"):
            return replace(model, aliases={**model.aliases, self.label[1:]: self.version})
        others = {
            version: ARCHIVED if stage == self.label and version > self.version else stage
            for version, stage in model.stages.items()
        }
        return replace(model, stages={**others, self.version: self.label})


@dataclass(frozen=True, slots=True)
class Withdraw(Operation):
    """These versions of a stage go to Archived; an alias is deleted, whatever it loads."""

    kind = "withdraw"
    retreats = True
    words = "withdrawing {label}"
    label: str
    versions: tuple[int, ...] = field()

    def _change(self, model: RegisteredModel) -> RegisteredModel:
        if self.label.startswith("@"):
            return replace(model, aliases={a: v for a, v in model.aliases.items() if a != self.label[1:]})
        leaving = {v for v in self.versions if model.stages.get(v) == self.label}
        return replace(model, stages=dict(model.stages) | dict.fromkeys(leaving, ARCHIVED))


@dataclass(frozen=True, slots=True)
class Move:
    """A protected reference that resolves elsewhere after the operation; None where it resolves to nothing."""

    reference: Reference
    before: VersionKey | None
    after: VersionKey | None

    def to_dict(self) -> dict[str, Any]:
        """The move as JSON values, for the history and the error."""
        return {
            "reference": str(self.reference),
            "before": self.before and asdict(self.before),
            "after": self.after and asdict(self.after),
        }


def stage_references(names: Iterable[str]) -> set[Reference]:
    """Both protected stages of each model."""
    return {Reference(name, stage) for name in names for stage in PROTECTED_STAGES}


def moves(models: Models, operation: Operation, protected: Iterable[Reference]) -> tuple[Move, ...]:
    """Every protected reference that the operation makes resolve elsewhere, sorted."""
    after = operation.apply(models)
    if after is models:
        return ()
    found = (
        Move(
            reference,
            _resolve(models, reference, reference.model),
            _resolve(after, reference, operation.origin(reference.model)),
        )
        for reference in sorted(set(protected))
    )
    return tuple(move for move in found if move.before != move.after)


def without_effect(models: Models, operation: Operation) -> int | None:
    """The higher version below which a transition moves a version INTO a protected stage; None where it doesn't."""
    if not isinstance(operation, Transition) or operation.stage not in PROTECTED_STAGES:
        return None
    model = models.get(operation.model)
    if model is None or model.stages.get(operation.version) in (None, operation.stage):
        return None
    after = operation.apply(models)[operation.model]
    top = after.resolve(Reference(operation.model, operation.stage))
    return None if top == operation.version else top


def _resolve(models: Models, reference: Reference, origin: str) -> VersionKey | None:
    model = models.get(reference.model)
    version = None if model is None else model.resolve(reference)
    return None if version is None else VersionKey(origin, version)
