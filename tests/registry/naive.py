"""MLflow's registry as its documentation tells it, row by row and changed in place: an oracle for `resolution`."""

from dataclasses import dataclass, field

from hypothesis import strategies as st

from mlflow_ppo_flavor.registry import resolution
from mlflow_ppo_flavor.registry.resolution import RegisteredModel

NAMES = ("a", "b", "c")
ALIASES = ("champion", "canary")
STAGES = ("None", "Staging", "Production", "Archived")
numbers = st.integers(1, 5)


@dataclass
class Row:
    """One model version."""

    model: str
    version: int
    stage: str = "None"


@dataclass
class NaiveRegistry:
    """Rows of versions and of aliases; every operation is a loop over them."""

    names: set[str] = field(default_factory=set)
    rows: list[Row] = field(default_factory=list)
    aliases: list[tuple[str, str, int]] = field(default_factory=list)

    def do(self, operation: resolution.Operation) -> None:
        """Carry out an operation as MLflow does; nothing where MLflow raises an error."""
        getattr(self, type(operation).__name__.lower())(operation)

    def exists(self, model: str, version: int) -> bool:
        return any(row.model == model and row.version == version for row in self.rows)

    def transition(self, op: resolution.Transition) -> None:
        if not self.exists(op.model, op.version):
            return
        for row in self.rows:
            if row.model == op.model and row.version == op.version:
                row.stage = op.stage
            elif row.model == op.model and row.stage == op.stage and op.archive_existing:
                row.stage = "Archived"

    def setalias(self, op: resolution.SetAlias) -> None:
        if self.exists(op.model, op.version):
            self.deletealias(resolution.DeleteAlias(op.model, op.alias))
            self.aliases.append((op.model, op.alias, op.version))

    def deletealias(self, op: resolution.DeleteAlias) -> None:
        self.aliases = [entry for entry in self.aliases if entry[:2] != (op.model, op.alias)]

    def deleteversion(self, op: resolution.DeleteVersion) -> None:
        self.rows = [row for row in self.rows if (row.model, row.version) != (op.model, op.version)]
        self.aliases = [entry for entry in self.aliases if (entry[0], entry[2]) != (op.model, op.version)]

    def deletemodel(self, op: resolution.DeleteModel) -> None:
        self.names.discard(op.model)
        self.rows = [row for row in self.rows if row.model != op.model]
        self.aliases = [entry for entry in self.aliases if entry[0] != op.model]

    def rename(self, op: resolution.Rename) -> None:
        if op.model not in self.names or op.new_name in self.names:
            return
        self.names = (self.names - {op.model}) | {op.new_name}
        for row in self.rows:
            row.model = op.new_name if row.model == op.model else row.model
        self.aliases = [(op.new_name if m == op.model else m, a, v) for m, a, v in self.aliases]

    def createversion(self, op: resolution.CreateVersion) -> None:
        if op.model in self.names and not self.exists(op.model, op.version):
            self.rows.append(Row(op.model, op.version))

    def createmodel(self, op: resolution.CreateModel) -> None:
        self.names.add(op.model)

    def rollback(self, op: resolution.Rollback) -> None:
        if op.label.startswith("@"):
            self.setalias(resolution.SetAlias(op.model, op.label[1:], op.version))
        elif self.exists(op.model, op.version):
            for row in self.rows:
                if row.model == op.model and row.stage == op.label and row.version > op.version:
                    self.transition(resolution.Transition(op.model, row.version, "Archived"))
            self.transition(resolution.Transition(op.model, op.version, op.label))

    def withdraw(self, op: resolution.Withdraw) -> None:
        if op.label.startswith("@"):
            self.deletealias(resolution.DeleteAlias(op.model, op.label[1:]))
            return
        for row in self.rows:
            if row.model == op.model and row.stage == op.label and row.version in op.versions:
                row.stage = "Archived"

    def resolve(self, model: str, label: str) -> int | None:
        """What `models:/<model>/<label>` or `models:/<model>@<alias>` loads."""
        if label.startswith("@"):
            return next((v for m, a, v in self.aliases if (m, f"@{a}") == (model, label)), None)
        in_stage = sorted(row.version for row in self.rows if (row.model, row.stage) == (model, label))
        return in_stage[-1] if in_stage else None

    def models(self) -> dict[str, RegisteredModel]:
        """The same registry as `resolution` takes it."""
        return {
            name: RegisteredModel(
                name,
                {row.version: row.stage for row in self.rows if row.model == name},
                {a: v for m, a, v in self.aliases if m == name},
            )
            for name in self.names
        }


def whole_operations(names: tuple[str, ...] = NAMES) -> st.SearchStrategy[resolution.Operation]:
    """Any operation, those too that no single call of MLflow's does: rollbacks, withdrawals, registrations."""
    name, label = st.sampled_from(names), st.sampled_from(("Staging", "Production", *(f"@{a}" for a in ALIASES)))
    return st.one_of(
        operations(names),
        st.builds(resolution.CreateModel, name),
        st.builds(resolution.CreateVersion, name, numbers),
        st.builds(resolution.Rollback, name, label, numbers),
        st.builds(resolution.Withdraw, name, label, st.lists(numbers, max_size=3).map(tuple)),
    )


@st.composite
def registries(draw: st.DrawFn) -> NaiveRegistry:
    """Any registry of a few models, versions in any stage, aliases on existing versions."""
    names = draw(st.sets(st.sampled_from(NAMES), max_size=3))
    rows = [
        Row(name, version, draw(st.sampled_from(STAGES)))
        for name in sorted(names)
        for version in sorted(draw(st.sets(numbers, max_size=5)))
    ]
    aliases = [
        (row.model, alias, row.version)
        for alias in ALIASES
        for row in ([draw(st.sampled_from(rows))] if rows and draw(st.booleans()) else [])
    ]
    return NaiveRegistry(names, rows, aliases)


def operations(names: tuple[str, ...] = NAMES) -> st.SearchStrategy[resolution.Operation]:
    """Any operation, on what exists and what doesn't."""
    name, alias, stage = st.sampled_from(names), st.sampled_from(ALIASES), st.sampled_from(STAGES)
    archiving = st.builds(
        resolution.Transition, name, numbers, st.sampled_from(("Staging", "Production")), st.just(True)
    )
    return st.one_of(
        st.builds(resolution.Transition, name, numbers, stage),
        archiving,
        st.builds(resolution.SetAlias, name, alias, numbers),
        st.builds(resolution.DeleteAlias, name, alias),
        st.builds(resolution.DeleteVersion, name, numbers),
        st.builds(resolution.DeleteModel, name),
        st.builds(resolution.Rename, name, name),
    )
