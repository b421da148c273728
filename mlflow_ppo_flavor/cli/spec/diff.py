"""`mlflow-ppo spec diff`: what breaks between two specs, and who moves first."""

from __future__ import annotations

from typing import Any

import click

from mlflow_ppo_flavor.cli.connection import registry_options
from mlflow_ppo_flavor.cli.report import format_option, one_line, print_json, print_table
from mlflow_ppo_flavor.cli.spec.named import read_named
from mlflow_ppo_flavor.contract.breakage import (
    MOVERS,
    Breakage,
    Change,
    Mover,
    breakages,
    changes,
    requirement_breakages,
)
from mlflow_ppo_flavor.contract.spec import ModelSpec

_SAYS: dict[Mover, str] = {
    "traders": "traders move first ({}): upgrade them before a model of the new spec is promoted",
    "models": "models move first ({}): traders keep what these need until no model of the old spec is left",
    "either": "either moves first ({}): the stored spec carries it",
}


@click.command(name="diff")
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@registry_options
@format_option
@click.pass_context
def command(
    context: click.Context, old: str, new: str, tracking_uri: str | None, registry_uri: str | None, format_: str
) -> None:
    """Tell what breaks between two specs, and who moves first.

    OLD and NEW are each a version such as 2.7.0, an own spec such as acme:1.0.0, a spec's JSON file, a model's folder,
    runs:/… or models:/…. Exit codes: 0 nothing breaks, 1 something does, 2 not readable. JSON: {old, new: {name,
    family, version, fingerprint}, breakages: [{kind, place, old, new, first}], changes: [{place, old, new}], first:
    those who must move first, of traders, models, either}.
    """
    one, other = (read_named(which, tracking_uri, registry_uri).spec for which in (old, new))
    broken, changed = (*breakages(one, other), *requirement_breakages(one, other)), changes(one, other)
    first = [mover for mover in MOVERS if any(breakage.first == mover for breakage in broken)]
    if format_ == "json":
        told: dict[str, Any] = {"old": _short(old, one), "new": _short(new, other)}
        told |= {"breakages": [b.to_dict() for b in broken], "changes": [c.to_dict() for c in changed], "first": first}
        print_json(told)
    else:
        _print(f"{old} → {new}", broken, changed, first)
    context.exit(1 if broken else 0)


def _short(name: str, spec: ModelSpec) -> dict[str, str]:
    return {"name": name, "family": spec.family, "version": spec.version, "fingerprint": spec.fingerprint}


def _print(what: str, broken: tuple[Breakage, ...], changed: tuple[Change, ...], first: list[Mover]) -> None:
    outcome = f"{len(broken)} breakage(s)" if broken else "nothing breaks"
    click.secho(one_line(f"{what}: {outcome}"), fg="red" if broken else "green", bold=True)
    if broken:
        rows = [[b.first, b.kind, b.place, b.old, b.new] for b in broken]
        print_table(["moves first", "kind", "where", "old", "new"], rows)
    for mover in first:
        click.echo(_SAYS[mover].format(sum(breakage.first == mover for breakage in broken)))
    if changed:
        click.echo("changed, and breaks nothing:")
    for change in changed:
        click.echo(f"  {one_line(change.message)}")
