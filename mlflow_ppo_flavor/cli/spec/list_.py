"""`mlflow-ppo spec list`: the released specs, and those of installed packages."""

from __future__ import annotations

from typing import Any

import click

from mlflow_ppo_flavor.cli.report import format_option, one_line, print_json, print_table
from mlflow_ppo_flavor.contract.releases import known_specs, spec_faults
from mlflow_ppo_flavor.contract.spec import RELEASED_FAMILY, ModelSpec


@click.command(name="list")
@format_option
def command(format_: str) -> None:
    """List the released specs.

    Those of installed packages follow, as acme:1.0.0. JSON: a list of {version, requires_trader, n_features, window,
    obs_dim, n_actions, breaking_changes, fingerprint}.
    """
    told = [_short(spec) for spec in known_specs().values()]
    for fault in spec_faults():
        click.echo(one_line(f"not listed: {fault.message}"), err=True)
    if format_ == "json":
        print_json(told)
        return
    rows = [[str(value) for key, value in row.items() if key != "fingerprint"] for row in told]
    print_table(["spec", "trader", "features", "window", "obs_dim", "actions", "breaking changes"], rows)


def _short(spec: ModelSpec) -> dict[str, Any]:
    return {
        "version": spec.version if spec.family == RELEASED_FAMILY else f"{spec.family}:{spec.version}",
        "requires_trader": spec.requires_trader,
        "n_features": spec.n_features,
        "window": spec.window,
        "obs_dim": spec.obs_dim,
        "n_actions": spec.n_actions,
        "breaking_changes": spec.breaking_changes,
        "fingerprint": spec.fingerprint,
    }
