"""`mlflow-ppo check-trader`: may this trader version be deployed, given all that its references load?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from mlflow_ppo_flavor.cli.asking import model_names
from mlflow_ppo_flavor.cli.check import (
    Judged,
    all_allowed,
    deployed,
    print_judged,
    read_reference,
    told_contract,
    told_traders,
)
from mlflow_ppo_flavor.cli.connection import answering, connect, registry_options
from mlflow_ppo_flavor.cli.model_uri import read_contract_of
from mlflow_ppo_flavor.cli.report import format_option, one_line, print_json
from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.reference import PROTECTED_STAGES, Reference
from mlflow_ppo_flavor.contract.trader import Announcement, Trader
from mlflow_ppo_flavor.errors import RegistryError
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.fleet import FLEET_TAG, parse_fleet_tag
from mlflow_ppo_flavor.registry.judgement import judge_trader

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import RegisteredModel

_SPEC_TAG = "ppo.spec"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A reference, the traders that load it, and the version that it loads now: None where it loads nothing."""

    reference: Reference
    traders: tuple[Trader, ...]
    version: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found for one reference: no contract where it loads nothing."""

    loaded: Loaded
    contract: Contract | None
    judged: Judged

    @property
    def allowed(self) -> bool:
        """Whether nothing that it loads keeps the trader from being deployed."""
        return all_allowed(self.judged)

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON values."""
        contract = self.contract or Contract(flavored=False)
        where = {"reference": str(self.loaded.reference), "version": self.loaded.version}
        return {**where, **told_contract(contract), **told_traders(self.judged)}


@click.command()
@click.argument("trader_version")
@click.option("--registry", metavar="URI", help="The MLflow server that holds the registry, as --tracking-uri.")
@click.option("--trader-id", help="Only what this trader announced for.")
@click.option("--reference", "references", multiple=True, help="ppo-aapl/Production or ppo-aapl@champion; repeatable.")
@click.option("--paper", type=click.Choice(["0", "1"]), help="Real money (0) or paper (1).  [default: as announced]")
@registry_options
@format_option
@click.pass_context
def command(
    context: click.Context,
    trader_version: str,
    registry: str | None,
    trader_id: str | None,
    references: tuple[str, ...],
    paper: str | None,
    tracking_uri: str | None,
    registry_uri: str | None,
    format_: str,
) -> None:
    """Tell whether a trader version may be deployed, given all that its references load.

    Asked are the references that traders announced for, and both stages of a guarded model where nobody did. The
    trader is the released one of that version with the own packages that are installed here: run this on its image.
    Exit codes: 0 it may, 1 a reference refuses it, 2 not readable. JSON: {trader_version, packages, allowed,
    references: [{reference, version, spec_version, digest, proven, allowed, traders: [as check has them]}]}; version
    is null where a reference loads nothing.
    """
    trader = deployed(trader_version, "TRADER_VERSION")
    named = [read_reference(told, "--reference") for told in references]
    tracking_uri = registry or tracking_uri
    client = connect(tracking_uri, registry_uri)
    with answering():
        found = list(_loaded(client, trader, named, trader_id))
    if trader_id and not found:
        raise RegistryError(f"--trader-id: found no announcement of {parsing.show(trader_id)}, expected one at least")
    if paper is not None:
        found = [replace(each, traders=_with_paper(each.traders, paper == "1")) for each in found]
    answers = _judge(found, tracking_uri, registry_uri)
    allowed = all(answer.allowed for answer in answers)
    if format_ == "json":
        told = {"trader_version": trader_version, "packages": dict(trader.packages), "allowed": allowed}
        print_json(told | {"references": [answer.to_dict() for answer in answers]})
    else:
        _print(trader, answers, allowed)
    context.exit(0 if allowed else 1)


