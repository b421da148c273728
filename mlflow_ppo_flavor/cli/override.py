"""`mlflow-ppo override`: let a version into a reference once, over what isn't about safety."""

from __future__ import annotations

import re

import click

from mlflow_ppo_flavor.cli.connection import registry_options
from mlflow_ppo_flavor.cli.outcome import submit
from mlflow_ppo_flavor.cli.report import format_option
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.request import OverrideRequest

_DURATION = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Duration(click.ParamType[int]):
    """How long: 30m, 1h, 2d; in seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The seconds; wrong usage for anything else."""
        found = value if isinstance(value, int) else _DURATION.fullmatch(str(value))
        if isinstance(found, int):
            return found
        if found is None:
            self.fail(f"found {value!r}, expected a time such as 30m, 1h or 2d", param, ctx)
        return int(found[1]) * _SECONDS[found[2]]


@click.command()
@click.argument("name")
@click.argument("version")
@click.argument("reference", metavar="STAGE|@ALIAS")
@click.option("--reason", required=True, help="Why, in one line: it is kept in the history.")
@click.option("--expires", type=Duration(), default="1h", show_default=True, help="How long it holds, 7d at most.")
@registry_options
@format_option
@click.pass_context
def command(
    context: click.Context,
    name: str,
    version: str,
    reference: str,
    reason: str,
    expires: int,
    tracking_uri: str | None,
    registry_uri: str | None,
    format_: str,
) -> None:
    """Let a version into a reference once, over what isn't about safety.

    It moves nothing: the next promotion of that version to that reference uses it up. Safety findings are never
    overridden; a missing approval only by another user than the one who promotes.

    Exit codes: 0 kept, 1 refused, 2 not reached. JSON: {model, version, reference, expires_seconds, allowed, fact,
    findings: [{code, kind, place, found, expected, remedy}]}.
    """
    target = Reference.parse(name, reference)
    asked = {"reference": target.label, "reason": reason, "expires_seconds": expires}
    request = OverrideRequest.from_dict(asked, "override")

    told = {"model": name, "version": version, "reference": str(target), "expires_seconds": expires}
    submit(context, request, told, (tracking_uri, registry_uri), format_)
