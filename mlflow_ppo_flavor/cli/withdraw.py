"""`mlflow-ppo withdraw`: make a reference stop loading what it loads."""

from __future__ import annotations

import click

from mlflow_ppo_flavor.cli.connection import registry_options
from mlflow_ppo_flavor.cli.outcome import submit
from mlflow_ppo_flavor.cli.report import format_option
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.request import Withdraw


@click.command()
@click.argument("name")
@click.argument("reference", metavar="STAGE|@ALIAS")
@registry_options
@format_option
@click.pass_context
def command(
    context: click.Context,
    name: str,
    reference: str,
    tracking_uri: str | None,
    registry_uri: str | None,
    format_: str,
) -> None:
    """Make a reference stop loading what it loads.

    A stage's version is archived, and every version that would surface and that the fleet can't run; an alias is
    deleted. Approvals, attestations and thresholds aren't asked for.

    Exit codes: 0 done, 1 refused, 2 not reached. JSON: {model, reference, allowed, fact,
    findings: [{code, kind, place, found, expected, remedy}]}.
    """
    target = Reference.parse(name, reference)

    submit(
        context,
        Withdraw(target.label),
        {"model": name, "reference": str(target)},
        (tracking_uri, registry_uri),
        format_,
    )
