"""`mlflow-ppo spec show`: the spec of a release, of an own family or of any model."""

from __future__ import annotations

import click

from mlflow_ppo_flavor.cli.connection import registry_options
from mlflow_ppo_flavor.cli.report import format_option, one_line, print_json
from mlflow_ppo_flavor.cli.spec.named import read_named
from mlflow_ppo_flavor.contract.spec import ModelSpec


@click.command(name="show")
@click.argument("which", metavar="VERSION|FILE|MODEL_URI")
@registry_options
@format_option
def command(which: str, tracking_uri: str | None, registry_uri: str | None, format_: str) -> None:
    """Show one spec: of a released version, or of a model.

    WHICH is a version such as 2.7.0, an own spec such as acme:1.0.0, a spec's JSON file, a model's folder, runs:/… or
    models:/…. JSON: {spec, fingerprint, digest, proven}; digest and proven are null for what is no model.
    """
    named = read_named(which, tracking_uri, registry_uri)
    spec, digest, proven = named.spec, named.digest, named.proven
    if format_ == "json":
        print_json({"spec": spec.to_dict(), "fingerprint": spec.fingerprint, "digest": digest, "proven": proven})
        return
    for line in _lines(spec):
        click.echo(one_line(line))
    if digest is not None:
        click.echo(f"digest          {digest}\nproven          {'yes' if proven else f'no ({one_line(named.proof)})'}")


def _lines(spec: ModelSpec) -> list[str]:
    bars = spec.bars
    sizing = ", ".join(f"{key} {value}" for key, value in spec.sizing.to_dict().items())
    return [
        f"spec            {spec.family} {spec.version}",
        f"requires trader {spec.requires_trader}",
        f"observation     {spec.n_features} features × {spec.window} bars = {spec.obs_dim}",
        f"bars            {'not filled' if bars is None else ', '.join(bars.to_dict().values())}",
        f"symbols         {', '.join(spec.symbols) or 'none recorded'}",
        f"sizing          {sizing}",
        f"fingerprint     {spec.fingerprint}",
        "actions",
        *(
            f"  {i} {action.name} (direction {action.direction}, size {action.size:g})"
            for i, action in enumerate(spec.actions)
        ),
        "features",
        *(f"  {i} {reference}" for i, reference in enumerate(spec.features)),
    ]
