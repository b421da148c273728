"""`mlflow-ppo guard remove`: take the gate out of a registry's database."""

from __future__ import annotations

import click

from mlflow_ppo_flavor.cli.report import format_option, one_line, print_json
from mlflow_ppo_flavor.contract.masking import masked


@click.command()
@click.argument("uri")
@click.option("--yes", is_flag=True, help="Do it; without it, only what would be removed is told.")
@format_option
def command(uri: str, yes: bool, format_: str) -> None:
    """Remove the gate from a registry's database.

    Its tables go, with contracts, announcements, verdicts and history; its tags on MLflow's pages, and its blocks in
    descriptions. MLflow's own data stays: models, versions, stages, aliases. Each tag whose key starts with ppo. is
    taken for the gate's: look whether one of those that are listed is your own. Stop the server first, and start it
    without ppo: afterwards. URI: the database's, with or without ppo: before it.

    Exit codes: 0 removed, or told, 2 not reached. JSON: {database, removed, tables: {name: rows}, tags,
    keys: {tag's key: how many}, blocks}.
    """
    # MLflow takes a second to import: not for --help
    from mlflow_ppo_flavor.registry.database import opened, plain_uri, public_uri
    from mlflow_ppo_flavor.registry.removal import remains, remove

    plain = plain_uri(uri)
    with opened(plain) as engine:
        found = remove(engine) if yes else remains(engine)
    place = masked(public_uri(plain))
    if format_ == "json":
        told = {"tables": found.tables, "tags": found.tags, "keys": found.keys, "blocks": found.blocks}
        print_json({"database": place, "removed": yes and bool(found), **told})
        return
    if not found:
        click.echo(f"No gate in {place}: nothing to remove")
        return
    click.secho(f"{'Removed from' if yes else 'Would be removed from'} {place}:", bold=True)
    for name, rows in found.tables.items():
        click.echo(f"  table {name} ({rows} rows)")
    for key, count in found.keys.items():
        click.echo(f"  tag {one_line(key)} ({count})")
    click.echo(f"  {found.tags} tags that start with ppo., {found.blocks} blocks in descriptions")
    if not yes:
        click.echo("Nothing was changed. Stop the server, then run it again with --yes")
