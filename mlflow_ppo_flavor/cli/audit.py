"""`mlflow-ppo audit`: is all that traders load still what the gate allowed? Its exit code is for cron."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import click

from mlflow_ppo_flavor.cli.asking import reports, require_gate
from mlflow_ppo_flavor.cli.connection import answering, connect, registry_options
from mlflow_ppo_flavor.cli.report import format_option, one_line, print_findings, print_json
from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.contract.request import Question

# references of one model in a request, and models in one: no request takes long
_REFERENCES, _MODELS = 500, 100
# artifacts may lie far away: a request reads some hundred
_TIMEOUT = "300"


@click.command()
@click.argument("name", required=False)
@registry_options
@format_option
@click.pass_context
def command(
    context: click.Context, name: str | None, tracking_uri: str | None, registry_uri: str | None, format_: str
) -> None:
    """Tell what is wrong with what traders load, of one model or of all.

    Every protected reference is judged again by today's fleet and policy; its model is read again, every file of it;
    the verdict that let it in is looked up, and its seal verified where the server has a key.

    Exit codes: 0 nothing found but warnings, 1 findings, 2 not reached, or no such model. JSON: {allowed,
    references: [{reference, label, version, digest, allowed, findings}], models: [{model, findings}]}, findings as
    those of `check`.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", _TIMEOUT)
    client = connect(tracking_uri, registry_uri)
    require_gate()
    references: list[dict[str, Any]] = []
    models: dict[str, list[dict[str, Any]]] = {}
    for model, report in reports(Question("audit", limit=_REFERENCES), name, page_size=_MODELS):
        references += report["references"]
        models[model] = report["findings"]
    if name and not models:
        # neither guarded nor in the history: it may not be there
        with answering():
            client.get_registered_model(name)
    allowed = all(_is_fine(each["findings"]) for each in references) and all(map(_is_fine, models.values()))
    if format_ == "json":
        told = [{"model": model, "findings": findings} for model, findings in models.items()]
        print_json({"allowed": allowed, "references": references, "models": told})
    else:
        _print(references, models, allowed)
    context.exit(0 if allowed else 1)


def _is_fine(findings: list[dict[str, Any]]) -> bool:
    return all(finding["kind"] == "warning" for finding in findings)


def _print(references: list[dict[str, Any]], models: Mapping[str, list[dict[str, Any]]], allowed: bool) -> None:
    for place, findings in _faulty(references, models):
        click.secho(one_line(place), bold=True)
        print_findings(Finding.from_dict(each) for each in findings)
    wrong = sum(not _is_fine(findings) for _, findings in _faulty(references, models))
    count = f"{len(references)} protected reference{'' if len(references) == 1 else 's'} of {len(models)} model(s)"
    outcome = "nothing is wrong" if allowed else f"findings at {wrong} place{'' if wrong == 1 else 's'}"
    click.secho(f"Audited {count}: {outcome}", fg="green" if allowed else "red", bold=True)


def _faulty(
    references: list[dict[str, Any]], models: Mapping[str, list[dict[str, Any]]]
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """What has findings, warnings too: a reference and the version that it loads, or a model."""
    for each in references:
        if each["findings"]:
            loads = "nothing" if each["version"] is None else f"version {each['version']}"
            yield f"{each['reference']} loads {loads}", each["findings"]
    for model, findings in models.items():
        if findings:
            yield model, findings
