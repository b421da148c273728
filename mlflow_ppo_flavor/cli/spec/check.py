"""`mlflow-ppo spec check`: which version bumps the code that runs here owes its spec.lock."""

from __future__ import annotations

import click

from mlflow_ppo_flavor.cli.report import format_option, print_json
from mlflow_ppo_flavor.cli.spec.lock_file import (
    counted,
    findings,
    local_lock,
    print_findings,
    read_against,
    read_lock,
    shown,
)


@click.command(name="check")
@click.option(
    "--against",
    metavar="REV|FILE",
    help="Judge all that changed since the lock of a git revision, or of another file, whatever spec.lock says now.",
)
@format_option
@click.pass_context
def command(context: click.Context, against: str | None, format_: str) -> None:
    """Tell which version bumps this code owes its spec.lock.

    The lock is that of the current folder or its parents; the code is what is installed here, own features and specs
    included. Exit codes: 0 nothing is owed and the lock is that of the code, 1 a bump is owed or the lock has to be
    written anew, 2 no lock, no such revision, or a lock that can't be read. JSON: {allowed, lock, against, findings:
    [{bump, place, found, expected, remedy}]}; bump is model, feature, trader, package, restore or lock.
    """
    path = local_lock()
    local = read_lock(path)
    base = local if against is None else read_against(against, path.parent)
    from mlflow_ppo_flavor.decision.behaviour import lock_of_this_code

    code = lock_of_this_code()
    found = findings(base, code, local)
    if format_ == "json":
        told = {"allowed": not found, "lock": str(path), "against": against}
        print_json(told | {"findings": [finding.to_dict() for finding in found]})
    else:
        where = shown(path) if against is None else f"{shown(path)} against {against}"
        agrees = f"this code owes nothing ({len(code.specs)} specs, {len(code.features)} features)"
        print_findings(f"{where}: {counted(found) or agrees}", found)
    context.exit(1 if found else 0)
