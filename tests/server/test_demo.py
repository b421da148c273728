"""`mlflow-ppo demo`, short: the whole story in a process of its own, and what it leaves behind."""

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlflow_ppo_flavor.cli.demo.command import command

pytestmark = pytest.mark.server
PROGRAM = str(Path(sys.executable).with_name("mlflow-ppo"))
PICTURES = {
    "live/actions.png": 1,
    "live/equity.png": 1,
    "out_of_sample/actions.png": 2,
    "out_of_sample/equity.png": 2,
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The demo's folder, and all that it said."""
    folder = tmp_path_factory.mktemp("demo")
    arguments = [PROGRAM, "demo", "--timesteps", "2048", "--folder", "kept"]
    done = subprocess.run(
        arguments, cwd=folder, capture_output=True, text=True, env={"COLUMNS": "200", **_environment()}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return folder / "kept", done.stdout


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "COLUMNS"))}


def test_it_tells_the_story(told: tuple[Path, str]) -> None:
    said = told[1]
    for symbol in ("AAPL", "GOOG", "IBM", "MSFT"):
        assert symbol in said
    assert "version 1 (spec 2.6.0) → Production: allowed" in said
    assert "HTTP 409" in said
    fact = "Refused: ppo-aapl version 2 can't become Production: trader live-1 (2.6.0) can't run it"
    assert said.count(fact) == 2
    assert "version 2 (spec 2.7.0) → Production: allowed" in said
    assert re.search(r"live trader, last 250 bars.*│ +\d+ +│", said)


def test_the_live_traders_accounts_are_the_engines_to_the_bit(told: tuple[Path, str]) -> None:
    assert "accounts at every close equal to the bit" in told[1]


def test_it_leaves_pictures_runs_and_a_journal(told: tuple[Path, str]) -> None:
    folder = told[0]
    found = [path for path in folder.rglob("*.png") if path.stat().st_size > 10_000]
    names = ["/".join(path.parts[-2:]) for path in found]
    assert {name: names.count(name) for name in sorted(set(names))} == PICTURES
    with sqlite3.connect(folder / "mlflow.db") as database:
        stages = database.execute("SELECT version, current_stage FROM model_versions ORDER BY version").fetchall()
        facts = [row[0] for row in database.execute("SELECT fact FROM ppo_history WHERE NOT allowed")]
    assert stages == [(1, "Archived"), (2, "Production")]
    assert len(facts) == 2
    with sqlite3.connect(folder / "trader" / "journal.db") as journal:
        assert journal.execute("SELECT count(*) FROM decisions").fetchone() == (250,)


def test_it_says_how_to_look_at_it(told: tuple[Path, str]) -> None:
    folder, said = told
    assert f"mlflow-ppo server --backend-store-uri sqlite:///{folder}/mlflow.db" in said


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    result = CliRunner().invoke(command, ["--folder", str(tmp_path)])
    assert result.exit_code == 2
    assert "found other files in it, expected an empty or new folder" in result.output
    assert (tmp_path / "mine.txt").read_text() == "mine"
