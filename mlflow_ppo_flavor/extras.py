"""Optional dependencies: what to say, and where to end, when a module of an extra isn't installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from mlflow_ppo_flavor.errors import MissingExtra

_OURS = ("mlflow_ppo_flavor", "training", "live")


def missing_extra(error: Exception, what: str, extra: str) -> MissingExtra | None:
    """What to raise for `error` where it is a third-party module that `what` needs and `extra` brings; None otherwise.

    A module of our own that isn't found is a defect, and no missing extra.
    """
    name = error.name or "" if isinstance(error, ModuleNotFoundError) else ""
    module = name.partition(".")[0]
    if not module or module in _OURS:
        return None
    remedy = f"install mlflow-ppo-flavor[{extra}]"
    return MissingExtra(f"{what} needs the module {module}, which isn't installed: {remedy}", name=name)


@contextmanager
def needing(extra: str, what: str) -> Iterator[None]:
    """MissingExtra where a third-party module isn't installed that `what` needs; other errors go through."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = missing_extra(error, what, extra)
        if missing is None:
            raise
        raise missing from error


def run_program(module: str, name: str, extra: str) -> None:
    """Import a program's module and call its click command `main`; exit code 2 where a module of its extra is missing.

    `name` is how it is called, such as `python -m training`.
    """
    try:
        with needing(extra, name):
            command = import_module(module).main
    except MissingExtra as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(2)
    command(prog_name=name)
