"""`mlflow-ppo doctor`: is this server's registry guarded? What is to mend, and how."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import click

from mlflow_ppo_flavor.cli.asking import guard_report, reports
from mlflow_ppo_flavor.cli.connection import answering, connect, registry_options
from mlflow_ppo_flavor.cli.report import format_option, one_line, print_json
from mlflow_ppo_flavor.contract.masking import masked
from mlflow_ppo_flavor.contract.request import MOST_ROWS, Question
from mlflow_ppo_flavor.version import VERSION

State = Literal["ok", "note", "mend"]
_COLOURS: dict[State, str] = {"ok": "green", "note": "cyan", "mend": "red"}
_MOST_TOLD = 10
_FOUND = 200


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: `mend` where something is wrong, `note` where something could be better."""

    code: str
    state: State
    found: str
    remedy: str = ""


@click.command()
@registry_options
@format_option
@click.pass_context
def command(context: click.Context, tracking_uri: str | None, registry_uri: str | None, format_: str) -> None:
    """Tell whether a server's registry is guarded, and how to guard it.

    Then: its policy, its signing key, whether artifacts are frozen, its page, the versions of server and client,
    contracts that haven't been read, and protected references that load what would be refused today.

    Exit codes: 0 guarded, 1 not guarded or something to mend, 2 not reached. JSON: {registry, guarded,
    checks: [{code, state: ok | note | mend, found, remedy}]}.
    """
    client = connect(tracking_uri, registry_uri)
    with answering():
        client.search_registered_models(max_results=1)
    place, told = _place(), guard_report()
    checks = list(_unguarded(place)) if told is None else [*_checks(place, told), *_standing()]
    if format_ == "json":
        print_json({"registry": _public(place), "guarded": told is not None, "checks": [asdict(c) for c in checks]})
    else:
        _print(place, checks)
    context.exit(1 if any(check.state == "mend" for check in checks) else 0)


def _place() -> str:
    import mlflow

    return str(mlflow.get_registry_uri())


