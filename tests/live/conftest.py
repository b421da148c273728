"""Fixtures of the live trader's tests: a registry of its own for each test, and a trading floor."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.meddled import MeddledExchange
from tests.live.trading import FIRST, SYMBOL, Floor, Registry, always, registry_in
from tests.own_packages import install  # noqa: F401 a fixture
from tests.registry import databases
from tests.training.markets import BUY_75, bars


@pytest.fixture(scope="session")
def buying_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry in whose Production stands a policy that buys at every bar: logging it takes a while."""
    folder = tmp_path_factory.mktemp("buying")
    with registry_in(folder, databases.fresh(folder)) as registry:
        registry.promote(registry.log(always(BUY_75)))
    return folder / "mlflow.db"


@pytest.fixture
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    """A registry behind its gate: empty, or with the policy of `buying` where a test asks for that."""
    database = databases.fresh(tmp_path)
    if "buying" in request.fixturenames:
        shutil.copyfile(request.getfixturevalue("buying_database"), database.removeprefix("sqlite:///"))
    with registry_in(tmp_path, database) as started:
        yield started


@pytest.fixture
def floor(registry: Registry, tmp_path: Path) -> Iterator[Floor]:
    """A floor whose exchange stands, in lockstep, at the close of bar 100 of the generated daily series."""
    with MeddledExchange({SYMBOL: bars()}) as exchange:
        exchange.advance(bars=FIRST)
        yield Floor(exchange, tmp_path / "state")


@pytest.fixture
def buying(floor: Floor) -> Floor:
    """A floor where the policy in Production, version 1, buys at every bar."""
    return floor


@pytest.fixture
def own_process() -> Iterator[None]:
    """The command takes over signals and settles MLflow's environment: give both back."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)
    handlers, variables = [signal.getsignal(number) for number in numbers], dict(os.environ)
    yield
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)
    os.environ.clear()
    os.environ.update(variables)
