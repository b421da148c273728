"""The distribution, built once a session from a copy of the tree, and the base install in a clean environment."""

import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("mlflow_ppo_flavor", "training", "live")
NOT_SOURCE = shutil.ignore_patterns("__pycache__", "*.py[cod]", "*.nbi", "*.nbc")


def run(*command: object, cwd: Path | None = None, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; its output is in the failure, where it fails and `check` isn't False."""
    words = [str(word) for word in command]
    check = options.pop("check", True)
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=600, **options)
    if check and done.returncode != 0:
        pytest.fail(f"{' '.join(words)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def copy_tree(target: Path) -> Path:
    """Copy what a checkout has: no environment, caches or builds of the working tree."""
    target.mkdir(parents=True)
    for entry in sorted(ROOT.iterdir()):
        if entry.is_file():
            shutil.copy2(entry, target / entry.name)
    for folder in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / folder, target / folder, ignore=NOT_SOURCE)
    return target


@dataclass(frozen=True)
class Distribution:
    """The two files of a release, and the tree that they were built from."""

    tree: Path
    sdist: Path
    wheel: Path


@dataclass(frozen=True)
class Environment:
    """A clean virtual environment."""

    folder: Path

    def run(self, program: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        """Run one of the environment's programs, away from the tree: only what is installed can be imported."""
        return run(self.folder / "bin" / program, *arguments, cwd=self.folder, **options)

    def python(self, code: str) -> str:
        """What this code prints."""
        return self.run("python", "-c", code).stdout


@pytest.fixture(scope="session")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Distribution:
    """The sdist, and the wheel made from that sdist: what it leaves out, the wheel would miss."""
    folder = tmp_path_factory.mktemp("distribution")
    tree = copy_tree(folder / "tree")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", tree)
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    (wheel,) = (folder / "dist").glob("*.whl")
    return Distribution(tree, sdist, wheel)


@pytest.fixture(scope="session")
def base(distribution: Distribution, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel without extras, with the versions of constraints.txt, in a clean environment."""
    folder = tmp_path_factory.mktemp("base") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    # Byte-compiling a whole MLflow takes longer than the rest of the installation, and the tests use little of it.
    run(
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", folder / "bin" / "python"),
        *("install", "--quiet", "--no-compile", "--constraint", ROOT / "constraints.txt", distribution.wheel),
    )
    return Environment(folder)
