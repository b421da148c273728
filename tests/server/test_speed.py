"""What the gate costs a transition over REST: guarded and plain server in turn, in one run."""

import statistics
import time

import pytest
import sqlalchemy
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion

from tests.server.servers import Server

pytestmark = [pytest.mark.bench, pytest.mark.server]
PAIRS = 60
MOST = 1.5


def fill(server: Server, model: str, versions: int) -> None:
    """Versions 3 to `versions` of a model, written to the database: registering them would take minutes."""
    engine = sqlalchemy.create_engine(server.database)
    row = {"workspace": "default", "name": model, "source": "s3://b/m", "storage_location": "s3://b/m"}
    rows = [{**row, "version": v, "creation_time": v, "current_stage": "None"} for v in range(3, versions + 1)]
    with engine.begin() as connection:
        connection.execute(sqlalchemy.insert(SqlModelVersion), rows)
    engine.dispose()


def transition(server: Server, model: str, stage: str) -> float:
    """Milliseconds of one transition of version 2."""
    start = time.perf_counter()
    assert server.promote(model, "2", stage).status == 200
    return (time.perf_counter() - start) * 1e3


@pytest.mark.parametrize("versions", [2, 10_000])
def test_a_guarded_transition_costs_at_most_half_as_much_again(
    versions: int, server: Server, plain_server: Server, folders: dict[str, str]
) -> None:
    model = f"speed-{versions}"
    for each in (server, plain_server):
        each.register(model, folders["2.6.0"], folders["2.7.0"])
        if versions > 2:
            fill(each, model, versions)
    assert server.announce(model).status == 200
    guarded, plain = [], []
    for i in range(PAIRS):
        stage = ("Production", "None")[i % 2]
        guarded.append(transition(server, model, stage))
        plain.append(transition(plain_server, model, stage))
    ratio = statistics.median(g / p for g, p in zip(guarded, plain, strict=True))
    print(
        f"\n{versions} versions: guarded {statistics.median(guarded):.1f} ms, plain {statistics.median(plain):.1f} ms, "
        f"ratio {ratio:.2f} (medians of {PAIRS} pairs)"
    )
    assert ratio <= MOST
