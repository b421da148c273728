"""`mlflow-ppo check`: may this model go to that trader, or to the fleet of a reference?"""

from __future__ import annotations

from typing import Any

import click
from packaging.version import Version

from mlflow_ppo_flavor.cli.connection import answering, connect, registry_options
from mlflow_ppo_flavor.cli.model_uri import read_contract_of
from mlflow_ppo_flavor.cli.report import format_option, print_json, print_verdict
from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.compatibility import Verdict
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.releases import CURRENT_TRADER_VERSION
from mlflow_ppo_flavor.contract.trader import Trader
from mlflow_ppo_flavor.errors import SpecError
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.fact import describe
from mlflow_ppo_flavor.registry.fleet import FLEET_TAG, parse_fleet_tag
from mlflow_ppo_flavor.registry.gate import judge_fleet, judge_trader

Judged = list[tuple[Trader, Verdict]]


@click.command()
@click.argument("model_uri")
@click.option("--trader", help="A released trader's version.  [default: the newest]")
@click.option("--for", "reference", help="A reference whose fleet is asked: ppo-aapl/Production or ppo-aapl@champion.")
@registry_options
@format_option
@click.pass_context
def command(
    context: click.Context,
    model_uri: str,
    trader: str | None,
    reference: str | None,
    tracking_uri: str | None,
    registry_uri: str | None,
    format_: str,
) -> None:
    """Tell whether traders may run a model, as the registry's gate would.

    MODEL_URI is a folder, runs:/…, models:/… or any artifact URI. Exit codes: 0 allowed, 1 refused, 2 not readable.
    JSON: {model, spec_version, digest, proven, reference, allowed, traders: [{trader_id, version, paper, allowed,
    findings: [{code, kind, place, found, expected, remedy}]}]}.
    """
    if trader and reference:
        raise click.UsageError("--trader and --for: found both, expected one of them")
    contract = read_contract_of(model_uri, tracking_uri, registry_uri)
    if reference:
        judged = _judge_reference(contract, reference, tracking_uri, registry_uri)
    else:
        one = _released(trader or CURRENT_TRADER_VERSION)
        judged = [(one, judge_trader(contract, one))]
    allowed = all(verdict.allowed for _, verdict in judged)
    if format_ == "json":
        print_json(_report(model_uri, contract, reference, judged, allowed))
    else:
        _print(model_uri, contract, judged)
    context.exit(0 if allowed else 1)


def _released(version: str) -> Trader:
    """The released trader of that version; UsageError for what is no version, and for one that isn't released yet."""
    try:
        newest = Version(parsing.version(version, "--trader")) <= Version(CURRENT_TRADER_VERSION)
    except SpecError as error:
        raise click.UsageError(str(error)) from error
    if not newest:
        expected = f"at most {CURRENT_TRADER_VERSION}, the newest that this version knows"
        raise click.UsageError(f"--trader: found {parsing.show(version)}, expected {expected}")
    return Trader.released(version)


def _judge_reference(contract: Contract, told: str, tracking_uri: str | None, registry_uri: str | None) -> Judged:
    reference = Reference.of_uri(f"models:/{told}")
    if reference is None:
        raise SpecError("--for", repr(told), "a reference such as ppo-aapl/Production or ppo-aapl@champion")
    client = connect(tracking_uri, registry_uri)
    with answering():
        tag = client.get_registered_model(reference.model).tags.get(FLEET_TAG, "[]")
    return judge_fleet(reference, contract, parse_fleet_tag(reference.model, tag))


def _report(uri: str, contract: Contract, reference: str | None, judged: Judged, allowed: bool) -> dict[str, Any]:
    return {
        "model": uri,
        "spec_version": None if contract.spec is None else contract.spec.version,
        "digest": contract.digest or None,
        "proven": contract.proven,
        "reference": reference,
        "allowed": allowed,
        "traders": [
            {
                "trader_id": trader.trader_id,
                "version": trader.version,
                "paper": trader.paper,
                "allowed": verdict.allowed,
                "findings": [finding.to_dict() for finding in verdict.findings],
            }
            for trader, verdict in judged
        ],
    }


def _print(uri: str, contract: Contract, judged: Judged) -> None:
    what = "no readable contract" if contract.spec is None else f"{contract.spec.family} {contract.spec.version}"
    for trader, verdict in judged:
        outcome = "may run" if verdict.allowed else "can't run"
        print_verdict(f"{describe(trader)} {outcome} {uri} ({what})", verdict.allowed, verdict.findings)
