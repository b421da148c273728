"""Compiled code on disk: paid for once, found where the package can't be written, and never that of other sources."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mlflow_ppo_flavor
from mlflow_ppo_flavor.decision.features.kernel import sources_digest

PROCESS = """
import json, hashlib, time
import numpy as np
begin = time.perf_counter()
from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.decision.features import FEATURES, compute_features
from mlflow_ppo_flavor.decision.features.kernel import KERNEL
close = 100 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.02, 300)))
time_ns = np.arange(300) * 86_400_000_000_000
bars = Bars("TEST", BarSpec("1Day", "all", time_zone="UTC"), time_ns, close, close * 1.01, close * 0.99, close, close)
values = compute_features(bars, tuple(FEATURES))
print(json.dumps({
    "seconds": time.perf_counter() - begin,
    "digest": hashlib.sha256(values.tobytes()).hexdigest(),
    "compiled": sum(KERNEL.stats.cache_misses.values()),
    "read": sum(KERNEL.stats.cache_hits.values()),
    "cache": KERNEL.stats.cache_path,
}))
"""
KERNEL_MODULE = """
from pathlib import Path
from mlflow_ppo_flavor.decision.features.kernel import build_kernel
from indicator import indicator
def loop(x): return indicator(x)
KERNEL = build_kernel(loop, Path(__file__).parent)
print(KERNEL(2.0), sum(KERNEL.stats.cache_hits.values()))
"""
INDICATOR_MODULE = """
from mlflow_ppo_flavor.decision.features.window import compiled
@compiled
def indicator(x): return x * {factor}
"""


def run(code: str, site: Path, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Python on the modules in `site`, before those here, with a home and nothing else of numba's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "XDG_", "PYTHON"))}
    repository = Path(mlflow_ppo_flavor.__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-B", "-c", code],
        cwd=site,
        env=kept | {"PYTHONPATH": str(repository), "HOME": str(home)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )


def no_writing_beside(folder: Path) -> None:
    """Nothing can be cached beside the sources of a folder: as in a read-only installation, and for root too."""
    (folder / "__pycache__").write_text("in the way")


@pytest.fixture(scope="module")
def read_only_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package that numba can't write into."""
    site = tmp_path_factory.mktemp("site")
    package = site / "mlflow_ppo_flavor"
    shutil.copytree(Path(mlflow_ppo_flavor.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    no_writing_beside(package / "decision" / "features")
    return site


def result(process: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What PROCESS printed."""
    read: dict[str, Any] = json.loads(process.stdout)
    return read


def test_a_second_process_reads_what_the_first_compiled(read_only_site: Path, tmp_path: Path) -> None:
    """The package is read-only: the home's cache serves, and so does a folder that NUMBA_CACHE_DIR names."""
    home, chosen = tmp_path / "home", tmp_path / "chosen"
    home.mkdir()
    first = result(run(PROCESS, read_only_site, home))
    assert (first["compiled"], first["read"]) == (1, 0)
    assert Path(first["cache"]).is_relative_to(home)
    second = result(run(PROCESS, read_only_site, home))
    assert (second["compiled"], second["read"]) == (0, 1)
    assert second["digest"] == first["digest"]
    assert second["seconds"] < first["seconds"] / 2
    shutil.copytree(Path(first["cache"]).parent, chosen)
    third = result(run(PROCESS, read_only_site, home, NUMBA_CACHE_DIR=str(chosen)))
    assert (third["compiled"], third["read"], third["digest"]) == (0, 1, first["digest"])
    assert Path(third["cache"]).is_relative_to(chosen)


@pytest.fixture
def small_site(tmp_path: Path) -> Path:
    """A kernel of one indicator, in two files."""
    site = tmp_path / "small"
    site.mkdir()
    (site / "kernel_module.py").write_text(KERNEL_MODULE)
    (site / "indicator.py").write_text(INDICATOR_MODULE.format(factor=3))
    return site


def test_a_changed_indicator_is_compiled_though_the_loops_file_is_the_same(small_site: Path, tmp_path: Path) -> None:
    stamp = (small_site / "indicator.py").stat()
    outputs = [run("import kernel_module", small_site, tmp_path).stdout for _ in range(2)]
    assert outputs == ["6.0 0\n", "6.0 1\n"]
    (small_site / "indicator.py").write_text(INDICATOR_MODULE.format(factor=5))
    os.utime(small_site / "indicator.py", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert run("import kernel_module", small_site, tmp_path).stdout == "10.0 0\n"


def test_without_any_folder_to_cache_in_it_works_and_says_what_to_do(small_site: Path) -> None:
    no_writing_beside(small_site)
    process = run("import kernel_module", small_site, Path("/dev/null"))
    assert process.stdout == "6.0 0\n"
    assert "features are compiled anew in every process (seconds): " in process.stderr
    assert process.stderr.rstrip().endswith(": set NUMBA_CACHE_DIR")


def test_the_digest_tells_names_and_contents_of_the_python_files_apart(tmp_path: Path) -> None:
    digests = set()
    for names in (["a.py"], ["b.py"], ["a.py", "b.py"]):
        for text in ("x = 1", "x = 2"):
            folder = tmp_path / f"{len(digests)}"
            folder.mkdir()
            (folder / "notes.txt").write_text(f"{len(digests)}")
            for name in names:
                (folder / name).write_text(text)
            digests.add(sources_digest(folder))
    assert len(digests) == 6
