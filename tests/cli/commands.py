"""Commands run in this process, as a user would type them; what they change of MLflow is put back."""

import json
import os
import warnings
from dataclasses import dataclass
from typing import Any

from click.testing import CliRunner

from mlflow_ppo_flavor.cli.main import main
from tests.mlflow_state import pointed_at


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON value that it is."""
        return json.loads(self.out)


def mlflow_ppo(*arguments: str, **env: str) -> Outcome:
    """Run `mlflow-ppo` with these arguments; a defect is exit code 2 with a traceback in `err`."""
    with pointed_at(), warnings.catch_warnings():
        os.environ.update(env)
        result = CliRunner().invoke(main, arguments, prog_name="mlflow-ppo", catch_exceptions=False)
    return Outcome(result.exit_code, result.stdout, result.stderr)
