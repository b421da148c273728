"""Own packages for tests: laid out on disk as pip leaves them, and installed into this process until the test ends."""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mlflow_ppo_flavor.contract import packages

ACME = """
import numpy as np
import mlflow_ppo_flavor as ppo

def spread(window):
    return (window.high.max() - window.low.min()) / window.close[-1]

def weekend(window):
    return float(np.diff(window.time).max() > 2 * 86_400 * 10**9)

FEATURES = [
    ppo.OwnFeature("acme/spread", 1, 30, 0.0, 0.5, 0.0, "Highest high less lowest low / close.", spread),
    ppo.OwnFeature("acme/weekend", 1, 5, 0.0, 1.0, 0.5, "Whether a weekend lies in the last 5 bars.", weekend),
]
SPECS = [
    ppo.ModelSpec(
        family="acme",
        version="1.0.0",
        requires_trader=">=2.7.0; acme-features>=1.2",
        features=("acme/spread@1", "cci_20@1", "acme/weekend@1", "return_1@1", "position_size@1"),
        actions=(ppo.Action("HOLD", 0, 0.0), ppo.Action("BUY", 1, 0.5), ppo.Action("SELL", -1, 0.5)),
        window=4,
    )
]
"""


@dataclass(frozen=True)
class Package:
    """A distribution of one module, and its entry points: {name: object in the module}."""

    source: str = ACME
    name: str = "Acme_Features"
    version: str = "1.2.0"
    module: str = "acme_of_tests"
    features: Mapping[str, str] = field(default_factory=lambda: {"acme": "FEATURES"})
    specs: Mapping[str, str] = field(default_factory=lambda: {"acme": "SPECS"})

    def write(self, folder: Path) -> Path:
        """Lay it out in a folder as pip would."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.module}.py").write_text(self.source)
        info = folder / f"{self.name}-{self.version}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}\n")
        (info / "RECORD").write_text(f"{self.module}.py,,\n")
        groups = {packages.FEATURES_GROUP: self.features, packages.SPECS_GROUP: self.specs}
        lines = [
            "\n".join([f"[{group}]", *(f"{name} = {self.module}:{value}" for name, value in entries.items())])
            for group, entries in groups.items()
        ]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        return folder


Install = Callable[..., None]


def forget(*modules: str) -> None:
    """Forget what was found and loaded, as a new process would."""
    # compiled code: a second to import, for tests that install something alone
    from mlflow_ppo_flavor.contract import releases
    from mlflow_ppo_flavor.decision.features import compute, own

    for kept in (packages.installed, packages.code_digest, own._brought, own.own_features, releases._brought):
        kept.cache_clear()
    compute._plan.cache_clear()
    for name in modules:
        sys.modules.pop(name, None)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """A function that installs packages into this process, each into a folder of its own, until the test ends."""
    modules: list[str] = []

    def installed(*wanted: Package) -> None:
        for package in wanted:
            # a later one of the same name stands before an earlier one
            monkeypatch.syspath_prepend(str(package.write(tmp_path / f"site-{len(modules)}")))
            modules.append(package.module)
        forget(*modules)

    yield installed
    monkeypatch.undo()
    forget(*modules)
