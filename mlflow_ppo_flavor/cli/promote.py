"""`mlflow-ppo promote`: move a version to a stage or set an alias, and tell what the gate said."""

from __future__ import annotations

import click

from mlflow_ppo_flavor.cli.connection import answering, connect, registry_options
from mlflow_ppo_flavor.cli.report import format_option, print_json, print_verdict
from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.errors import PromotionRefused
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

    Exit codes: 0 promoted, 1 refused, 2 not reached. JSON: {model, version, reference, allowed, fact,
    findings: [{code, kind, place, found, expected, remedy}]}.
    """
    target = Reference.parse(name, reference)
    if target.is_alias and archive_existing:
        raise click.UsageError("--archive-existing: found an alias, expected a stage: an alias names one version")
    findings: list[Finding] = []
    try:
        fact = _promote(target, version, archive_existing, tracking_uri, registry_uri)
    except PromotionRefused as refusal:
        fact = str(refusal).partition("\n")[0]
        findings = [Finding.from_dict(each) for each in refusal.findings]
    allowed = not fact.startswith("Refused")
    if format_ == "json":
        told = {"model": name, "version": version, "reference": str(target), "allowed": allowed, "fact": fact}
        print_json({**told, "findings": [finding.to_dict() for finding in findings]})
    else:
        print_verdict(fact, allowed, findings)
    context.exit(0 if allowed else 1)


def _promote(target: Reference, version: str, archive: bool, tracking_uri: str | None, registry_uri: str | None) -> str:
    """Carry it out; the gate's fact, as it left it on the version. PromotionRefused where it refuses."""
    client = connect(tracking_uri, registry_uri)
    with answering():
        before = client.get_model_version(target.model, version).tags.get(VERDICT_TAG)
        if target.alias is not None:
            client.set_registered_model_alias(target.model, target.alias, version)
        else:
            client.transition_model_version_stage(target.model, version, target.label, archive)
        after = client.get_model_version(target.model, version).tags.get(VERDICT_TAG)
    return _UNMOVED if after is None or after == before else after.partition(" UTC ")[2]
