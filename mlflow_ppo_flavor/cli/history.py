"""`mlflow-ppo history`: what was asked of the gate, by whom, and what it said."""

from __future__ import annotations

from typing import Any

import click

from mlflow_ppo_flavor.cli.asking import reports, require_gate
from mlflow_ppo_flavor.cli.connection import connect, registry_options
from mlflow_ppo_flavor.cli.report import format_option, one_line, print_json, print_table
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.request import MOST_ROWS, Question


@click.command()
@click.argument("name", required=False)
@click.option(
    "--limit", type=click.IntRange(1, MOST_ROWS), default=20, show_default=True, help="At most so many, the newest."
)
@click.option("--reference", metavar="STAGE|@ALIAS", help="Only what speaks of this reference.")
@registry_options
@format_option
def command(
    name: str | None,
    limit: int,
    reference: str | None,
    tracking_uri: str | None,
    registry_uri: str | None,
    format_: str,
) -> None:
    """Show what was asked of the gate, and what it said: of one model or of all, the newest first.

    Models that were deleted have a history too.

    JSON: a list of {id, at, who, model, operation, allowed, fact, moves, fleet, findings, digests}, as the gate wrote
    them. Exit codes: 0 shown, 2 not reached.
    """
    label = None if reference is None else Reference.parse(name or "any", reference).label
    connect(tracking_uri, registry_uri)
    require_gate()
    question = Question("history", limit=limit, reference=label)
    rows: list[dict[str, Any]] = []
    for _, report in reports(question, name):
        rows = sorted([*rows, *report["rows"]], key=lambda row: -int(row["id"]))[:limit]
    if format_ == "json":
        print_json(rows)
    elif not rows:
        click.echo(one_line(f"no history of {name}" if name else "no history"))
    else:
        print_table(["when", "who", "model", "operation", "what the gate said"], map(_line, rows))


def _line(row: dict[str, Any]) -> list[str]:
    operation = row["operation"]
    version = f" version {operation['version']}" if operation.get("version") is not None else ""
    return [row["at"], row["who"], row["model"], f"{operation.get('kind', '')}{version}", row["fact"]]
