"""The tools around the packages: test tiers, skips told, make, hooks and pins."""

import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.conftest import ROOT, run

pytestmark = pytest.mark.packaging


def tier(name: str) -> subprocess.CompletedProcess[str]:
    code = "from tests import tiers; print(tiers.TIER, tiers.EXAMPLES, len(tiers.SEEDS))"
    return run(sys.executable, "-c", code, cwd=ROOT, env={"MLFLOW_PPO_TIER": name}, check=False)


def test_the_tiers_differ_in_counts_alone() -> None:
    short, long = (tier(name).stdout.split() for name in ("short", "long"))
    assert (short[0], long[0]) == ("short", "long")
    assert int(short[1]) < int(long[1])
    assert int(short[2]) < int(long[2])


def test_an_unknown_tier_is_refused() -> None:
    assert "MLFLOW_PPO_TIER: found 'lang', expected 'short' or 'long'" in tier("lang").stderr


def test_a_skip_is_told_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    for name in ("conftest.py", "tiers.py"):
        shutil.copy2(ROOT / "tests" / name, tmp_path / "tests" / name)
    shutil.copy2(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    (tmp_path / "tests" / "test_probe.py").write_text(
        "import pytest\n\ndef test_browser():\n    pytest.skip('chromium is missing')\n"
    )
    done = run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", cwd=tmp_path)
    assert "1 NOT RUN" in done.stdout
    assert "tests/test_probe.py::test_browser: chromium is missing" in done.stdout


@pytest.mark.parametrize("target", ["demo", "test", "test-long", "bench", "lint", "install"])
def test_make_installs_first_with_the_pins(target: str) -> None:
    done = run("make", "--dry-run", "--always-make", target, f"PYTHON={sys.executable}", cwd=ROOT)
    assert (
        "pip install --disable-pip-version-check --constraint constraints.txt --editable '.[demo,dev]'" in done.stdout
    )


def test_make_tells_what_to_do_without_a_python(tmp_path: Path) -> None:
    for name in ("Makefile", "setup.cfg", "pyproject.toml", "constraints.txt"):
        shutil.copy2(ROOT / name, tmp_path / name)
    (tmp_path / "mlflow_ppo_flavor").mkdir()
    shutil.copy2(ROOT / "mlflow_ppo_flavor" / "version.py", tmp_path / "mlflow_ppo_flavor" / "version.py")
    done = run("make", "install", "PYTHON=", cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "no Python 3.11 or newer found: install one, or give PYTHON=" in done.stderr


def test_the_hooks_run_what_make_lint_runs_and_nothing_from_elsewhere() -> None:
    run(Path(sys.executable).with_name("pre-commit"), "validate-config", ROOT / ".pre-commit-config.yaml")
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert set(re.findall(r"- repo: (\S+)", hooks)) == {"local"}
    makefile = (ROOT / "Makefile").read_text()
    lint = re.findall(r"^\t\$\(BIN\)/(\S+)", makefile.partition("\nlint:")[2], flags=re.MULTILINE)
    assert set(re.findall(r"entry: \.venv/bin/(\S+)", hooks)) == set(lint)


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def test_every_requirement_is_pinned_within_its_range() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lists = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    wanted = [Requirement(line) for text in lists for line in text.splitlines() if line]
    ours = {"mlflow-ppo-flavor"}
    unpinned = {r.name for r in wanted if canonicalize_name(r.name) not in pins()} - ours
    assert unpinned == set()
    outside = {str(r) for r in wanted if r.name not in ours and pins()[canonicalize_name(r.name)] not in r.specifier}
    assert outside == set()


def test_the_pins_fit_every_platform() -> None:
    found = pins()
    assert len(found) > 100
    assert [name for name in found if name.startswith(("nvidia", "cuda", "triton"))] == []
    assert [name for name, version in found.items() if "+" in version or "@" in version] == []
