"""`mlflow-ppo spec lock`: write spec.lock anew, unless a version bump is owed."""

from __future__ import annotations

from pathlib import Path

import click

from mlflow_ppo_flavor.cli.report import format_option, print_json
from mlflow_ppo_flavor.cli.spec.lock_file import (
    check_running,
    counted,
    find_lock,
    owed_since,
    print_findings,
    read_against,
    read_lock,
    shown,
)
from mlflow_ppo_flavor.cli.spec.rewriting import rewrite
from mlflow_ppo_flavor.contract.lock import LOCK_NAME


@click.command(name="lock")
@click.option(
    "--against",
    metavar="REV|FILE",
    help="Judge what is owed since the lock of a git revision, such as HEAD: what is new since then may still change.",
)
@format_option
@click.pass_context
def command(context: click.Context, against: str | None, format_: str) -> None:
    """Write spec.lock anew, unless a version bump is owed.

    The lock is that of the current folder or its parents; where there is none, it is made in the current folder. Exit
    codes: 0 written or as it was, 1 a bump is owed and nothing is written, 2 a lock or revision that can't be read.
    JSON: {lock, written, findings: [{bump, place, found, expected, remedy}]}.
    """
    path = find_lock(Path.cwd()) or Path.cwd() / LOCK_NAME
    check_running(path.parent)
    locked = read_lock(path) if path.exists() and against is None else None
    base = locked if against is None else read_against(against, path.parent)
    from mlflow_ppo_flavor.decision.behaviour import lock_of_this_code

    code = lock_of_this_code()
    found = owed_since(base, code) if base else ()
    same = path.exists() and path.read_bytes() == code.text().encode()
    if not (found or same):
        rewrite({path: code.text()})
    if format_ == "json":
        told = {"lock": str(path), "written": not (found or same)}
        print_json(told | {"findings": [finding.to_dict() for finding in found]})
    else:
        count = f"({len(code.specs)} specs, {len(code.features)} features)"
        outcome = f"{counted(found)}, not written" if found else f"{'as it was' if same else 'written'} {count}"
        print_findings(f"{shown(path)}: {outcome}", found)
    context.exit(1 if found else 0)
