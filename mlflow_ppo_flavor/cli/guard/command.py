"""`mlflow-ppo guard`: a table of subcommands."""

from __future__ import annotations

from mlflow_ppo_flavor.cli.main import CommandEntry, LazyGroup

SUBCOMMANDS: dict[str, CommandEntry] = {
    "init": CommandEntry("mlflow_ppo_flavor.cli.guard.init", "Make the key that a registry signs its verdicts with."),
    "install": CommandEntry(
        "mlflow_ppo_flavor.cli.guard.install",
        "Tell what a registry's gate would refuse today, and prepare its database.",
    ),
    "public-key": CommandEntry(
        "mlflow_ppo_flavor.cli.guard.public_key", "Print the public key that traders know a registry's verdicts by."
    ),
    "remove": CommandEntry("mlflow_ppo_flavor.cli.guard.remove", "Remove the gate from a registry's database."),
}

command = LazyGroup(name="guard", table=SUBCOMMANDS, help="Set up the gate of a registry, and its keys.")
