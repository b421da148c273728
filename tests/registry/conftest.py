"""Fixtures of the registry's tests: model folders, and stores with and without the guard."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from mlflow_ppo_flavor.registry.store import GuardMixin, open_store
from tests.registry import databases
from tests.registry.auditing import desk, models, signed  # noqa: F401 fixtures
from tests.registry.freezing import art, repository, tracking  # noqa: F401 fixtures
from tests.registry.model_folders import SKLEARN_FLAVORS, VOUCH, ppo_flavors, trained, write_mlmodel


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where models lie: of both specs, unproven, vouched for, of another flavor, and nowhere."""
    root = tmp_path_factory.mktemp("models")
    flavors = {
        "2.6.0": ppo_flavors(trained("2.6.0")),
        "2.7.0": ppo_flavors(trained("2.7.0")),
        "unproven": ppo_flavors(trained("2.6.0"), golden=False),
        "vouched": ppo_flavors(trained("2.7.0"), golden=False, vouch=VOUCH),
        "sklearn": SKLEARN_FLAVORS,
    }
    found = {name: str(write_mlmodel(root / name, listed)) for name, listed in flavors.items()}
    return {**found, "missing": str(root / "missing")}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[GuardMixin]:
    """A guarded store on a new database."""
    guarded = databases.guarded(tmp_path)
    yield guarded
    guarded.engine.dispose()


@pytest.fixture
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlAlchemyStore]:
    """MLflow's own store on another new database."""
    unguarded = databases.unguarded(tmp_path_factory.mktemp("plain"))
    yield unguarded
    unguarded.engine.dispose()


@pytest.fixture
def policed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, Any]], GuardMixin]]:
    """Opens a guarded store on one database, each time by the policy that it is given."""
    uri, opened = databases.fresh(tmp_path), []

    def open_by(policy: dict[str, Any]) -> GuardMixin:
        path = tmp_path / "policy.yaml"
        path.write_text(yaml.safe_dump(policy), encoding="utf-8")
        monkeypatch.setenv("MLFLOW_PPO_POLICY_FILE", str(path))
        opened.append(open_store(f"ppo:{uri}"))
        return opened[-1]

    yield open_by
    for store in opened:
        store.engine.dispose()
