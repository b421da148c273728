"""The command `mlflow-ppo` itself: its table, its speed, and failures told as messages."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from mlflow_ppo_flavor.cli.main import COMMANDS, CommandEntry, LazyGroup, main
from mlflow_ppo_flavor.version import VERSION

HEAVY = {"mlflow", "torch", "numpy", "pandas", "talib", "rich", "sqlalchemy"}
COMMAND_MODULE = """
import click
{top}

@click.command()
def command():
    {body}
"""


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, top: str = "", body: str = "pass") -> Result:
    """The result of `probe`, the only command of a group, whose module has these lines."""
    (tmp_path / "probe_command.py").write_text(COMMAND_MODULE.format(top=top, body=body))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "probe_command", raising=False)
    table = {"probe": CommandEntry("probe_command", "Does what the test says.", "live")}
    group = LazyGroup(name="mlflow-ppo", table=table)
    return CliRunner().invoke(group, ["probe"], prog_name="mlflow-ppo")


def test_version() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert (result.exit_code, result.output) == (0, f"mlflow-ppo, version {VERSION}\n")


def test_help_lists_every_command_with_its_line() -> None:
    lines = CliRunner().invoke(main, ["--help"], terminal_width=200).output.splitlines()
    for name, entry in COMMANDS.items():
        assert any(line.split() == [name, *entry.help.split()] for line in lines), name


def test_every_entry_names_a_command_with_the_same_help() -> None:
    for name, entry in COMMANDS.items():
        command = main.get_command(click.Context(main), name)
        assert command is not None
        assert command.get_short_help_str(limit=200).rstrip(".") == entry.help.rstrip(".")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, json\n"
        "from mlflow_ppo_flavor.cli.main import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}
    assert not loaded & HEAVY


def test_unknown_command_is_wrong_usage() -> None:
    result = CliRunner().invoke(main, ["promotee"])
    assert result.exit_code == 2
    assert "No such command 'promotee'" in result.output


@pytest.mark.parametrize("place", ["top", "body"])
def test_missing_extra_is_told_wherever_it_is_missed(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(tmp_path, monkeypatch, **{place: "import not_installed_anywhere.part"})
    assert result.exit_code == 2
    assert result.output == (
        "Error: mlflow-ppo probe needs the module not_installed_anywhere, which isn't installed: "
        "install mlflow-ppo-flavor[live]\n"
    )


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("import mlflow_ppo_flavor.no_such_module", "ModuleNotFoundError: No module named 'mlflow_ppo_flavor.no_such_"),
        ("raise KeyError('loader')", "KeyError: 'loader': please report it, with the lines above\n"),
    ],
)
def test_a_defect_is_not_taken_for_a_refusal_and_keeps_its_traceback(
    body: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(tmp_path, monkeypatch, body=body)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Traceback (most recent call last):\n")
    assert f"Error: mlflow-ppo probe: unexpected {told}" in result.stderr


def test_an_error_of_ours_is_a_message_and_exit_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = "from mlflow_ppo_flavor.errors import CheckpointError"
    result = run(tmp_path, monkeypatch, top=top, body="raise CheckpointError('model.pt: found no config')")
    assert (result.exit_code, result.output) == (2, "Error: model.pt: found no config\n")


@pytest.mark.parametrize("raised", ["CheckpointError", "click.UsageError", "click.ClickException", "KeyError"])
def test_no_failure_steers_the_terminal_or_tells_a_password(
    raised: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_URI", "postgresql://ann:hunter2@db/mlflow")
    top = "from mlflow_ppo_flavor.errors import CheckpointError"
    body = f"raise {raised}('a\\x1b[31m' + 'b\\u202e at http://bob:s3cret@host/x, as hunter2')"
    result = run(tmp_path, monkeypatch, top=top, body=body)
    assert (result.exit_code, result.stdout) == (2, "")
    told = result.stderr.splitlines()[-1]
    # a KeyError shows its argument as Python writes it, and a traceback the line that raised
    assert told.replace("\\\\", "\\").count("a\\x1b[31mb\\u202e at http://bob:***@host/x, as ***") == 1
    assert result.stderr.replace("\n", "").isprintable()
    assert "s3cret" not in result.stderr
    assert "hunter2" not in result.stderr


@pytest.mark.parametrize("code", [0, 1])
def test_a_command_chooses_its_own_exit_code(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = f"click.get_current_context().exit({code})"
    assert run(tmp_path, monkeypatch, body=body).exit_code == code
