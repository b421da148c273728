"""`mlflow-ppo guard public-key`: the public half of a signing key, from its file or from a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from mlflow_ppo_flavor.cli.connection import connect, registry_options
from mlflow_ppo_flavor.cli.guard.key_file import KEY_FILE_VARIABLE, key_file_option
from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.keys import SigningKey, VerifyingKey
from mlflow_ppo_flavor.contract.request import GUARD_MODEL, Question
from mlflow_ppo_flavor.errors import RegistryError


@click.command(name="public-key")
@key_file_option
@registry_options
@click.pass_context
def command(ctx: click.Context, key_file: Path | None, tracking_uri: str | None, registry_uri: str | None) -> None:
    """Print the public key that traders know a registry's verdicts by.

    PEM on standard output, from the private key's file or, where --tracking-uri or --registry-uri is given, from the
    server: as good as the connection to it. What a trader is given should come from the file.
    """
    named = {name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    from_server = bool(named & {"tracking_uri", "registry_uri"})
    if from_server and "key_file" in named:
        raise click.UsageError("--key-file: found a file and a server, expected one of them")
    if key_file is not None and not from_server:
        key = SigningKey.read(key_file).public
    elif tracking_uri or registry_uri:
        key = _served(tracking_uri, registry_uri)
    else:
        raise click.UsageError(
            f"--key-file: found none, expected the private key's file or a server: "
            f"give it, set {KEY_FILE_VARIABLE}, or give --tracking-uri"
        )
    click.echo(key.pem, nl=False)


def _served(tracking_uri: str | None, registry_uri: str | None) -> VerifyingKey:
    connect(tracking_uri, registry_uri)
    # MLflow takes a second to import: not for --help
    from mlflow_ppo_flavor.announcement import ask

    told: Any = ask(Question("guard")).get(GUARD_MODEL)
    if not isinstance(told, dict):
        raise RegistryError(
            "registry: found no gate, expected one that signs its verdicts: "
            "start the server with `mlflow-ppo server`, or --registry-store-uri ppo:<database URI>"
        )
    if told.get("public_key") is None:
        raise RegistryError(
            f"registry: found no signing key, expected one: `mlflow-ppo guard init` makes it, "
            f"and the server takes it from {KEY_FILE_VARIABLE}"
        )
    place = "ppo.report.public_key"
    return VerifyingKey.from_pem(parsing.text(told["public_key"], place), place)
