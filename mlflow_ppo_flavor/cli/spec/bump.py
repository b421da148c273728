"""`mlflow-ppo spec bump`: a new model or trader version in a checkout of this package, in all of its places."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
from packaging.version import Version

from mlflow_ppo_flavor.cli.report import format_option, print_json
from mlflow_ppo_flavor.cli.spec.checkout import (
    CHANGELOG,
    RELEASES,
    Plan,
    bumped_changelog,
    bumped_releases,
    next_spec,
)
from mlflow_ppo_flavor.cli.spec.lock_file import counted, local_lock, print_findings, read_lock
from mlflow_ppo_flavor.cli.spec.rewriting import rewrite
from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.lock import LOCK_NAME, LockedSpec, SpecLock
from mlflow_ppo_flavor.contract.owed import owed
from mlflow_ppo_flavor.contract.releases import (
    CURRENT_MODEL_VERSION,
    CURRENT_TRADER_VERSION,
    MODEL_TRADER_COMPATIBILITY,
)
from mlflow_ppo_flavor.contract.spec import RELEASED_FAMILY
from mlflow_ppo_flavor.errors import LockError, SpecError

_LONGEST = 100
_TESTS = "tests that say what the current versions are: make test names them"
_PLACES = {"major": 0, "minor": 1, "patch": 2}


@click.command(name="bump")
@click.argument("kind", metavar="minor|major|patch|trader", type=click.Choice(["minor", "major", "patch", "trader"]))
@click.option("--trader", metavar="VERSION", help="The trader that new models need; with `trader`: its new version.")
@click.option("--breaking-changes", default="", metavar="TEXT", help="What the new model version breaks, in one line.")
@format_option
@click.pass_context
def command(context: click.Context, kind: str, trader: str | None, breaking_changes: str, format_: str) -> None:
    """Give the models or the trader of this checkout a version.

    major, minor and patch copy the current spec under the next model version, with its entry in the matrix; a patch
    requires the same traders, major and minor too unless --trader names a higher one, which is then also the current
    trader version where it is higher than that. `trader` raises the trader version alone, by a minor unless --trader
    says otherwise. releases.py, CHANGELOG.md and spec.lock are written together or not at all, after the edited
    releases.py was run by itself. Exit codes: 0 done, 1 after this bump another would still be owed, 2 a checkout that
    isn't understood. JSON: {model, trader, written: [files], left: [what to do by hand], findings}.
    """
    path = local_lock()
    root = path.parent
    releases, changelog = (_read(root / each) for each in (RELEASES, CHANGELOG))
    plan = _plan(kind, trader, breaking_changes)
    texts = {root / RELEASES: bumped_releases(releases, plan), root / CHANGELOG: bumped_changelog(changelog, plan)}
    base = read_lock(path)
    from mlflow_ppo_flavor.decision.behaviour import lock_of_this_code

    code = _after(lock_of_this_code(), plan)
    found = owed(base, code)
    if not found:
        rewrite(texts | {path: code.text()})
    written = [] if found else [str(RELEASES), str(CHANGELOG), LOCK_NAME]
    left = [] if found else _left(kind, plan)
    if format_ == "json":
        told = {"model": plan.model_version, "trader": plan.trader_version, "written": written, "left": left}
        print_json(told | {"findings": [finding.to_dict() for finding in found]})
    elif found:
        print_findings(f"{plan.line} Not written: {counted(found)} even so", found)
    else:
        click.secho(f"{plan.line} Written: {', '.join(written)}", fg="green", bold=True)
        click.echo("\n".join(["left to do by hand:", *(f"  - {each}" for each in left)]))
    context.exit(1 if found else 0)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise LockError(
            f"{path}: found nothing to read, expected a checkout of mlflow-ppo-flavor: a team's own specs live in its "
            "own package: by hand, add the ModelSpec of the new version to what the entry point "
            "mlflow_ppo_flavor.specs loads, raise the package's version, and run mlflow-ppo spec lock"
        ) from None


def _plan(kind: str, trader: str | None, breaking_changes: str) -> Plan:
    """What to change; UsageError for options that don't fit."""
    try:
        asked = None if trader is None else parsing.version(trader, "--trader")
        text = parsing.line(breaking_changes, "--breaking-changes", longest=_LONGEST) if breaking_changes else ""
    except SpecError as error:
        raise click.UsageError(str(error)) from error
    if kind == "trader":
        if text:
            raise click.UsageError("--breaking-changes: found one for a trader, expected a model version's")
        new = asked or _next(CURRENT_TRADER_VERSION, "minor")
        _check_above(new, CURRENT_TRADER_VERSION)
        return Plan(CURRENT_MODEL_VERSION, new)
    lowest = MODEL_TRADER_COMPATIBILITY[CURRENT_MODEL_VERSION]
    if kind == "patch" and asked:
        raise click.UsageError("--trader: found one for a patch, expected none: a patch requires the same traders")
    if asked and Version(asked) < Version(lowest):
        raise click.UsageError(f"--trader: found {asked}, expected at least {lowest}, which the current models need")
    version, needed = _next(CURRENT_MODEL_VERSION, kind), asked or lowest
    return Plan(version, max(CURRENT_TRADER_VERSION, needed, key=Version), next_spec(version, needed, text))


def _check_above(new: str, old: str) -> None:
    if Version(new) <= Version(old):
        raise click.UsageError(f"--trader: found {new}, expected a version above {old}")


def _next(version: str, kind: str) -> str:
    """`2.8.0` for the minor after 2.7.3."""
    place, release = _PLACES[kind], [*Version(version).release, 0, 0][:3]
    return ".".join(map(str, [*release[:place], release[place] + 1, *([0] * (2 - place))]))


def _after(code: SpecLock, plan: Plan) -> SpecLock:
    """The lock of this code with the bump: a version changes no behaviour."""
    specs = {
        f"{RELEASED_FAMILY}:{version}": LockedSpec(spec.fingerprint, spec.requires_trader)
        for version, spec in plan.specs.items()
    }
    return replace(
        code,
        model_version=plan.model_version,
        trader_version=plan.trader_version,
        matrix=plan.matrix,
        specs=dict(code.specs) | specs,
    )


def _left(kind: str, plan: Plan) -> list[str]:
    if plan.spec is None:
        return [
            "docs/protocol.md: say what this trader does otherwise, where it does",
            _TESTS,
            "deploy it before models are promoted that need it: mlflow-ppo check-trader",
            f"commit {RELEASES}, {CHANGELOG} and {LOCK_NAME} together with the change that owes this version",
        ]
    breaks = [f"{RELEASES}: breaking_changes of {plan.model_version}, where it breaks something"]
    return [
        f"{RELEASES}: the entry of {plan.model_version} copies {CURRENT_MODEL_VERSION}: give it its features and "
        "actions, then run mlflow-ppo spec lock --against HEAD",
        *(breaks if kind != "patch" and not plan.spec.breaking_changes else ()),
        "features that it adds: code, a revision of their own for changed ones, a row in docs/features.md",
        "docs/protocol.md: its row in the table of released specs; tests/golden/released_specs.json: its spec",
        _TESTS,
        f"look at it: mlflow-ppo spec diff {CURRENT_MODEL_VERSION} {plan.model_version}",
        f"commit {RELEASES}, {CHANGELOG} and {LOCK_NAME} together",
    ]
