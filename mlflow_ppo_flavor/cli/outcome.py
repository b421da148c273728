"""Outcome: how a command ends that asks the gate to do something: its words, the findings, the exit code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from mlflow_ppo_flavor.cli.asking import last_fact, require_gate, send
from mlflow_ppo_flavor.cli.connection import connect
from mlflow_ppo_flavor.cli.report import print_json, print_verdict
from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.contract.request import Request
from mlflow_ppo_flavor.errors import PromotionRefused

Advice = Callable[[Sequence[Finding]], Sequence[str]]


def conclude(
    context: click.Context,
    told: Mapping[str, Any],
    act: Callable[[], str],
    format_: str,
    advise: Advice = lambda _: (),
) -> None:
    """Do it and tell the gate's fact, or its refusal with every finding; exit 0 where it was done, 1 where refused.

    JSON: {**told, allowed, fact, findings: [{code, kind, place, found, expected, remedy}]}. `advise`: the lines that
    follow a refusal in text.
    """
    findings: list[Finding] = []
    allowed = True
    try:
        fact = act()
    except PromotionRefused as refusal:
        allowed, fact = False, str(refusal).partition("\n")[0]
        findings = [Finding.from_dict(each) for each in refusal.findings]
    if format_ == "json":
        print_json({**told, "allowed": allowed, "fact": fact, "findings": [each.to_dict() for each in findings]})
    else:
        print_verdict(fact, allowed, findings)
        for line in advise(findings):
            click.echo(line)
    context.exit(0 if allowed else 1)


def submit(
    context: click.Context,
    request: Request,
    told: Mapping[str, Any],
    place: tuple[str | None, str | None],
    format_: str,
) -> None:
    """Put a request to the gate, and tell what it said as `conclude` does. `told` names the `model`, and the `version`
    of a request for one; `place`: the tracking and the registry URI.
    """

    def act() -> str:
        client = connect(*place)
        require_gate()
        send(client, request, told["model"], told.get("version"))
        return last_fact(told["model"], request.tag.removeprefix("ppo."))

    conclude(context, told, act, format_)
