"""`mlflow-ppo server`: an MLflow server whose registry is guarded, with the gate's own page."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlparse

import click

from mlflow_ppo_flavor.cli.report import one_line
from mlflow_ppo_flavor.contract.keys import SigningKey
from mlflow_ppo_flavor.registry.policy_file import read_policy

_PREFIX = "ppo:"
_GUARDED = ("sqlite", "postgresql")
# the scheme that registry.folders names; importing it would import mlflow twice
_FROZEN = "ppo-file:"
# What `--app-name` becomes: MLflow's own applications, with the gate's page before them.
_WITH_PAGE = {None: "ppo", "basic-auth": "ppo-basic-auth"}
# MLflow serves no registry, or no other application, with these; and the values of the variables that say the same.
_WITHOUT_PAGE = {"--artifacts-only": ("MLFLOW_ARTIFACTS_ONLY", "true"), "--dev": ("", "")}
_UNPROXIED = {
    "--no-serve-artifacts": ("MLFLOW_SERVE_ARTIFACTS", "false"),
    "--default-artifact-root": ("MLFLOW_DEFAULT_ARTIFACT_ROOT", ""),
}


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
@click.option(
    "--artifacts-destination",
    envvar="MLFLOW_ARTIFACTS_DESTINATION",
    show_envvar=True,
    default="./mlartifacts",
    show_default=True,
    help="Where artifacts lie. In a local folder, those of guarded versions are frozen.",
)
@click.option(
    "--policy",
    envvar="MLFLOW_PPO_POLICY_FILE",
    show_envvar=True,
    metavar="FILE",
    help="The gate's policy (YAML); without it, the default one.",
)
@click.option(
    "--signing-key",
    envvar="MLFLOW_PPO_SIGNING_KEY_FILE",
    show_envvar=True,
    metavar="FILE",
    help="The key that verdicts are signed with, as `mlflow-ppo guard init` makes it.",
)
@click.option("--app-name", help="MLflow's application: basic-auth asks for users and passwords.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=5000, show_default=True, help="The port to listen on.")
@click.argument("mlflow_options", nargs=-1, type=click.UNPROCESSED)
def command(
    backend_store_uri: str,
    registry_store_uri: str | None,
    artifacts_destination: str,
    policy: str | None,
    signing_key: str | None,
    app_name: str | None,
    host: str,
    port: int,
    mlflow_options: tuple[str, ...],
) -> None:
    """Start an MLflow server with the gate before its registry, and the gate's page at /ppo/.

    All other options go to `mlflow server` as they are. It runs until it is stopped, and takes signals as
    `mlflow server` does.
    """
    registry = _PREFIX + (registry_store_uri or backend_store_uri).removeprefix(_PREFIX)
    _check_database(registry)
    destination = frozen(artifacts_destination)
    application = _application(app_name, mlflow_options)
    url = f"http://{host}:{port}"
    ruled = _told(policy, signing_key)
    click.echo(f"MLflow with the gate of mlflow-ppo: {url}", err=True)
    for line in (*ruled, _artifacts(destination, mlflow_options), _page(url, application, mlflow_options)):
        click.echo(one_line(f"  {line}"), err=True)
    # by the environment: the URIs may hold passwords, and everybody reads a process's arguments
    os.environ["MLFLOW_BACKEND_STORE_URI"] = backend_store_uri.removeprefix(_PREFIX)
    os.environ["MLFLOW_REGISTRY_STORE_URI"] = registry
    os.environ["MLFLOW_ARTIFACTS_DESTINATION"] = destination
    _name_files({"MLFLOW_PPO_POLICY_FILE": policy, "MLFLOW_PPO_SIGNING_KEY_FILE": signing_key})
    if application == _WITH_PAGE["basic-auth"]:
        _prepare_users()
    named = [] if application is None else ["--app-name", application]
    arguments = ["-m", "mlflow", "server", "--host", host, "--port", str(port), *named, *mlflow_options]
    sys.stdout.flush()
    # in place of this process: signals and the exit code are MLflow's own
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 no shell


def frozen(destination: str) -> str:
    """A destination of artifacts: a local folder as the repository that freezes what is guarded, others as they are."""
    parsed = urlparse(destination)
    if parsed.scheme == "":
        return _FROZEN + Path(destination).absolute().as_uri().removeprefix("file:")
    if parsed.scheme == "file" and not parsed.netloc:
        return f"{_FROZEN}//{parsed.path}"
    return destination


def _check_database(registry: str) -> None:
    database = registry.removeprefix(_PREFIX).partition(":")[0].partition("+")[0]
    if database not in _GUARDED:
        expected = " or ".join(f"{name}:…" for name in _GUARDED)
        raise click.UsageError(f"registry store: found {database}:…, expected {expected}: the gate can't lock others")


def _application(app_name: str | None, options: Sequence[str]) -> str | None:
    """The application that MLflow is started with; None for its own without the page."""
    if app_name is None and _said(_WITHOUT_PAGE, options):
        return None
    return _WITH_PAGE.get(app_name, app_name)


def _said(known: Mapping[str, tuple[str, str]], options: Sequence[str]) -> str:
    """The first of these options that was given, or whose variable says the same; empty where none is."""
    given = {option.partition("=")[0] for option in options}
    for option, (variable, value) in known.items():
        told = os.environ.get(variable, "")
        if option in given or (told and value in ("", told.lower())):
            return option
    return ""


def _told(policy: str | None, signing_key: str | None) -> list[str]:
    """What rules and what signs, told after reading the files: one that can't be used starts no server."""
    if policy is not None:
        read_policy(Path(policy))
    ruled = "the default policy" if policy is None else f"the policy of {policy}"
    if signing_key is None:
        return [f"registry: guarded by {ruled}", "verdicts: not signed (--signing-key FILE signs them)"]
    key = SigningKey.read(Path(signing_key)).public.key_id
    return [f"registry: guarded by {ruled}", f"verdicts: signed by key {key}"]


