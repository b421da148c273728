"""`mlflow-ppo server`: an MLflow server whose registry is guarded."""

from __future__ import annotations

import os
import sys

import click

_PREFIX = "ppo:"
_GUARDED = ("sqlite", "postgresql")


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--backend-store-uri",
    envvar="MLFLOW_BACKEND_STORE_URI",
    show_envvar=True,
    default="sqlite:///mlflow.db",
    show_default=True,
    help="The tracking database.",
)
@click.option(
    "--registry-store-uri",
    envvar="MLFLOW_REGISTRY_STORE_URI",
    show_envvar=True,
    help="The registry's database, where it is another.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=5000, show_default=True, help="The port to listen on.")
@click.argument("mlflow_options", nargs=-1, type=click.UNPROCESSED)
def command(
    backend_store_uri: str, registry_store_uri: str | None, host: str, port: int, mlflow_options: tuple[str, ...]
) -> None:
    """Start an MLflow server with the gate before its registry.

    All other options go to `mlflow server` as they are. It runs until it is stopped, and takes signals as
    `mlflow server` does.
    """
    registry = _PREFIX + (registry_store_uri or backend_store_uri).removeprefix(_PREFIX)
    database = registry.removeprefix(_PREFIX).partition(":")[0].partition("+")[0]
    if database not in _GUARDED:
        expected = " or ".join(f"{name}:…" for name in _GUARDED)
        raise click.UsageError(f"registry store: found {database}:…, expected {expected}: the gate can't lock others")
    click.echo(f"MLflow with the gate of mlflow-ppo: http://{host}:{port}", err=True)
    # by the environment: the URIs may hold passwords, and everybody reads a process's arguments
    os.environ["MLFLOW_BACKEND_STORE_URI"] = backend_store_uri.removeprefix(_PREFIX)
    os.environ["MLFLOW_REGISTRY_STORE_URI"] = registry
    arguments = ["-m", "mlflow", "server", "--host", host, "--port", str(port), *mlflow_options]
    sys.stdout.flush()
    # in place of this process: signals and the exit code are MLflow's own
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 no shell
