"""What commands print: text for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

from mlflow_ppo_flavor.contract.compatibility import Finding

Command = TypeVar("Command", bound=Callable[..., Any])
_COLOURS = {"safety": "red", "version": "yellow", "policy": "magenta", "warning": "cyan"}


def format_option(command: Command) -> Command:
    """The option `--format`, which every command that reports has."""
    choice = click.Choice(["text", "json"])
    option = click.option("--format", "format_", type=choice, default="text", show_default=True, help="How to report.")
    return option(command)


def print_json(value: Any) -> None:
    """One JSON value on standard output, with the keys in the order of the documentation."""
    lines = json.dumps(value, indent=2, ensure_ascii=False).split("\n")
    click.echo("\n".join(line if line.isprintable() else _json_line(line) for line in lines))


def _json_line(line: str) -> str:
    """A line of JSON with what `one_line` writes out in JSON's own writing of it."""
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in line)


def printable(text: str) -> str:
    """The text with each of its lines as `one_line` has it."""
    return "\n".join(map(one_line, text.split("\n")))


def one_line(text: str) -> str:
    """The text with what would break its line, steer a terminal or can't be seen written out: names are strangers'."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def print_verdict(fact: str, allowed: bool, findings: Iterable[Finding]) -> None:
    """The fact, then one finding a line."""
    click.secho(one_line(fact), fg="green" if allowed else "red", bold=True)
    print_findings(findings)


def print_findings(findings: Iterable[Finding]) -> None:
    """One finding a line."""
    for finding in findings:
        kind = click.style(f"[{finding.kind}]", fg=_COLOURS[finding.kind])
        click.echo(f"  {kind} {one_line(finding.message)}")


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table as wide as the terminal; as wide as it needs where the output is no terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*headings, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    console = Console()
    console.width = console.width if console.is_terminal else 1_000
    console.print(table)
