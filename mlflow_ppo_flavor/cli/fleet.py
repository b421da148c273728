"""`mlflow-ppo fleet`: the traders that announced themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from mlflow_ppo_flavor.cli.connection import answering, connect, registry_options
from mlflow_ppo_flavor.cli.report import format_option, print_json, print_table
from mlflow_ppo_flavor.contract.trader import Announcement
from mlflow_ppo_flavor.registry.fleet import FLEET_TAG, parse_fleet_tag

if TYPE_CHECKING:
    from mlflow import MlflowClient


@click.command()
@click.argument("name", required=False)
@registry_options
@format_option
def command(name: str | None, tracking_uri: str | None, registry_uri: str | None, format_: str) -> None:
    """List the announced traders, of one model or of all.

    JSON: a list of {model, reference, trader_id, version, paper, announced_at}; reference is Production, Staging or
    @alias.
    """
    client = connect(tracking_uri, registry_uri)
    with answering():
        told = [_told(each) for each in _fleet(client, name)]
    if format_ == "json":
        print_json(told)
    elif not told:
        click.echo(f"no trader announced for {name}" if name else "no trader announced")
    else:
        rows = [[str(v) if k != "paper" else ("paper" if v else "real money") for k, v in row.items()] for row in told]
        print_table(["model", "reference", "trader", "version", "money", "announced"], rows)


def _fleet(client: MlflowClient, name: str | None) -> Iterator[Announcement]:
    for model in [name] if name else model_names(client):
        tag = client.get_registered_model(model).tags.get(FLEET_TAG)
        yield from parse_fleet_tag(model, tag) if tag else ()


def model_names(client: MlflowClient) -> Iterator[str]:
    """The names of all registered models, page by page."""
    token = None
    while True:
        page = client.search_registered_models(page_token=token)
        yield from (model.name for model in page)
        token = page.token
        if not token:
            return


def _told(announcement: Announcement) -> dict[str, object]:
    trader = announcement.trader
    return {
        "model": announcement.reference.model,
        "reference": announcement.reference.label,
        "trader_id": trader.trader_id,
        "version": trader.version,
        "paper": trader.paper,
        "announced_at": announcement.announced_at,
    }
