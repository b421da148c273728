"""`mlflow-ppo spec bump`: the version update workflow on checkouts, and the states that it refuses."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlflow_ppo_flavor.cli.spec.checkout import Plan, bumped_changelog, bumped_releases, next_spec
from mlflow_ppo_flavor.cli.spec.rewriting import rewrite
from mlflow_ppo_flavor.contract.releases import MODEL_SPECS, MODEL_TRADER_COMPATIBILITY
from mlflow_ppo_flavor.decision.behaviour import lock_of_this_code
from mlflow_ppo_flavor.errors import LockError
from tests.cli.checkouts import ROOT, Checkout
from tests.cli.commands import mlflow_ppo

RELEASES = "mlflow_ppo_flavor/contract/releases.py"
SOURCE = (ROOT / RELEASES).read_text()
PLAN = Plan("2.8.0", "2.8.0", next_spec("2.8.0", "2.8.0", "9 actions"))
BUMP = ["spec", "bump"]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    lock_of_this_code()
    return Checkout.copy(tmp_path / "checkout").git()


def ruff(*arguments: object) -> str:
    words = [Path(sys.executable).with_name("ruff"), *arguments]
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, cwd=ROOT).stdout


def test_the_whole_workflow_of_a_new_model_version(checkout: Checkout) -> None:
    """Sizing changes, which owes a trader version: a minor with a new trader pays, and its entry may be edited."""
    checkout.edit("mlflow_ppo_flavor/decision/action.py", "* sizing.base_allocation", "* sizing.base_allocation * 0.99")
    too_little, done = checkout.run(
        [*BUMP, "minor"], [*BUMP, "minor", "--trader", "2.8.0", "--breaking-changes", 'sizes are "smaller"']
    )
    assert too_little.code == 1
    assert too_little.out.splitlines()[0] == (
        "Model version 2.8.0, for traders from 2.7.0 on. Not written: 1 bump(s) owed even so"
    )
    assert too_little.out.splitlines()[1].startswith("  [trader] behaviour.sizing: found digest ")
    assert done.code == 0
    assert done.out.splitlines()[:3] == [
        'Model version 2.8.0, for traders from 2.8.0 on: sizes are "smaller". Trader version 2.8.0. Written: '
        f"{RELEASES}, CHANGELOG.md, spec.lock",
        "left to do by hand:",
        f"  - {RELEASES}: the entry of 2.8.0 copies 2.7.0: give it its features and actions, then run mlflow-ppo spec "
        "lock --against HEAD",
    ]
    assert (
        '\n### Changed\n- Model version 2.8.0, for traders from 2.8.0 on: sizes are "smaller". Trader version 2.8.0.\n'
    ) in checkout.text("CHANGELOG.md")
    checkout.edit(
        RELEASES,
        "_SEVEN_ACTIONS,\n                'sizes are \"smaller\"',",
        "_THREE_ACTIONS,\n                'sizes are \"smaller\"',",
    )
    check, refused, lock, against, shown, diff = checkout.run(
        ["spec", "check"],
        ["spec", "lock"],
        ["spec", "lock", "--against", "HEAD"],
        ["spec", "check", "--against", "HEAD"],
        ["spec", "show", "2.8.0", "--format", "json"],
        ["spec", "diff", "2.7.0", "2.8.0", "--format", "json"],
    )
    assert (check.code, refused.code, lock.code, against.code) == (1, 1, 0, 0)
    assert "[model] specs.ppo:2.8.0.fingerprint: found " in check.out
    assert shown.json["spec"]["requires_trader"] == ">=2.8.0"
    assert shown.json["spec"]["features"] == list(MODEL_SPECS["2.7.0"].features)
    assert diff.json["first"] == ["traders", "either"]


def test_a_trader_version_and_patches_keep_what_models_require(checkout: Checkout) -> None:
    before = checkout.text(RELEASES)
    (trader,) = checkout.run([*BUMP, "trader", "--format", "json"])
    assert (trader.code, trader.json["model"], trader.json["trader"]) == (0, "2.7.0", "2.8.0")
    assert trader.json["written"] == [RELEASES, "CHANGELOG.md", "spec.lock"]
    raised = before.replace('CURRENT_TRADER_VERSION = "2.7.0"', 'CURRENT_TRADER_VERSION = "2.8.0"')
    assert checkout.text(RELEASES) == raised
    (patch,) = checkout.run([*BUMP, "patch"])
    assert patch.out.startswith("Model version 2.7.1, for traders from 2.7.0 on. Written: ")
    assert checkout.text("CHANGELOG.md").endswith(
        "\n### Changed\n- Trader version 2.8.0.\n- Model version 2.7.1, for traders from 2.7.0 on.\n"
    )
    check, major = checkout.run(["spec", "check", "--against", "HEAD"], [*BUMP, "major", "--format", "json"])
    assert check.code == 0
    assert (major.json["model"], major.json["trader"]) == ("3.0.0", "2.8.0")
    assert f"{RELEASES}: breaking_changes of 3.0.0, where it breaks something" in major.json["left"]
    for done in (trader, major):
        assert "tests that say what the current versions are: make test names them" in done.json["left"]
    assert "{}: {}".format('"3.0.0"', '"2.7.0",\n') in checkout.text(RELEASES)


def test_the_edited_file_is_formatted_and_holds_the_copy_of_the_current_spec(tmp_path: Path) -> None:
    edited = tmp_path / "releases.py"
    edited.write_text(bumped_releases(SOURCE, PLAN))
    config = ["--config", ROOT / "pyproject.toml"]
    assert ruff("format", "--diff", *config, edited) == ""
    assert ruff("check", *config, edited) == "All checks passed!\n"
    assert '        "2.7.0": "2.7.0",\n        "2.8.0": "2.8.0",\n    }\n' in edited.read_text()
    assert 'CURRENT_MODEL_VERSION = "2.8.0"\nCURRENT_TRADER_VERSION = "2.8.0"\n' in edited.read_text()


@pytest.mark.parametrize("text", ['it\'s "odd"', "back\\slash", "π ≤ 3.2", "{braces} %s", "'quoted'", '"quoted"'])
def test_any_text_comes_back_from_the_edited_file(text: str) -> None:
    """What is written is run before it is taken, so a text that came out otherwise would be refused."""
    plan = Plan("2.7.1", "2.7.0", next_spec("2.7.1", "2.7.0", text))
    assert bumped_releases(SOURCE, plan) != SOURCE


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            'CURRENT_MODEL_VERSION = "2.7.0"',
            'CURRENT_MODEL_VERSION = "2.6.0"',
            "found no CURRENT_MODEL_VERSION = '2.7.0', expected the literal of the code that runs",
        ),
        (
            'CURRENT_TRADER_VERSION = "2.7.0"',
            'CURRENT_TRADER_VERSION = ".".join("270")',
            "found no CURRENT_TRADER_VERSION = '2.7.0', expected the literal of the code that runs",
        ),
        (
            '        "2.7.0": "2.7.0",\n',
            '        **{"2.7.0": "2.7.0"},\n',
            "found no entry '2.7.0' in MODEL_TRADER_COMPATIBILITY, expected a dict of literals",
        ),
        (
            '_released(\n                "2.7.0",',
            '_released(\n                "2.7." + "0",',
            "found no _released('2.7.0', …) in MODEL_SPECS, expected one with features, actions and breaking changes "
            "by position",
        ),
        ("def _released(", "def _released(\n((", "found a file that Python can't read (line "),
        (
            '_released("2.6.0", MARKET_FEATURES + _ACCOUNT[:3], _THREE_ACTIONS)',
            '_released("2.6.0", MARKET_FEATURES + _ACCOUNT[:2], _THREE_ACTIONS)',
            "found another MODEL_SPECS after the edit than was meant, expected the file of the code that runs",
        ),
        (
            "def features_of_trader",
            "raise KeyError('no\\nway')\n\n\ndef features_of_trader",
            "found after the edit a file that fails with KeyError: 'no\\nway', expected one that runs",
        ),
    ],
)
def test_a_file_that_is_not_understood_is_refused_with_the_reason(old: str, new: str, told: str) -> None:
    assert SOURCE.count(old) == 1
    with pytest.raises(LockError) as refused:
        bumped_releases(SOURCE.replace(old, new), PLAN)
    assert str(refused.value).startswith(f"{RELEASES}: {told}")
    assert str(refused.value).endswith(": nothing was changed; bump it by hand")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "# C\n\n## 1.0 (not released)\n\n### Added\n- a\n",
            "# C\n\n## 1.0 (not released)\n\n### Added\n- a\n\n### Changed\nL\n",
        ),
        ("## [Unreleased]\n\n## 1.0\n- b\n", "## [Unreleased]\n\n### Changed\nL\n\n## 1.0\n- b\n"),
        (
            "## Unreleased\n### Changed\n- a\n  more\n\n### Fixed\n- c\n\n## 1.0\n### Changed\n- b\n",
            "## Unreleased\n### Changed\n- a\n  more\nL\n\n### Fixed\n- c\n\n## 1.0\n### Changed\n- b\n",
        ),
        ("## Unreleased\n### Changed\n", "## Unreleased\n### Changed\nL\n"),
    ],
)
def test_the_changelog_gets_its_line_under_what_is_not_released(before: str, after: str) -> None:
    line = "- Trader version 2.8.0."
    assert bumped_changelog(before, Plan("2.7.0", "2.8.0")) == after.replace("L\n", f"{line}\n")


def test_a_changelog_without_an_unreleased_heading_is_refused() -> None:
    with pytest.raises(LockError) as refused:
        bumped_changelog("# Changelog\n\n## 1.0\n", PLAN)
    assert str(refused.value) == (
        "CHANGELOG.md: found no heading of what isn't released yet, expected one, such as '## 1.1.0 (not released)' or "
        "'## [Unreleased]': write it"
    )


def test_a_long_line_is_wrapped() -> None:
    plan = Plan("2.8.0", "2.8.0", next_spec("2.8.0", "2.8.0", "many words " * 9))
    added = bumped_changelog("## Unreleased\n", plan).splitlines()[3:]
    assert len(added) == 2
    assert added[1].startswith("  ")
    assert max(map(len, added)) <= 118


def test_a_released_version_is_not_released_again() -> None:
    with pytest.raises(LockError, match=r"found a spec of 2\.6\.0 already, expected none: nothing was changed$"):
        next_spec("2.6.0", "2.4.0", "")
    assert next_spec("2.8.0", "2.7.0", "").fingerprint == MODEL_SPECS["2.7.0"].fingerprint


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["patch", "--trader", "2.8.0"],
            "--trader: found one for a patch, expected none: a patch requires the same tr",
        ),
        (
            ["minor", "--trader", "2.6.0"],
            "--trader: found 2.6.0, expected at least 2.7.0, which the current models need",
        ),
        (["minor", "--trader", "new"], "--trader: found 'new', expected a version such as 2.7.0 (PEP 440)"),
        (["trader", "--trader", "2.7.0"], "--trader: found 2.7.0, expected a version above 2.7.0"),
        (
            ["trader", "--breaking-changes", "x"],
            "--breaking-changes: found one for a trader, expected a model version's",
        ),
        (["minor", "--breaking-changes", "x" * 101], "--breaking-changes: found 101 characters, expected at most 100"),
        (["minor", "--breaking-changes", "a\nb"], "--breaking-changes: found 'a\\nb', expected one line of text"),
        (["micro"], "Invalid value for 'minor|major|patch|trader': 'micro' is not one of"),
    ],
)
def test_options_that_do_not_fit_are_usage_errors(words: list[str], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    before = SOURCE
    done = mlflow_ppo("spec", "bump", *words)
    assert (done.code, done.out) == (2, "")
    assert f"Error: {told}" in done.err
    assert (ROOT / RELEASES).read_text() == before


def test_a_team_is_told_what_to_do_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy2(ROOT / "spec.lock", tmp_path / "spec.lock")
    monkeypatch.chdir(tmp_path)
    done = mlflow_ppo("spec", "bump", "minor")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"Error: {tmp_path / RELEASES}: found nothing to read, expected a checkout of mlflow-ppo-flavor: a team's own "
        "specs live in its own package: by hand, add the ModelSpec of the new version to what the entry point "
        "mlflow_ppo_flavor.specs loads, raise the package's version, and run mlflow-ppo spec lock\n"
    )


def test_all_files_are_written_or_none(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "folder" / "other"
    one.write_text("before")
    with pytest.raises(LockError, match=r"can't be written \(No such file or directory\): nothing was changed$"):
        rewrite({one: "after", other: "after"})
    assert one.read_text() == "before"
    (tmp_path / "folder" / "other").mkdir(parents=True)
    (other / "kept").write_text("")
    with pytest.raises(LockError, match=r"can't be written \(Is a directory\): nothing was changed$"):
        rewrite({one: "after", tmp_path / "new": "after", other: "after"})
    assert one.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "one"]
    one.chmod(0o600)
    rewrite({one: "after"})
    assert (one.read_text(), one.stat().st_mode & 0o777) == ("after", 0o600)


def test_the_matrix_of_a_plan_is_the_old_one_and_its_entry() -> None:
    assert dict(PLAN.matrix) == {**MODEL_TRADER_COMPATIBILITY, "2.8.0": "2.8.0"}
    assert Plan("2.7.0", "2.8.0").specs == MODEL_SPECS
