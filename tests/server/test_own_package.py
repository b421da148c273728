"""docs/acme, as its README has it: installed, trained, registered, promoted where a trader has it, locked."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import pytest
from packaging.requirements import Requirement

import mlflow_ppo_flavor as ppo
from mlflow_ppo_flavor.model.checkpoint import load_checkpoint
from mlflow_ppo_flavor.model.replay import replay
from mlflow_ppo_flavor.version import VERSION
from tests.cli.commands import mlflow_ppo
from tests.mlflow_state import pointed_at
from tests.own_packages import forget
from tests.server.servers import Server

pytestmark = pytest.mark.server
ROOT = Path(__file__).parents[2]
ACME = ROOT / "docs" / "acme"
MODULES = ("acme", "acme.features", "acme.specs")
MODEL = "acme-aapl"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the package is installed in."""
    folder = tmp_path_factory.mktemp("acme")
    source = shutil.copytree(ACME, folder / "source")
    options = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    done = python("-m", "pip", "install", *options, "--target", folder / "site", source, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "site"


def python(*words: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """A Python of its own: what it imports is no part of this process."""
    command = [sys.executable, *map(str, words)]
    path = os.pathsep.join(filter(None, (env.pop("PYTHONPATH", ""), str(ROOT))))
    return subprocess.run(
        command, cwd=cwd, env=os.environ | env | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=300
    )


@contextmanager
def installed(site: Path) -> Iterator[None]:
    """The package is installed into this process, from that folder, while the block runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        forget(*MODULES)
        yield
    forget(*MODULES)


@pytest.fixture(scope="module")
def trained(site: Path, server: Server) -> Path:
    """A checkpoint of the package's spec, and versions 1 and 2 of its model on a server without the package."""
    bars = ("--symbol", "AAPL", "--demo-bars", "--until", "2012-06-01", "--timesteps", 2048)
    options = ("--spec-version", "acme:1.0.0", "--checkpoint", "aapl.pt", "--tracking-uri", server.url)
    done = python("-m", "training", *bars, *options, cwd=site.parent, PYTHONPATH=str(site))
    assert done.returncode == 0, done.stderr
    assert "AAPL, acme 1.0.0: bars from 2012-06-01 on" in " ".join(done.stdout.split())
    logged = re.search(r"model: (models:/\S+)", done.stdout)
    assert logged is not None
    with pointed_at(server.url):
        for _ in range(2):
            mlflow.register_model(logged[1], MODEL)
    return site.parent / "aapl.pt"


def test_a_trader_with_the_package_gets_the_model_and_one_without_does_not(
    trained: Path, site: Path, server: Server
) -> None:
    with pointed_at(server.url), installed(site):
        told = ppo.announce_trader(MODEL, trader_id="with-1", reference="Production").trader
    assert (dict(told.packages), told.features[-2:]) == (
        {"acme-features": "1.0.0"},
        ("acme/contraction@1", "acme/up_share@1"),
    )
    promoted = mlflow_ppo("promote", MODEL, "1", "Production", MLFLOW_TRACKING_URI=server.url)
    allowed = "Allowed: Production loads version 1, judged for 1 announced trader(s)\n"
    assert (promoted.code, promoted.out) == (0, allowed)
    with pointed_at(server.url):
        ppo.announce_trader(MODEL, trader_id="without-1", reference="Staging")
        with pytest.raises(ppo.PromotionRefused, match=r"requires acme-features>=1\.0"):
            ppo.announce_trader(MODEL, trader_id="without-1", reference="Production")
    refused = mlflow_ppo("promote", MODEL, "2", "Staging", MLFLOW_TRACKING_URI=server.url)
    assert refused.code == 1
    lines = refused.out.splitlines()
    missing = "found no acme-features, model acme 1.0.0 requires acme-features>=1.0: install acme-features>=1.0"
    assert lines[1].endswith(f"requires_trader: {missing}")
    assert [line.partition(": found ")[2].partition(",")[0] for line in lines[2:]] == [
        "acme/contraction@1",
        "acme/up_share@1",
    ]
    assert server.production(MODEL) == ["1"]


def test_without_the_package_it_is_read_but_not_computed(trained: Path) -> None:
    checkpoint = load_checkpoint(trained)
    assert checkpoint.golden is not None
    assert checkpoint.spec.requires_trader == ">=2.7.0; acme-features>=1.0"
    (finding,) = replay(checkpoint.golden, checkpoint.policy(), checkpoint.spec)
    assert "found acme/contraction@1, expected a feature that an installed package brings for acme" in finding.message


@pytest.fixture
def here(site: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the installed package's features.py, with the package installed into this process from there."""
    with installed(shutil.copytree(site, tmp_path / "site")):
        yield tmp_path / "site" / "acme" / "features.py"


def change(module: Path, old: str, new: str) -> None:
    """Another version of the code, as another process would load it."""
    text = module.read_text()
    assert old in text
    module.write_text(text.replace(old, new) + "# of another length than what Python compiled\n")
    forget(*MODULES)


def test_another_formula_is_caught_by_the_golden_decisions(trained: Path, here: Path) -> None:
    checkpoint = load_checkpoint(trained)
    assert checkpoint.golden is not None
    assert replay(checkpoint.golden, checkpoint.policy(), checkpoint.spec) == ()
    change(here, "ranges[-5:]", "ranges[-6:]")
    assert "acme/contraction@1" in replay(checkpoint.golden, checkpoint.policy(), checkpoint.spec)[0].message


def test_the_lock_covers_it(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert mlflow_ppo("spec", "list", "--format", "json").json[-1]["version"] == "acme:1.0.0"
    assert mlflow_ppo("spec", "lock").code == 0
    assert mlflow_ppo("spec", "check").code == 0
    change(here, "ranges[-5:]", "ranges[-6:]")
    owed = mlflow_ppo("spec", "check")
    assert owed.code == 1
    assert "acme/contraction@1" in owed.out
    assert "acme/up_share@1" not in owed.out


def test_what_its_readme_says_is_so(site: Path) -> None:
    text = " ".join((ACME / "README.md").read_text().split())
    assert "found no acme-features, model acme 1.0.0 requires acme-features>=1.0" in text
    assert re.findall(r"--spec-version (\S+)", text) == ["acme:1.0.0"]
    # pip refuses the folder where this package's own version isn't one that it depends on
    needed = map(Requirement, tomllib.loads((ACME / "pyproject.toml").read_text())["project"]["dependencies"])
    assert [(each.name, each.specifier.contains(VERSION)) for each in needed] == [("mlflow-ppo-flavor", True)]
    # as it is written, the trader has announced itself when the model is promoted
    commands = [
        "pip install --editable .",
        "mlflow-ppo server ",
        "python -m training ",
        "log_model(",
        "announce_trader(",
    ]
    places = [text.index(command) for command in [*commands, "mlflow-ppo promote acme-aapl 1 Production", "spec lock"]]
    assert places == sorted(places)
    assert sum(len(file.read_text().splitlines()) for file in ACME.rglob("*") if file.is_file()) <= 150
