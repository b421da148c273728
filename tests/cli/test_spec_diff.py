"""`mlflow-ppo spec diff`: versions, files, models' folders; text, JSON and exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from tests.cli.commands import mlflow_ppo
from tests.own_packages import Install, Package
from tests.registry.model_folders import SKLEARN_FLAVORS, ppo_flavors, trained, write_mlmodel


def test_two_releases_as_text() -> None:
    done = mlflow_ppo("spec", "diff", "2.3.0", "2.4.0")
    assert done.code == 1
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert lines == [
        "2.3.0 → 2.4.0: 4 breakage(s)",
        "moves first kind where old new",
        "traders feature_added features[53] nothing total_pnl@1",
        "traders feature_added features[54] nothing win_rate@1",
        "traders feature_added features[55] nothing drawdown@1",
        "traders requires_trader requires_trader >=2.3.0 >=2.4.0",
        "traders move first (4): upgrade them before a model of the new spec is promoted",
        "changed, and breaks nothing:",
        "version: 2.3.0 becomes 2.4.0",
        "breaking_changes: nothing becomes 56 features: the account is observed",
    ]


def test_the_way_back_says_that_models_move_first() -> None:
    done = mlflow_ppo("spec", "diff", "2.4.0", "2.3.0")
    assert done.code == 1
    assert "models move first (3): traders keep what these need until no model of the old spec is left\n" in done.out
    assert "  requires_trader: >=2.4.0 becomes >=2.3.0\n" in done.out


def test_two_releases_as_json() -> None:
    done = mlflow_ppo("spec", "diff", "2.6.0", "2.7.0", "--format", "json")
    assert done.code == 1
    old, new = MODEL_SPECS["2.6.0"], MODEL_SPECS["2.7.0"]
    assert done.json["old"] == {"name": "2.6.0", "family": "ppo", "version": "2.6.0", "fingerprint": old.fingerprint}
    assert done.json["new"] == {"name": "2.7.0", "family": "ppo", "version": "2.7.0", "fingerprint": new.fingerprint}
    assert done.json["first"] == ["traders", "either"]
    assert done.json["breakages"][3] == {
        "kind": "action_changed",
        "place": "actions[1]",
        "old": "BUY (+1, 0.5)",
        "new": "BUY_25% (+1, 0.25)",
        "first": "either",
    }
    assert done.json["changes"][0] == {"place": "version", "old": "2.6.0", "new": "2.7.0"}


def test_equal_specs_break_nothing() -> None:
    done = mlflow_ppo("spec", "diff", "2.5.0", "2.6.0")
    assert (done.code, done.out) == (
        0,
        "2.5.0 → 2.6.0: nothing breaks\nchanged, and breaks nothing:\n  version: 2.5.0 becomes 2.6.0\n",
    )
    same = mlflow_ppo("spec", "diff", "2.7.0", "2.7.0", "--format", "json")
    assert same.code == 0
    assert (same.json["breakages"], same.json["changes"], same.json["first"]) == ([], [], [])


def test_files_and_model_folders(tmp_path: Path) -> None:
    folder = write_mlmodel(tmp_path / "model", ppo_flavors(trained("2.6.0")))
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(trained("2.6.0").for_bars(timeframe="1Hour", adjustment="all").to_dict()))
    assert mlflow_ppo("spec", "diff", str(folder), str(folder)).code == 0
    done = mlflow_ppo("spec", "diff", str(folder), str(file), "--format", "json")
    assert done.code == 1
    assert [(b["kind"], b["place"], b["old"], b["new"]) for b in done.json["breakages"]] == [
        ("bars", "bars.timeframe", "1Day", "1Hour")
    ]
    assert done.json["changes"] == [{"place": "symbols", "old": "AAPL", "new": "nothing"}]


def test_own_specs_by_family(install: Install) -> None:
    install(Package())
    done = mlflow_ppo("spec", "diff", "acme:1.0.0", "2.7.0", "--format", "json")
    assert (done.code, done.json["old"]["family"]) == (1, "acme")
    assert done.json["changes"][0] == {"place": "family", "old": "acme", "new": "ppo"}
    unknown = mlflow_ppo("spec", "diff", "acme:9.0.0", "2.7.0")
    assert unknown.code == 2
    assert unknown.err == (
        "Error: spec: found 'acme:9.0.0', expected one of 2.3.0, 2.4.0, 2.5.0, 2.6.0, 2.7.0, acme:1.0.0\n"
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            b"{",
            "found no JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1)), expected a",
        ),
        (b"[" * 200_000, "found no JSON (maximum recursion depth exceeded"),
        (b'{"format": 7}', "format: found 7, expected 1: upgrade mlflow-ppo-flavor to read this spec"),
        (b"[]", "spec: found [], expected a mapping"),
    ],
)
def test_a_file_that_is_no_spec_is_a_message(content: bytes, told: str, tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_bytes(content)
    done = mlflow_ppo("spec", "diff", "2.7.0", str(file))
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"Error: {file}: {told}")


def test_what_is_not_there_or_no_model_of_ours_is_a_message(tmp_path: Path) -> None:
    missing = mlflow_ppo("spec", "diff", "2.7.0", "2.9.9")
    assert (missing.code, missing.out) == (2, "")
    assert missing.err == (
        f"Error: 2.9.9: found no model there, expected a released version ({', '.join(MODEL_SPECS)}), "
        "a model's folder or its URI\n"
    )
    other = mlflow_ppo("spec", "diff", "2.7.0", str(write_mlmodel(tmp_path, SKLEARN_FLAVORS)))
    assert other.code == 2
    assert "MLmodel has no ppo flavor" in other.err
    assert mlflow_ppo("spec", "diff", "2.7.0").code == 2


def test_spec_commands_import_nothing_heavy_before_they_need_it() -> None:
    """On a base install there is no numpy: list, show and diff of releases, and every help, do without."""
    code = (
        "import sys\n"
        "from mlflow_ppo_flavor.cli.main import main\n"
        "for words in (['spec', '--help'], ['spec', 'list'], ['spec', 'show', '2.7.0'],\n"
        "              ['spec', 'diff', '2.6.0', '2.7.0'],\n"
        "              *(['spec', name, '--help'] for name in ('bump', 'check', 'diff', 'lock'))):\n"
        "    try:\n"
        "        main(words, standalone_mode=False)\n"
        "    except SystemExit:\n"
        "        pass\n"
        "sys.exit(str({'numpy', 'pandas', 'numba', 'torch', 'mlflow', 'sqlalchemy'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == "\n"
    assert done.stdout.count("Usage: ") == 5
