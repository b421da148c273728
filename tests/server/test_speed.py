"""What the gate costs over REST: guarded and plain server in turn, in one run, on both databases."""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion

from tests.registry import postgresql
from tests.server.servers import Server, serving

pytestmark = [
    pytest.mark.bench,
    pytest.mark.server,
    pytest.mark.filterwarnings("ignore:XDG_RUNTIME_DIR is not set"),
]
PAIRS, READS = 60, 60
MOST, MOST_READING = 1.5, 1.1
Pair = tuple[Server, Server]


@pytest.fixture(scope="module", params=["SQLite", "PostgreSQL"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A guarded and a plain server, each on a database of its own of the same kind."""
    if request.param == "SQLite":
        yield request.getfixturevalue("server"), request.getfixturevalue("plain_server")
        return
    folder = tmp_path_factory.mktemp("postgresql")
    with (
        postgresql.serving() as databases,
        serving(folder / "guarded", database=databases.fresh()) as guarded,
        serving(folder / "plain", guarded=False, database=databases.fresh()) as plain,
    ):
        yield guarded, plain


@pytest.fixture(scope="module", params=[2, 10_000], ids=lambda n: f"{n} versions")
def model(request: pytest.FixtureRequest, pair: Pair, folders: dict[str, str]) -> str:
    """The name of a model of so many versions on both servers, with a trader and an alias on the guarded one."""
    name = f"speed-{request.param}"
    for server in pair:
        server.register(name, folders["2.6.0"], folders["2.7.0"])
        fill(server, name, request.param)
        body = {"name": name, "alias": "champion", "version": "1"}
        assert server.call("POST", "registered-models/alias", body).status == 200
    assert pair[0].announce(name).status == 200
    return name


def fill(server: Server, model: str, versions: int) -> None:
    """Versions 3 to `versions` of a model, written to the database: registering them would take minutes."""
    engine = sqlalchemy.create_engine(server.database, isolation_level="AUTOCOMMIT")
    row = {"workspace": "default", "name": model, "source": "s3://b/m", "storage_location": "s3://b/m"}
    rows = [{**row, "version": v, "creation_time": v, "current_stage": "None"} for v in range(3, versions + 1)]
    with engine.connect() as connection:
        if rows:
            connection.execute(sqlalchemy.insert(SqlModelVersion), rows)
        # as a database that has run for a day has done by itself
        connection.execute(sqlalchemy.text("ANALYZE"))
    engine.dispose()


def milliseconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    assert call().status == 200
    return (time.perf_counter() - start) * 1e3


def ratio(pair: Pair, ask: Callable[[Server, int], Any], times: int, what: str) -> float:
    """The median ratio of guarded to plain, measured in turn; which of a pair is first changes."""
    taken: tuple[list[float], list[float]] = ([], [])
    for i in range(times + 4):
        for which in (0, 1) if i % 4 < 2 else (1, 0):
            spent = milliseconds(lambda which=which, i=i: ask(pair[which], i))
            if i >= 4:
                taken[which].append(spent)
    found = statistics.median(g / p for g, p in zip(*taken, strict=True))
    guarded, plain = (statistics.median(each) for each in taken)
    kind = pair[0].database.partition(":")[0].partition("+")[0]
    print(
        f"\n{kind}, {what}: guarded {guarded:.1f} ms, plain {plain:.1f} ms, ratio {found:.2f} (medians of {times} "
        f"pairs; of the least {min(taken[0]) / min(taken[1]):.2f})"
    )
    return found


def test_a_guarded_transition_costs_at_most_half_as_much_again(pair: Pair, model: str) -> None:
    def transition(server: Server, i: int) -> Any:
        return server.promote(model, "2", ("Production", "None")[i % 2])

    assert ratio(pair, transition, PAIRS, f"{model} transition") <= MOST


READING: dict[str, Callable[[Server, str], Any]] = {
    "get model": lambda s, m: s.call("GET", f"registered-models/get?name={m}"),
    "get version": lambda s, m: s.call("GET", f"model-versions/get?name={m}&version=2"),
    "latest versions": lambda s, m: s.call("POST", "registered-models/get-latest-versions", {"name": m}),
    "alias": lambda s, m: s.call("GET", f"registered-models/alias?name={m}&alias=champion"),
    "search models": lambda s, m: s.call("GET", "registered-models/search?max_results=50"),
    "search versions": lambda s, m: s.call("GET", f"model-versions/search?max_results=50&filter=name%3D%27{m}%27"),
    "all versions": lambda s, m: s.call("GET", f"model-versions/search?filter=name%3D%27{m}%27"),
}


# with thousands of versions these take MLflow most of a second
LONG = ("get model", "latest versions", "all versions")


@pytest.mark.parametrize("path", READING)
def test_reading_costs_at_most_a_tenth_more(path: str, pair: Pair, model: str) -> None:
    times = READS // 3 if model != "speed-2" and path in LONG else READS
    assert ratio(pair, lambda server, _: READING[path](server, model), times, f"{model} {path}") <= MOST_READING
