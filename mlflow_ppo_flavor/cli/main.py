"""The command `mlflow-ppo`: a table of commands, each imported when it is called.

Exit codes: 0 allowed or done, 1 refused, 2 wrong usage, something unreachable, missing or broken, or a defect.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import click

from mlflow_ppo_flavor.errors import PPOFlavorError
from mlflow_ppo_flavor.extras import missing_extra
from mlflow_ppo_flavor.version import VERSION


@dataclass(frozen=True)
class CommandEntry:
    """One command: the module that has it as `command`, its line of help, the extra that it needs."""

    module: str
    help: str
    extra: str = "model"


# The one list of commands. A module is imported when its command is called, so that `--help` stays fast.
COMMANDS: dict[str, CommandEntry] = {
    "approve": CommandEntry("mlflow_ppo_flavor.cli.approve", "Approve that a version enters a reference."),
    "audit": CommandEntry(
        "mlflow_ppo_flavor.cli.audit", "Tell what is wrong with what traders load, of one model or of all."
    ),
    "check": CommandEntry(
        "mlflow_ppo_flavor.cli.check", "Tell whether traders may run models, as the registry's gate would."
    ),
    "check-trader": CommandEntry(
        "mlflow_ppo_flavor.cli.check_trader",
        "Tell whether a trader version may be deployed, given all that its references load.",
    ),
    "demo": CommandEntry(
        "mlflow_ppo_flavor.cli.demo.command", "Train, register, refuse, promote and trade, on real bars.", extra="demo"
    ),
    "doctor": CommandEntry(
        "mlflow_ppo_flavor.cli.doctor", "Tell whether a server's registry is guarded, and how to guard it."
    ),
    "fleet": CommandEntry("mlflow_ppo_flavor.cli.fleet", "List the announced traders, of one model or of all."),
    "guard": CommandEntry("mlflow_ppo_flavor.cli.guard.command", "Set up the gate of a registry, and its keys."),
    "history": CommandEntry(
        "mlflow_ppo_flavor.cli.history",
        "Show what was asked of the gate, and what it said: of one model or of all, the newest first.",
    ),
    "import": CommandEntry(
        "mlflow_ppo_flavor.cli.import_",
        "Register checkpoints that other code wrote, each as a version, or say why not.",
    ),
    "override": CommandEntry(
        "mlflow_ppo_flavor.cli.override", "Let a version into a reference once, over what isn't about safety."
    ),
    "promote": CommandEntry("mlflow_ppo_flavor.cli.promote", "Promote a model version to a stage or an alias."),
    "reverify": CommandEntry("mlflow_ppo_flavor.cli.reverify", "Read a version's contract again."),
    "rollback": CommandEntry(
        "mlflow_ppo_flavor.cli.rollback", "Make a reference load the last version that it loaded before."
    ),
    "server": CommandEntry(
        "mlflow_ppo_flavor.cli.server",
        "Start an MLflow server with the gate before its registry, and the gate's page at /ppo/.",
    ),
    "spec": CommandEntry("mlflow_ppo_flavor.cli.spec.command", "Show, compare, check and bump specs."),
    "verify": CommandEntry(
        "mlflow_ppo_flavor.cli.verify", "Replay a model's golden decisions with the code that is installed here."
    ),
    "withdraw": CommandEntry("mlflow_ppo_flavor.cli.withdraw", "Make a reference stop loading what it loads."),
}


# Where a context keeps the arguments that the command was called with.
_TYPED = "mlflow_ppo_flavor.typed"


class Failure(click.ClickException):
    """Ends a command with a message on stderr and exit code 2."""

    exit_code = 2


class LazyGroup(click.Group):
    """A group whose commands come from a table, and whose failures are messages."""

    def __init__(self, *, table: Mapping[str, CommandEntry] = COMMANDS, **options: Any) -> None:
        super().__init__(**options)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the table, in the order of the alphabet."""
        return sorted(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command; None for a name that the table doesn't have."""
        if cmd_name not in self.table:
            return None
        command: click.Command = import_module(self.table[cmd_name].module).command
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep what was typed: what a failure tells is searched for its passwords."""
        ctx.meta.setdefault(_TYPED, tuple(args))
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Note the command's name before its module is imported: a failure there has to tell it."""
        ctx.invoked_subcommand = args[0]
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with the table's lines of help, importing none of them."""
        rows = [(name, self.table[name].help) for name in self.list_commands(ctx)]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for; Failure for an error of ours, a missing extra, and a defect."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.NoArgsIsHelpError, Failure, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except click.UsageError as error:
            raise click.UsageError(_shown(ctx, error.format_message()), error.ctx) from error
        except click.ClickException as error:
            raise Failure(_shown(ctx, error.format_message())) from error
        except PPOFlavorError as error:
            raise Failure(_shown(ctx, str(error))) from error
        except Exception as error:
            raise self._failure(ctx, error) from error

    def _failure(self, ctx: click.Context, error: Exception) -> Failure:
        """What a missing extra or a defect is told as. A defect's traceback goes to stderr, and Python's exit code for
        it, 1, would say `refused`.
        """
        called, name = f"{ctx.command_path} {ctx.invoked_subcommand}", ctx.invoked_subcommand or ""
        missing = missing_extra(error, called, self.table[name].extra) if name in self.table else None
        if missing is not None:
            return Failure(str(missing))
        click.echo(_shown(ctx, "".join(traceback.format_exception(error))), nl=False, err=True)
        told = _shown(ctx, " ".join(str(error).split()))
        return Failure(f"{called}: unexpected {type(error).__name__}: {told}: please report it, with the lines above")


def _shown(ctx: click.Context, message: str) -> str:
    """A message as a terminal may show it: others wrote parts of it. Without the passwords of URIs that were typed or
    stand in the environment, and with what would steer the terminal written out.
    """
    from mlflow_ppo_flavor.cli.report import printable
    from mlflow_ppo_flavor.contract.masking import masked, passwords

    return printable(masked(message, passwords([*ctx.meta.get(_TYPED, ()), *os.environ.values()])))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="mlflow-ppo")
def main() -> None:
    """PPO trading policies in MLflow: contracts, the registry's gate, and the traders that it protects."""
