"""The check as another repository's hook, in this one's style checks, and in the example of continuous integration."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import yaml

from mlflow_ppo_flavor.cli.main import main
from tests.cli.checkouts import COMMIT, ROOT

BIN = Path(sys.executable).parent


def repository(folder: Path, **files: str) -> Path:
    """A git repository with these files in one commit."""
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    for command in (["git", "init", "--quiet"], ["git", "add", "."], COMMIT):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


def test_another_repository_can_use_the_hook(tmp_path: Path) -> None:
    manifest = (ROOT / ".pre-commit-hooks.yaml").read_text()
    hooks = repository(tmp_path / "hooks", **{".pre-commit-hooks.yaml": manifest})
    lock = (ROOT / "spec.lock").read_text()
    team = repository(tmp_path / "team", **{"spec.lock": lock, "acme.py": ""})
    environment = os.environ | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PRE_COMMIT_HOME": str(tmp_path / "home"),
    }

    def hook(*files: str) -> subprocess.CompletedProcess[str]:
        words = ["pre-commit", "try-repo", str(hooks), "spec-check", "--files", *files]
        return subprocess.run(words, cwd=team, env=environment, capture_output=True, text=True, timeout=120)

    passed = hook("acme.py")
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "Passed" in passed.stdout
    digest = re.search(r'"rsi_14@1": "(\w+)"', lock)
    assert digest
    (team / "spec.lock").write_text(lock.replace(digest[1], "0" * 64))
    failed = hook("spec.lock")
    assert failed.returncode == 1
    assert "[feature] features.rsi_14@1: found digest " in failed.stdout


def test_the_commands_of_the_example_exist() -> None:
    workflow = yaml.safe_load((ROOT / "docs" / "ci-example.yml").read_text())
    lines = [step["run"] for step in workflow["jobs"]["spec"]["steps"] if "mlflow-ppo spec" in step.get("run", "")]
    assert [shlex.split(line)[:3] for line in lines] == [
        ["mlflow-ppo", "spec", name] for name in ("check", "check", "diff")
    ]
    for line in lines:
        group: click.Command = main
        words = shlex.split(line.partition(" ||")[0])[1:]
        while isinstance(group, click.Group):
            _, found, words = group.resolve_command(click.Context(group), words)
            group = found
        assert isinstance(group, click.Command)
        group.make_context("example", words)


def test_this_repository_runs_the_check_with_its_style_checks() -> None:
    assert "\n\t$(BIN)/mlflow-ppo spec check\n" in (ROOT / "Makefile").read_text().partition("\nlint:")[2]
    assert "entry: .venv/bin/mlflow-ppo spec check\n" in (ROOT / ".pre-commit-config.yaml").read_text()
    assert "make lint\n" in (ROOT / ".ci" / "run").read_text()
    assert shutil.which("mlflow-ppo", path=str(BIN))
