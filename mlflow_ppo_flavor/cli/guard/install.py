"""`mlflow-ppo guard install`: tell what a registry's gate would refuse today, and prepare its database."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_ppo_flavor.cli.connection import answering
from mlflow_ppo_flavor.cli.report import format_option, one_line, print_findings, print_json
from mlflow_ppo_flavor.contract.masking import masked

if TYPE_CHECKING:
    from mlflow_ppo_flavor.registry.installation import Standing
    from mlflow_ppo_flavor.registry.store import GuardMixin

_MOST_SHOWN = 20
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)


@dataclass(slots=True)
class Found:
    """What was found in a registry, workspace by workspace."""

    read: int = 0
    unread: list[dict[str, Any]] = field(default_factory=list)
    standing: list[Standing] = field(default_factory=list)
    adopted: list[Standing] = field(default_factory=list)

    @property
    def refused(self) -> list[Standing]:
        """The protected references that load what the gate would refuse today."""
        return [each for each in self.standing if not each.allowed]


@click.command()
@click.argument("uri")
@click.option("--adopt", is_flag=True, help="Give a verdict, signed with the key, to all that stands and is allowed.")
@click.option("--policy", envvar="MLFLOW_PPO_POLICY_FILE", show_envvar=True, type=_FILE, help="The policy to judge by.")
@click.option(
    "--signing-key",
    envvar="MLFLOW_PPO_SIGNING_KEY_FILE",
    show_envvar=True,
    type=_FILE,
    help="The key to sign verdicts with, as `mlflow-ppo guard init` makes it.",
)
@click.option(
    "--artifacts-destination",
    envvar="MLFLOW_ARTIFACTS_DESTINATION",
    show_envvar=True,
    help="Where the server keeps the artifacts that it proxies: a folder, or its own --artifacts-destination.",
)
@click.option(
    "--backend-store-uri",
    envvar="MLFLOW_BACKEND_STORE_URI",
    show_envvar=True,
    help="The tracking database, where it is another.",
)
@format_option
@click.pass_context
def command(
    context: click.Context,
    uri: str,
    adopt: bool,
    policy: Path | None,
    signing_key: Path | None,
    artifacts_destination: str | None,
    backend_store_uri: str | None,
    format_: str,
) -> None:
    """Tell what a registry's gate would refuse today, and prepare its database.

    Makes the gate's tables beside MLflow's, reads the contract of every version once, and judges what each protected
    reference loads: nothing is enforced until the server is started with the gate. It may be run again at any time.
    URI: the registry's database, with or without ppo: before it.

    Exit codes: 0 nothing would be refused, 1 something would be, 2 not reached. JSON: {database, read,
    unread: [{model, version, reason}], references, refused: [{reference, version, findings}], adopted: [reference],
    next: [command]}.
    """
    # MLflow takes a second to import: not for --help
    from mlflow_ppo_flavor.registry.database import opened, plain_uri, public_uri

    plain = plain_uri(uri)
    with opened(plain):
        pass
    _place_server(backend_store_uri or plain, artifacts_destination, policy, signing_key)
    with answering():
        found = _install(plain, adopt=adopt, quiet=format_ == "json")
    place = masked(public_uri(plain))
    following = _following(place, backend_store_uri, policy, signing_key, artifacts_destination)
    if format_ == "json":
        print_json({"database": place, **_told(found), "next": following})
    else:
        _print(place, found, following, adopt=adopt, sealed=signing_key is not None)
    context.exit(1 if found.refused else 0)


def _place_server(backend: str, destination: str | None, policy: Path | None, signing_key: Path | None) -> None:
    """Stand where the server stands: what it proxies is read as it reads it, and files are named as it is told them."""
    from mlflow.server import handlers  # noqa: F401 the reader of artifacts looks whether it is there
    from mlflow.server.constants import (
        ARTIFACT_ROOT_ENV_VAR,
        ARTIFACTS_DESTINATION_ENV_VAR,
        BACKEND_STORE_URI_ENV_VAR,
        SERVE_ARTIFACTS_ENV_VAR,
    )

    told = {BACKEND_STORE_URI_ENV_VAR: backend, ARTIFACT_ROOT_ENV_VAR: "mlflow-artifacts:/"}
    if destination is not None:
        told |= {SERVE_ARTIFACTS_ENV_VAR: "true", ARTIFACTS_DESTINATION_ENV_VAR: _plain_destination(destination)}
    files = {"MLFLOW_PPO_POLICY_FILE": policy, "MLFLOW_PPO_SIGNING_KEY_FILE": signing_key}
    os.environ.update(told | {name: str(path) for name, path in files.items() if path is not None})


def _plain_destination(destination: str) -> str:
    """The folder of a destination that freezes: here nothing is written there."""
    return destination.replace("ppo-file:", "file:", 1) if destination.startswith("ppo-file:") else destination


def _install(plain: str, *, adopt: bool, quiet: bool) -> Found:
    from mlflow_ppo_flavor.registry import installation
    from mlflow_ppo_flavor.registry.store import open_store

    found = Found()
    store = open_store(f"ppo:{plain}")
    try:
        for workspace in installation.workspaces(store):
            with installation.within(workspace):
                _read(store, workspace, found, quiet=quiet)
                found.standing += installation.standings(store, workspace)
                if adopt:
                    found.adopted += installation.adopt(store, workspace)
    finally:
        store.engine.dispose()
    return found


def _read(store: GuardMixin, workspace: str, found: Found, *, quiet: bool) -> None:
    from mlflow_ppo_flavor.registry import installation

    origins = installation.unread(store, workspace)
    with _progress(len(origins), quiet=quiet) as advance:
        failed = installation.read_all(store, origins, advance)
    found.read += len(origins) - len(failed)
    found.unread += [
        {"model": origin.key.model, "version": origin.key.version, "reason": contract.reason}
        for origin, contract in failed.items()
    ]


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Any]:
    """A bar on standard error, where somebody looks at it."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    hidden = quiet or not total or not console.is_terminal
    with Progress(console=console, disable=hidden, transient=True) as progress:
        task = progress.add_task("Reading contracts", total=total)
        yield lambda count: progress.advance(task, count)


