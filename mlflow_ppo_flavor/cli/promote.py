"""`mlflow-ppo promote`: move a version to a stage or set an alias, and tell what the gate said."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import click

from mlflow_ppo_flavor.cli.asking import require_gate
from mlflow_ppo_flavor.cli.connection import answering, connect, registry_options
from mlflow_ppo_flavor.cli.outcome import conclude
from mlflow_ppo_flavor.cli.report import format_option
from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.registry.display import VERDICT_TAG

_UNMOVED = "Allowed: no guarded reference moved"


@click.command()
@click.argument("name")
@click.argument("version")
@click.argument("reference", metavar="STAGE|@ALIAS")
@click.option("--archive-existing", is_flag=True, help="Archive the versions that stand in the stage.")
@registry_options
@format_option
@click.pass_context
def command(
    context: click.Context,
    name: str,
    version: str,
    reference: str,
    archive_existing: bool,
    tracking_uri: str | None,
    registry_uri: str | None,
    format_: str,
) -> None:
    """Promote a model version to a stage or an alias.

    Where no gate stands before the registry, nothing is moved.

    Exit codes: 0 promoted, 1 refused, 2 not reached, or no gate. JSON: {model, version, reference, allowed, fact,
    findings: [{code, kind, place, found, expected, remedy}]}.
    """
    target = Reference.parse(name, reference)
    if target.is_alias and archive_existing:
        raise click.UsageError("--archive-existing: found an alias, expected a stage: an alias names one version")
    act = partial(_promote, target, version, archive_existing, tracking_uri, registry_uri)
    told = {"model": name, "version": version, "reference": str(target)}
    conclude(context, told, act, format_, partial(_advice, target, version))


def _promote(target: Reference, version: str, archive: bool, tracking_uri: str | None, registry_uri: str | None) -> str:
    """Carry it out; the gate's fact, as it left it on the version. PromotionRefused where it refuses."""
    client = connect(tracking_uri, registry_uri)
    require_gate()
    with answering():
        before = client.get_model_version(target.model, version).tags.get(VERDICT_TAG)
        if target.alias is not None:
            client.set_registered_model_alias(target.model, target.alias, version)
        else:
            client.transition_model_version_stage(target.model, version, target.label, archive)
        after = client.get_model_version(target.model, version).tags.get(VERDICT_TAG)
    return _UNMOVED if after is None or after == before else after.partition(" UTC ")[2]


def _advice(target: Reference, version: str, findings: Sequence[Finding]) -> list[str]:
    """What would let it in: the approval that is missing, or an override where nothing is about safety.

    What an override covers already is a warning, and a missing approval is covered by nobody's own.
    """
    arguments = f"{target.model} {version} {target.label}"
    refused = [finding for finding in findings if finding.kind != "warning"]
    others = [finding for finding in refused if finding.code != "approvals"]
    approvals, who, advice = len(others) < len(refused), "", []
    if approvals:
        who = " by another user, approvals included"
        advice.append(f"An approval is given by another user: mlflow-ppo approve {arguments}")
    if others and all(finding.kind != "safety" for finding in others):
        advice.append(f"It can be let in once all the same{who}: mlflow-ppo override {arguments} --reason '…'")
    return advice
