"""The option that names the file of a signing key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
KEY_FILE_VARIABLE = "MLFLOW_PPO_SIGNING_KEY_FILE"


def key_file_option(command: Command) -> Command:
    """The option `--key-file`, whose default is the server's own variable."""
    option = click.option(
        "--key-file",
        envvar=KEY_FILE_VARIABLE,
        show_envvar=True,
        type=click.Path(path_type=Path),
        help="The file with the private key.",
    )
    return option(command)
