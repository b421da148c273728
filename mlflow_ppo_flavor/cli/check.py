"""`mlflow-ppo check`: may these models go to that trader, or to the fleet of a reference?"""

from __future__ import annotations

from collections.abc import Sequence
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
from mlflow_ppo_flavor.decision.installation import equipped
from mlflow_ppo_flavor.errors import SpecError
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.fact import describe
from mlflow_ppo_flavor.registry.fleet import FLEET_TAG, parse_fleet_tag
from mlflow_ppo_flavor.registry.judgement import judge_fleet, judge_trader

Judged = list[tuple[Trader, Verdict]]


@click.command()
@click.argument("model_uris", metavar="MODEL_URI...", nargs=-1, required=True)
@click.option(
    "--trader", help="A trader's version, with the own packages that are installed here.  [default: the newest]"
)
@click.option("--for", "reference", help="A reference whose fleet is asked: ppo-aapl/Production or ppo-aapl@champion.")
@registry_options
@format_option
@click.pass_context
def command(
    context: click.Context,
    model_uris: tuple[str, ...],
    trader: str | None,
    reference: str | None,
    tracking_uri: str | None,
    registry_uri: str | None,
    format_: str,
) -> None:
    """Tell whether traders may run models, as the registry's gate would.

    MODEL_URI is a folder, runs:/…, models:/… or any artifact URI. Exit codes: 0 all allowed, 1 one refused, 2 one not
    readable. JSON: {model, spec_version, digest, proven, reference, allowed, traders: [{trader_id, version, paper,
    allowed, findings: [{code, kind, place, found, expected, remedy}]}]}, a list of these for several models.
    """
    if trader and reference:
        raise click.UsageError("--trader and --for: found both, expected one of them")
    contracts = [read_contract_of(uri, tracking_uri, registry_uri) for uri in model_uris]
    if reference:
        judged = _judge_reference(contracts, reference, tracking_uri, registry_uri)
    else:
        one = deployed(trader or CURRENT_TRADER_VERSION, "--trader")
        judged = [[(one, judge_trader(contract, one))] for contract in contracts]
    asked = list(zip(model_uris, contracts, judged, strict=True))
    if format_ == "json":
        told = [{"model": uri, **told_contract(c), "reference": reference, **told_traders(j)} for uri, c, j in asked]
        print_json(told if len(told) > 1 else told[0])
    else:
        for uri, contract, each in asked:
            print_judged(uri, contract, each)
    context.exit(0 if all(map(all_allowed, judged)) else 1)


def deployed(version: str, place: str) -> Trader:
    """The released trader of that version with the own packages that are installed here.

    UsageError for what is no version, and for one that isn't released yet.
    """
    try:
        newest = Version(parsing.version(version, place)) <= Version(CURRENT_TRADER_VERSION)
    except SpecError as error:
        raise click.UsageError(str(error)) from error
    if not newest:
        expected = f"at most {CURRENT_TRADER_VERSION}, the newest that this version knows"
        raise click.UsageError(f"{place}: found {parsing.show(version)}, expected {expected}")
    return equipped(Trader.released(version))


def all_allowed(judged: Judged) -> bool:
    """Whether every trader may run it."""
    return all(verdict.allowed for _, verdict in judged)


def told_contract(contract: Contract) -> dict[str, Any]:
    """A model's contract as JSON values: spec_version, digest, proven."""
    spec_version = None if contract.spec is None else contract.spec.version
    return {"spec_version": spec_version, "digest": contract.digest or None, "proven": contract.proven}


def told_traders(judged: Judged) -> dict[str, Any]:
    """Verdicts as JSON values: allowed, traders."""
    traders = [
        {
            "trader_id": trader.trader_id,
            "version": trader.version,
            "paper": trader.paper,
            "allowed": verdict.allowed,
            "findings": [finding.to_dict() for finding in verdict.findings],
        }
        for trader, verdict in judged
    ]
    return {"allowed": all_allowed(judged), "traders": traders}


def print_judged(what: str, contract: Contract, judged: Judged) -> None:
    """Verdicts as text: who may run what, then the findings."""
    spec = "no readable contract" if contract.spec is None else f"{contract.spec.family} {contract.spec.version}"
    for trader, verdict in judged:
        outcome = "may run" if verdict.allowed else "can't run"
        print_verdict(f"{describe(trader)} {outcome} {what} ({spec})", verdict.allowed, verdict.findings)


def _judge_reference(
    contracts: Sequence[Contract], told: str, tracking_uri: str | None, registry_uri: str | None
) -> list[Judged]:
    reference = read_reference(told, "--for")
    client = connect(tracking_uri, registry_uri)
    with answering():
        tag = client.get_registered_model(reference.model).tags.get(FLEET_TAG, "[]")
    fleet = parse_fleet_tag(reference.model, tag)
    return [judge_fleet(reference, contract, fleet) for contract in contracts]


def read_reference(told: str, place: str) -> Reference:
    """The reference in an option's value; SpecError for what is none."""
    reference = Reference.of_uri(f"models:/{told}")
    if reference is None:
        raise SpecError(place, repr(told), "a reference such as ppo-aapl/Production or ppo-aapl@champion")
    return reference
