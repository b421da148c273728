"""`mlflow-ppo approve`: approve that a version enters a reference."""

from __future__ import annotations

import click

from mlflow_ppo_flavor.cli.connection import registry_options
from mlflow_ppo_flavor.cli.outcome import submit
from mlflow_ppo_flavor.cli.report import format_option
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.request import Approve


@click.command()
@click.argument("name")
@click.argument("version")
@click.argument("reference", metavar="STAGE|@ALIAS")
@registry_options
@format_option
@click.pass_context
def command(
    context: click.Context,
    name: str,
    version: str,
    reference: str,
    tracking_uri: str | None,
    registry_uri: str | None,
    format_: str,
) -> None:
    """Approve that a version enters a reference.

    It counts once, where the policy asks for approvals, and for another user than the one who promotes. Your name is
    that of MLflow's basic-auth (MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD); without it nobody can approve.

    Exit codes: 0 approved, 1 refused, 2 not reached. JSON: {model, version, reference, allowed, fact,
    findings: [{code, kind, place, found, expected, remedy}]}.
    """
    target = Reference.parse(name, reference)

    submit(
        context,
        Approve(target.label),
        {"model": name, "version": version, "reference": str(target)},
        (tracking_uri, registry_uri),
        format_,
    )
