"""Checkouts of this package in temporary folders, whose code is edited and run: behaviour that changes for real."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cli.commands import Outcome

ROOT = Path(__file__).parents[2]
FILES = ("CHANGELOG.md", "spec.lock", "pyproject.toml")
KERNELS = "kernel.fill_rows_*.nb?"
# One process for several commands on the same code: most of a command's time is imports.
RUN = """
import json, subprocess, sys
from pathlib import Path
from click.testing import CliRunner
from mlflow_ppo_flavor.cli.main import main

done = []
for command in json.loads(sys.argv[1]):
    if command[0] == "git":
        subprocess.run(command, check=True, capture_output=True)
    elif command[0] == "rm":
        Path(command[1]).unlink()
    else:
        result = CliRunner().invoke(main, command, prog_name="mlflow-ppo")
        done.append([result.exit_code, result.stdout, result.stderr])
print(json.dumps(done))
"""
COMMIT = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--all", "--quiet", "-m", "a change"]


@dataclass(frozen=True)
class Checkout:
    """A folder with this package's code and lock."""

    folder: Path

    @classmethod
    def copy(cls, folder: Path) -> "Checkout":
        """A copy of this checkout, numba's cache included: unedited features aren't compiled again."""
        shutil.copytree(
            ROOT / "mlflow_ppo_flavor", folder / "mlflow_ppo_flavor", ignore=shutil.ignore_patterns("*.pyc")
        )
        for name in FILES:
            shutil.copy2(ROOT / name, folder / name)
        return cls(folder)

    def git(self) -> "Checkout":
        """The same as a git repository with one commit."""
        for command in (["git", "init", "--quiet", "-b", "main"], ["git", "add", "."], COMMIT):
            subprocess.run(command, cwd=self.folder, check=True, capture_output=True)
        return self

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace a piece of a file that stands in it once."""
        file = self.folder / path
        text = file.read_text()
        assert text.count(old) == 1, f"{path}: {old!r} stands in it {text.count(old)} times"
        file.write_text(text.replace(old, new))

    def text(self, path: str) -> str:
        """A file's text."""
        return (self.folder / path).read_text()

    @contextmanager
    def kept_kernel(self, folder: Path) -> Iterator[None]:
        """Lend this checkout what numba compiled of it in an earlier run of the tests, from `folder`; keep it there.

        The kernel's files are named by a digest of all its sources: they are never taken for others.
        """
        cache = self.folder / "mlflow_ppo_flavor" / "decision" / "features" / "__pycache__"
        theirs = {path.name for path in cache.glob(KERNELS)}
        for path in folder.glob(KERNELS):
            shutil.copy2(path, cache)
        yield
        for path in sorted(cache.glob(KERNELS)):  # the code before the index that names it
            if path.name not in theirs:
                shutil.copy2(path, part := folder / f"{path.name}.{os.getpid()}")
                part.replace(folder / path.name)

    def run(self, *commands: list[str], **env: str) -> list[Outcome]:
        """How these commands of `mlflow-ppo` end, run by the code of the folder; `git …` and `rm FILE` in between."""
        environment = os.environ | {"PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"} | env
        words = [sys.executable, "-c", RUN, json.dumps(commands)]
        done = subprocess.run(words, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return [Outcome(*each) for each in json.loads(done.stdout)]
