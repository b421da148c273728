"""A guarded and a plain MLflow server for the tests of this folder, and the model folders of the registry's tests."""

from collections.abc import Iterator

import pytest

from tests.own_packages import install  # noqa: F401 a fixture
from tests.registry.conftest import folders  # noqa: F401 the same folders
from tests.registry.filling import write_model
from tests.registry.model_folders import trained
from tests.server.servers import Server, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A guarded server, started by `mlflow-ppo server`."""
    with serving(tmp_path_factory.mktemp("guarded")) as started:
        yield started


@pytest.fixture(scope="session")
def plain_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """MLflow's own server, unguarded: what the guarded one is compared with."""
    with serving(tmp_path_factory.mktemp("plain"), guarded=False) as started:
        yield started


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Model folders with every file that they list."""
    root = tmp_path_factory.mktemp("whole")
    return {version: str(write_model(root / version, trained(version))) for version in ("2.6.0", "2.7.0")}
