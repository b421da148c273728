"""`mlflow-ppo reverify`: read a version's contract again."""

from __future__ import annotations

import click

from mlflow_ppo_flavor.cli.connection import registry_options
from mlflow_ppo_flavor.cli.outcome import submit
from mlflow_ppo_flavor.cli.report import format_option
from mlflow_ppo_flavor.contract.request import Reverify


@click.command()
@click.argument("name")
@click.argument("version")
@registry_options
@format_option
@click.pass_context
def command(
    context: click.Context, name: str, version: str, tracking_uri: str | None, registry_uri: str | None, format_: str
) -> None:
    """Read a version's contract again.

    For one that couldn't be read when it was registered. A contract that was read is never replaced: where the model
    differs now, that is refused.

    Exit codes: 0 read, 1 refused, 2 not reached. JSON: {model, version, allowed, fact,
    findings: [{code, kind, place, found, expected, remedy}]}.
    """

    submit(context, Reverify(), {"model": name, "version": version}, (tracking_uri, registry_uri), format_)