def _loaded(
    client: MlflowClient, trader: Trader, named: Sequence[Reference], trader_id: str | None
) -> Iterator[Loaded]:
    """Every reference that is asked, with what it loads; those that are named, or else all of this trader's."""
    for name in dict.fromkeys(reference.model for reference in named) if named else model_names(client):
        model = client.get_registered_model(name)
        tag = model.tags.get(FLEET_TAG)
        fleet = parse_fleet_tag(name, tag) if tag else ()
        wanted = [reference for reference in named if reference.model == name]
        for reference in dict.fromkeys(wanted) if named else _asked(client, model, fleet, trader_id):
            traders = _traders(trader, reference, fleet, trader_id)
            yield Loaded(reference, traders, _resolve(model, reference))


def _asked(
    client: MlflowClient, model: RegisteredModel, fleet: Sequence[Announcement], trader_id: str | None
) -> list[Reference]:
    """The references that were announced for; both stages of a guarded model for which nobody announced."""
    if trader_id:
        return [a.reference for a in fleet if a.trader.trader_id == trader_id]
    if fleet:
        return list(dict.fromkeys(a.reference for a in fleet))
    versions = client.search_model_versions(f"name='{model.name}'")
    guarded = any(_SPEC_TAG in version.tags for version in versions)
    return [Reference(model.name, stage) for stage in PROTECTED_STAGES] if guarded else []


def _traders(
    trader: Trader, reference: Reference, fleet: Sequence[Announcement], trader_id: str | None
) -> tuple[Trader, ...]:
    """The trader as each of those that announced for the reference, or as itself where nobody did."""
    said = [a.trader for a in fleet if a.reference == reference and trader_id in (None, a.trader.trader_id)]
    named = trader if trader_id is None else replace(trader, trader_id=trader_id)
    return tuple(replace(trader, trader_id=each.trader_id, paper=each.paper) for each in said) or (named,)


def _resolve(model: RegisteredModel, reference: Reference) -> str | None:
    if reference.is_alias:
        found = model.aliases.get(reference.alias)
        return None if found is None else str(found)
    standing = [int(each.version) for each in model.latest_versions if each.current_stage == reference.stage]
    return str(max(standing)) if standing else None


def _with_paper(traders: Sequence[Trader], paper: bool) -> tuple[Trader, ...]:
    return tuple(replace(trader, paper=paper) for trader in traders)


def _judge(found: Sequence[Loaded], tracking_uri: str | None, registry_uri: str | None) -> list[Answer]:
    """The answer of every reference; a version's contract is read once."""
    contracts: dict[str, Contract] = {}
    answers = []
    for loaded in found:
        if loaded.version is None:
            answers.append(Answer(loaded, None, []))
            continue
        uri = f"models:/{loaded.reference.model}/{loaded.version}"
        if uri not in contracts:
            contracts[uri] = _read(uri, tracking_uri, registry_uri)
        judged = [(trader, judge_trader(contracts[uri], trader)) for trader in loaded.traders]
        answers.append(Answer(loaded, contracts[uri], judged))
    return answers


def _read(uri: str, tracking_uri: str | None, registry_uri: str | None) -> Contract:
    """A version's contract; one that can't be had is refused with the reason, beside what is said of others."""
    try:
        return read_contract_of(uri, tracking_uri, registry_uri)
    except RegistryError as error:
        return Contract.unknown(str(error))


def _print(trader: Trader, answers: Sequence[Answer], allowed: bool) -> None:
    for answer in answers:
        if answer.contract is None:
            click.echo(one_line(f"{answer.loaded.reference} loads nothing"))
        else:
            what = f"{answer.loaded.reference} version {answer.loaded.version}"
            print_judged(what, answer.contract, answer.judged)
    own = ", ".join(f"{name} {version}" for name, version in trader.packages.items())
    who = f"trader {trader.version}" + (f" with {own}" if own else "")
    refusing = sum(not answer.allowed for answer in answers)
    told = "may be deployed" if allowed else f"can't be deployed: {refusing} of {len(answers)} reference(s) refuse it"
    click.secho(one_line(f"{who} {told}"), fg="green" if allowed else "red", bold=True)