def _artifacts(destination: str, options: Sequence[str]) -> str:
    if not destination.startswith(_FROZEN):
        # what stands before the @ of an authority may be a password
        shown = urlparse(destination)
        place = f"{shown.scheme}://{shown.netloc.rpartition('@')[2]}{shown.path}"
        return f"artifacts: not frozen in {place}: only the digest protects there, checked by audit and by each trader"
    unproxied = _said(_UNPROXIED, options)
    if unproxied:
        return f"artifacts: not frozen with {unproxied}: only the digest protects what clients write themselves"
    return f"artifacts: those of guarded versions are frozen in {unquote(destination.removeprefix(f'{_FROZEN}//'))}"


def _page(url: str, application: str | None, options: Sequence[str]) -> str:
    if application not in _WITH_PAGE.values():
        return "page: none with " + (application or _said(_WITHOUT_PAGE, options))
    return f"page: {url}{_static_prefix(options)}/ppo/"


def _static_prefix(options: Sequence[str]) -> str:
    """The prefix that MLflow's paths have, as its option or its variable gives it."""
    for place, option in enumerate(options):
        name, given, value = option.partition("=")
        if name == "--static-prefix":
            return value if given else "".join(options[place + 1 : place + 2])
    return os.environ.get("MLFLOW_STATIC_PREFIX", "")


def _name_files(files: dict[str, str | None]) -> None:
    for variable, name in files.items():
        if name is not None:
            os.environ[variable] = str(Path(name).absolute())


def _prepare_users() -> None:
    """Create the users' database and its admin before any worker runs: workers that do it at once end each other."""
    from mlflow.environment_variables import _MLFLOW_AUTH_ADMIN_BOOTSTRAPPED, _MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN
    from mlflow.exceptions import MlflowException

    try:
        from mlflow.server.auth import bootstrap_admin_user, get_flask_server_secret_key

        get_flask_server_secret_key()
        bootstrap_admin_user()
    except ImportError as error:
        raise click.UsageError(f"--app-name basic-auth: {error}: pip install 'mlflow[auth]'") from error
    except MlflowException as error:
        raise click.UsageError(f"--app-name basic-auth: {error.message}") from error
    # as `mlflow server` does for its own basic-auth
    os.environ[_MLFLOW_AUTH_ADMIN_BOOTSTRAPPED.name] = "true"
    os.environ[_MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN.name] = secrets.token_hex(32)
