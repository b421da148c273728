"""`mlflow-ppo spec`: a table of subcommands."""

from __future__ import annotations

from mlflow_ppo_flavor.cli.main import CommandEntry, LazyGroup

SUBCOMMANDS: dict[str, CommandEntry] = {
    "bump": CommandEntry(
        "mlflow_ppo_flavor.cli.spec.bump", "Give the models or the trader of this checkout a version."
    ),
    "check": CommandEntry("mlflow_ppo_flavor.cli.spec.check", "Tell which version bumps this code owes its spec.lock."),
    "diff": CommandEntry("mlflow_ppo_flavor.cli.spec.diff", "Tell what breaks between two specs, and who moves first."),
    "list": CommandEntry("mlflow_ppo_flavor.cli.spec.list_", "List the released specs."),
    "lock": CommandEntry("mlflow_ppo_flavor.cli.spec.lock", "Write spec.lock anew, unless a version bump is owed."),
    "show": CommandEntry("mlflow_ppo_flavor.cli.spec.show", "Show one spec: of a released version, or of a model."),
}

command = LazyGroup(name="spec", table=SUBCOMMANDS, help="Show, compare, check and bump specs.")