def _following(
    place: str, backend: str | None, policy: Path | None, signing_key: Path | None, destination: str | None
) -> list[str]:
    """The commands that start the server with the gate: ours, or MLflow's own."""
    from mlflow_ppo_flavor.registry.database import public_uri

    files = {"--policy": policy, "--signing-key": signing_key}
    named = [part for option, path in files.items() if path is not None for part in (option, str(path))]
    kept = [] if destination is None else ["--artifacts-destination", destination]
    tracking = place if backend is None else masked(public_uri(backend))
    apart = [] if backend is None else ["--registry-store-uri", place]
    own = ["mlflow-ppo", "server", "--backend-store-uri", tracking, *apart, *kept, *named]
    return [shlex.join(own)]


def _told(found: Found) -> dict[str, Any]:
    refused = [
        {
            "reference": str(each.held.reference),
            "version": None if each.held.version is None else each.held.version.key.version,
            "findings": [finding.to_dict() for finding in each.findings],
        }
        for each in found.refused
    ]
    adopted = [str(each.held.reference) for each in found.adopted]
    counts = {"read": found.read, "unread": found.unread, "references": len(found.standing)}
    return {**counts, "refused": refused, "adopted": adopted}


def _print(place: str, found: Found, following: Sequence[str], *, adopt: bool, sealed: bool) -> None:
    click.echo(f"{place}: the gate's tables are there, {found.read} contracts were read now")
    for each in found.unread[:_MOST_SHOWN]:
        click.echo(one_line(f"  not read: {each['model']} version {each['version']}: {each['reason']}"))
    if len(found.unread) > _MOST_SHOWN:
        click.echo(f"  and {len(found.unread) - _MOST_SHOWN} more that can't be read now")
    if found.unread:
        click.echo("  (what a server keeps for its clients is read with --artifacts-destination, as the server has it)")
    refused = found.refused
    outcome = f"{len(refused)} of {len(found.standing)} protected references load what would be refused today"
    click.secho(outcome, fg="red" if refused else "green", bold=True)
    for standing in refused:
        version = "nothing" if standing.held.version is None else f"version {standing.held.version.key.version}"
        click.echo(one_line(f"{standing.held.reference} loads {version}"))
        print_findings(standing.findings)
    if adopt:
        signed = "signed" if sealed else "not signed: --signing-key FILE signs them"
        click.echo(f"Verdicts written on {len(found.adopted)} references that load what is allowed ({signed})")
    click.echo("Nothing is enforced yet. Next, start the server with the gate:")
    for line in following:
        click.echo(f"  {line}")
    if not adopt:
        click.echo("  and before it, give what stands its verdicts: run this again with --adopt")
