"""`mlflow-ppo spec list|show`: the released specs, and the spec of any model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mlflow_ppo_flavor.cli.report import format_option, print_json, print_table
from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.errors import SpecError


@click.group(name="spec")
def command() -> None:
    """Show released specs, and the spec of any model."""


@command.command(name="list")
@format_option
def list_specs(format_: str) -> None:
    """List the released specs.

    JSON: a list of {version, requires_trader, n_features, window, obs_dim, n_actions, breaking_changes, fingerprint}.
    """
    told = [_short(spec) for spec in MODEL_SPECS.values()]
    if format_ == "json":
        print_json(told)
        return
    rows = [[str(value) for key, value in row.items() if key != "fingerprint"] for row in told]
    print_table(["spec", "trader", "features", "window", "obs_dim", "actions", "breaking changes"], rows)


@command.command()
@click.argument("which", metavar="VERSION|MODEL_URI")
@click.option("--tracking-uri", envvar="MLFLOW_TRACKING_URI", help="The MLflow server's URI.")
@click.option("--registry-uri", envvar="MLFLOW_REGISTRY_URI", help="The registry's URI, where it is another.")
@format_option
def show(which: str, tracking_uri: str | None, registry_uri: str | None, format_: str) -> None:
    """Show one spec: of a released version, or of a model (a folder, runs:/…, models:/…).

    JSON: {spec, fingerprint, digest, proven}; digest and proven are null for a released version.
    """
    digest, proven = None, None
    if which in MODEL_SPECS:
        spec = MODEL_SPECS[which]
    elif ":" not in which and not Path(which).exists():
        released = ", ".join(MODEL_SPECS)
        raise SpecError(which, "no model there", f"a released version ({released}), a model's folder or its URI")
    else:
        from mlflow_ppo_flavor.cli.model_uri import read_readable

        contract = read_readable(which, tracking_uri, registry_uri)
        spec, digest, proven = contract.spec, contract.digest, contract.proven
    if format_ == "json":
        print_json({"spec": spec.to_dict(), "fingerprint": spec.fingerprint, "digest": digest, "proven": proven})
        return
    for line in _lines(spec):
        click.echo(line)
    if digest is not None:
        click.echo(f"digest          {digest}\nproven          {'yes' if proven else 'no'}")


def _short(spec: ModelSpec) -> dict[str, Any]:
    return {
        "version": spec.version,
        "requires_trader": spec.requires_trader,
        "n_features": spec.n_features,
        "window": spec.window,
        "obs_dim": spec.obs_dim,
        "n_actions": spec.n_actions,
        "breaking_changes": spec.breaking_changes,
        "fingerprint": spec.fingerprint,
    }


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
