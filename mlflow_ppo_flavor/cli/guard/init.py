"""`mlflow-ppo guard init`: make a signing key. Nothing else ever makes one."""

from __future__ import annotations

from pathlib import Path

import click

from mlflow_ppo_flavor.cli.guard.key_file import KEY_FILE_VARIABLE, key_file_option
from mlflow_ppo_flavor.contract.keys import SigningKey


@click.command(name="init")
@key_file_option
def command(key_file: Path | None) -> None:
    """Make the key that a registry signs its verdicts with.

    Writes a new Ed25519 key (PEM, PKCS#8) to a file that its owner alone can read, and prints its public key. A file
    that is there is never overwritten.
    """
    if key_file is None:
        raise click.UsageError(
            f"--key-file: found none, expected a path for the new key: give it or set {KEY_FILE_VARIABLE}"
        )
    key = SigningKey.generate()
    key.write(key_file)
    click.echo(key.public.pem, nl=False)
    for line in _next_steps(key_file.absolute(), key.public.key_id):
        click.echo(line, err=True)


def _next_steps(key_file: Path, key_id: str) -> list[str]:
    return [
        f"Key {key_id}: the private key is in {key_file}, the public one is above.",
        "Next:",
        f"  1. Keep a copy of {key_file} where only you can read it: whoever has it can sign verdicts.",
        f"  2. Start the server with {KEY_FILE_VARIABLE}={key_file}, or `mlflow-ppo server --signing-key {key_file}`.",
        "  3. Sign what stands: `mlflow-ppo guard install URI --adopt`.",
        "  4. Give the public key to every trader, as a file: `python -m live … --verdict-key FILE`; several keys at "
        "once while one is replaced.",
    ]
