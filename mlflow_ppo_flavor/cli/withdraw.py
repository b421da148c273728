"""`mlflow-ppo withdraw`: make a reference stop loading what it loads."""

from __future__ import annotations

from functools import partial

import click

from mlflow_ppo_flavor.cli.asking import last_fact, reports, require_gate, send
from mlflow_ppo_flavor.cli.connection import answering, connect, registry_options
from mlflow_ppo_flavor.cli.outcome import conclude
from mlflow_ppo_flavor.cli.report import format_option
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.request import Question, Withdraw
from mlflow_ppo_flavor.errors import RegistryError


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
    deleted. Approvals, attestations and thresholds aren't asked for. A reference that loads nothing is said to: exit 0
    where the gate emptied it before, so that it may be asked twice, 2 where it didn't, such as a misspelled alias.

    Exit codes: 0 done, 1 refused, 2 not reached, or nothing to withdraw. JSON: {model, reference, allowed, fact,
    findings: [{code, kind, place, found, expected, remedy}]}.
    """
    target = Reference.parse(name, reference)
    act = partial(_withdraw, target, tracking_uri, registry_uri)
    conclude(context, {"model": name, "reference": str(target)}, act, format_)


def _withdraw(target: Reference, tracking_uri: str | None, registry_uri: str | None) -> str:
    """Carry it out; the gate's fact. RegistryError where the reference loads nothing and the gate never emptied it."""
    client = connect(tracking_uri, registry_uri)
    require_gate()
    with answering():
        model = client.get_registered_model(target.model)
    staged = {version.current_stage for version in model.latest_versions}
    if target.label in staged or target.alias in model.aliases:
        request = Withdraw(target.label)
        send(client, request, target.model)
        return last_fact(target.model, request.tag.removeprefix("ppo."))
    fact = f"{target} loads nothing: nothing was withdrawn"
    if not _emptied(target):
        raise RegistryError(f"{fact}: look whether this is the reference that is meant")
    return f"Allowed: {fact}"


def _emptied(target: Reference) -> bool:
    """Whether the gate's last verdict on the reference is that it loads nothing."""
    told = reports(Question("standing", reference=target.label), target.model)
    verdicts = [each["verdict"] for _, report in told for each in report["references"]]
    return any(verdict is not None and verdict["version"] is None for verdict in verdicts)
