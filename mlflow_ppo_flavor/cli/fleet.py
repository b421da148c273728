"""`mlflow-ppo fleet`: the traders that announced themselves; `mlflow-ppo fleet retire`: one that runs no more."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click

from mlflow_ppo_flavor.cli.asking import reports, require_gate, send
from mlflow_ppo_flavor.cli.connection import answering, connect, registry_options
from mlflow_ppo_flavor.cli.outcome import conclude
from mlflow_ppo_flavor.cli.report import format_option, one_line, print_json, print_table
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.request import MOST_ROWS, Question, Retire
from mlflow_ppo_flavor.errors import RegistryError

_LIST = "list"
_HEADINGS = ["model", "reference", "trader", "version", "money", "announced", "age", "owner"]


class FleetGroup(click.Group):
    """A group that lists where no subcommand is named: `mlflow-ppo fleet`, `mlflow-ppo fleet NAME`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the subcommand that lists before anything that is none."""
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = [_LIST, *args]
        return super().parse_args(ctx, args)


@click.group(cls=FleetGroup)
def command() -> None:
    """List the announced traders, of one model or of all.

    `mlflow-ppo fleet [NAME]` lists them; a model that is called like a subcommand is listed by
    `mlflow-ppo fleet list NAME`.
    """


@command.command(_LIST)
@click.argument("name", required=False)
@registry_options
@format_option
def list_(name: str | None, tracking_uri: str | None, registry_uri: str | None, format_: str) -> None:
    """List the announced traders, of one model or of all.

    A trader counts until it is retired, however old its announcement is. The owner of a trader's id is the user who
    first announced it, where MLflow's basic-auth is on.

    JSON: a list of {model, reference, trader_id, version, paper, announced_at, age_seconds, owner}; reference is
    Production, Staging or @alias; owner is empty where nobody is. Exit codes: 0 listed, 2 not reached.
    """
    client = connect(tracking_uri, registry_uri)
    require_gate()
    if name:
        with answering():
            client.get_registered_model(name)
    told = list(_fleet(name))
    if format_ == "json":
        print_json(told)
    elif not told:
        click.echo(one_line(f"no trader announced for {name}" if name else "no trader announced"))
    else:
        print_table(_HEADINGS, map(_row, told))


@command.command()
@click.argument("trader_id")
@click.option("--model", help="Only for this model's references.")
@click.option("--reference", metavar="STAGE|@ALIAS", help="Only for this reference.")
@registry_options
@format_option
@click.pass_context
def retire(
    context: click.Context,
    trader_id: str,
    model: str | None,
    reference: str | None,
    tracking_uri: str | None,
    registry_uri: str | None,
    format_: str,
) -> None:
    """Retire a trader that runs no more: what is promoted from now on isn't judged for it.

    One that runs announces itself again at its next start.

    Exit codes: 0 retired, 1 refused, 2 not reached, or no such announcement. JSON: {trader_id, references, allowed,
    fact, findings: [{code, kind, place, found, expected, remedy}]}.
    """
    label = None if reference is None else Reference.parse(model or "any", reference).label
    client = connect(tracking_uri, registry_uri)
    require_gate()
    announced = [
        (each["model"], each["reference"])
        for each in _fleet(model)
        if each["trader_id"] == trader_id and label in (None, each["reference"])
    ]
    if not announced:
        raise RegistryError(f"fleet: found no announcement of {trader_id}, expected one: mlflow-ppo fleet lists them")
    references = [str(Reference(*each)) for each in announced]

    def act() -> str:
        for name, each in announced:
            send(client, Retire(trader_id, each), name)
        return f"Retired: trader {trader_id} no longer loads {', '.join(references)}"

    conclude(context, {"trader_id": trader_id, "references": references}, act, format_)


def _fleet(name: str | None) -> Iterator[dict[str, Any]]:
    now = datetime.now(UTC)
    for model, report in reports(Question("standing", limit=MOST_ROWS), name):
        for reference in report["references"]:
            for trader in reference["traders"]:
                age = now - datetime.fromisoformat(trader["received_at"])
                yield {
                    "model": model,
                    "reference": reference["label"],
                    **{key: trader[key] for key in ("trader_id", "version", "paper", "announced_at")},
                    "age_seconds": max(0, int(age.total_seconds())),
                    "owner": trader["owner"],
                }


def _row(told: dict[str, Any]) -> list[str]:
    money = "paper" if told["paper"] else "real money"
    first = [told[key] for key in ("model", "reference", "trader_id", "version")]
    return [*first, money, told["announced_at"], age_of(told["age_seconds"]), told["owner"] or "nobody"]


def age_of(seconds: int) -> str:
    """How old, in the largest unit that fills: `3d`, `5h`, `12m`, `40s`."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