def _is_server(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def _public(place: str) -> str:
    """A registry's URI without the password that it may hold."""
    return masked(place)


def _unguarded(place: str) -> Iterator[Check]:
    """What is wrong with a registry that no gate answers for, and how to guard it."""
    if _is_server(place):
        remedy = (
            "on the server's machine: pip install mlflow-ppo-flavor; mlflow-ppo guard install <database URI>, which "
            "tells what would be refused today; then start it with `mlflow-ppo server --backend-store-uri <database "
            "URI>`, or `mlflow server … --registry-store-uri ppo:<database URI>`"
        )
        yield Check("guard", "mend", f"{_public(place)}: no gate before the registry", remedy)
        yield _server_version(place)
        return
    from mlflow_ppo_flavor.registry.database import has_guard, plain_uri

    if has_guard(plain_uri(place)):
        found = f"{_public(place)}: the gate's tables are there, but this URI goes round it"
        yield Check("guard", "mend", found, f"use ppo:{_public(place)}: here, in every client, and in the server")
        return
    remedy = f"mlflow-ppo guard install {_public(place)}, then use ppo:{_public(place)} in the server and every client"
    yield Check("guard", "mend", f"{_public(place)}: no gate before the registry", remedy)


def _checks(place: str, told: dict[str, Any]) -> Iterator[Check]:
    found = f"{_public(place)}: guarded, on {told['database']}, registry {told['registry_id']}"
    yield Check("guard", "ok", found)
    yield _package_version(str(told["version"]))
    yield _policy(told["policy"])
    yield _key(told["public_key"])
    if _is_server(place):
        yield _server_version(place)
        yield _artifacts(str(told["artifacts"]))
        yield _page(place, bool(told["page"]))
    yield _contracts(int(told["unread"]))


def _package_version(server: str) -> Check:
    if server == VERSION:
        return Check("package", "ok", f"mlflow-ppo-flavor {server} on both sides")
    found = f"mlflow-ppo-flavor {server} on the server, {VERSION} here"
    return Check("package", "mend", found, "install the same version on both sides")


def _server_version(place: str) -> Check:
    """MLflow's version, which a server tells at /version."""
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request
    from mlflow.version import VERSION as OWN

    with answering():
        answer = http_request(get_default_host_creds(place), "/version", "GET")
    server = answer.text.strip()[:100]
    if answer.status_code != _FOUND:
        return Check("mlflow", "note", f"the server doesn't tell MLflow's version: HTTP {answer.status_code}")
    if server.rpartition(".")[0] == OWN.rpartition(".")[0]:
        return Check("mlflow", "ok", f"MLflow {server} on the server, {OWN} here")
    remedy = "the gate is made for one minor release of MLflow: install the same on both sides"
    return Check("mlflow", "mend", f"MLflow {server} on the server, {OWN} here", remedy)


def _policy(policy: dict[str, Any]) -> Check:
    if not policy:
        return Check("policy", "ok", "the default policy: Production blocks, Staging warns until a trader announced")
    return Check("policy", "ok", f"a policy that sets {', '.join(sorted(policy))}")


def _key(pem: str | None) -> Check:
    if pem is None:
        remedy = "mlflow-ppo guard init makes a key; start the server with --signing-key FILE"
        return Check("key", "note", "verdicts aren't signed: traders can't demand one", remedy)
    from mlflow_ppo_flavor.contract.keys import VerifyingKey

    return Check("key", "ok", f"verdicts are signed, key {VerifyingKey.from_pem(pem).key_id}")


def _artifacts(state: str) -> Check:
    if state == "frozen":
        return Check("artifacts", "ok", "artifacts of guarded versions are frozen")
    remedy = (
        "for a local folder, start the server with --artifacts-destination ppo-file:///<folder>; elsewhere run audit"
    )
    return Check(
        "artifacts", "note", "artifacts aren't frozen: a change is seen by audit and refused by traders", remedy
    )


def _page(place: str, there: bool) -> Check:
    if there:
        return Check("page", "ok", f"the gate's page: {_public(place).rstrip('/')}/ppo/")
    return Check(
        "page", "note", "no page of the gate", "`mlflow-ppo server` brings it, or `mlflow server --app-name ppo`"
    )


def _contracts(unread: int) -> Check:
    if not unread:
        return Check("contracts", "ok", "the contract of every version is read")
    remedy = "mlflow-ppo guard install <database URI> reads them all, mlflow-ppo reverify NAME VERSION one"
    return Check("contracts", "mend", f"{unread} versions whose contracts aren't read", remedy)


def _standing() -> Iterator[Check]:
    """The protected references that load what would be refused today."""
    count, refused = 0, []
    for _, report in reports(Question("standing", limit=MOST_ROWS)):
        for reference in report["references"]:
            count += 1
            wrong = [cell for cell in reference["cells"] if not cell["allowed"]]
            if wrong:
                first = next(finding for finding in wrong[0]["findings"] if finding["kind"] != "warning")
                refused.append((f"{reference['reference']} loads version {reference['version']}", first))
    if not refused:
        yield Check("standing", "ok", f"none of {count} protected references loads what would be refused today")
    for loads, first in refused[:_MOST_TOLD]:
        found = f"{loads}, which would be refused today: {first['found']}, {first['expected']}"
        yield Check("standing", "mend", found, "promote another version, or mlflow-ppo rollback or withdraw")
    if len(refused) > _MOST_TOLD:
        more = len(refused) - _MOST_TOLD
        yield Check("standing", "mend", f"and {more} more protected references", "mlflow-ppo audit lists them all")


def _print(place: str, checks: list[Check]) -> None:
    for check in checks:
        state = click.style(f"[{check.state}]", fg=_COLOURS[check.state], bold=check.state == "mend")
        click.echo(f"{state} {one_line(check.found)}")
        if check.remedy:
            click.echo(f"    {one_line(check.remedy)}")
    mend = sum(check.state == "mend" for check in checks)
    click.secho(
        f"{_public(place)}: {f'{mend} to mend' if mend else 'guarded'}", fg="red" if mend else "green", bold=True
    )
