"""The server is killed in the middle of promotions: registry, verdicts and history agree afterwards, on both databases.

The moments: before the check (it waits for the guard's lock), between check and MLflow's write, between that and the
commit, at a random time, and as the answer arrives. What holds the promotion there is a lock of the test's own.
"""

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError

import pytest
import sqlalchemy
from sqlalchemy.engine import make_url

from tests import tiers
from tests.registry import databases, postgresql
from tests.server import agreement
from tests.server.servers import Server, serving

pytestmark = [pytest.mark.server, pytest.mark.filterwarnings("ignore:XDG_RUNTIME_DIR is not set")]
MODEL = "m"
# Long enough for a promotion on an idle machine to come to the lock, or to its end.
REACHED, LONGEST_RANDOM = 0.3, 0.05
Hold = Callable[[str], AbstractContextManager[None]]


@contextmanager
def sqlite_statements(uri: str, *statements: str) -> Iterator[None]:
    """A connection of the test's own that keeps its transaction open."""
    connection = sqlite3.connect(str(make_url(uri).database), isolation_level=None)
    try:
        for statement in statements:
            connection.execute(statement).fetchall()
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


@contextmanager
def postgresql_statement(uri: str, statement: str) -> Iterator[None]:
    """A transaction of the test's own that holds what the statement locks."""
    engine = sqlalchemy.create_engine(uri)
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(statement))
        yield
        connection.rollback()
    engine.dispose()


NOTHING: Hold = lambda _: nullcontext()  # noqa: E731 one of the table's
ROW = "SELECT 1 FROM model_versions WHERE name = 'm' FOR UPDATE"
KEY = "SELECT pg_advisory_xact_lock(hashtextextended('mlflow-ppo:m', 0))"
MOMENTS: dict[str, dict[str, Hold]] = {
    "SQLite": {
        "before the commit": lambda uri: sqlite_statements(uri, "BEGIN", "SELECT count(*) FROM model_versions"),
        "at a random time": NOTHING,
        "before the check": lambda uri: sqlite_statements(uri, "BEGIN IMMEDIATE"),
        "after the answer": NOTHING,
    },
    "PostgreSQL": {
        "between check and write": lambda uri: postgresql_statement(uri, ROW),
        "at a random time": NOTHING,
        "before the commit": lambda uri: postgresql_statement(uri, "LOCK TABLE ppo_history IN SHARE MODE"),
        "before the check": lambda uri: postgresql_statement(uri, KEY),
        "after the answer": NOTHING,
    },
}


@pytest.fixture(params=list(MOMENTS)[: tiers.KILLED_DATABASES])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The kind of a new database, and its URI."""
    if request.param == "SQLite":
        yield request.param, databases.fresh(tmp_path)
        return
    with postgresql.serving() as server:
        yield request.param, server.fresh()


def promote(server: Server, version: int, answers: list[int]) -> None:
    """One promotion that archives the others; its status, or nothing where no answer came."""
    try:
        answers.append(server.promote(MODEL, str(version), archive_existing_versions=True).status)
    except (URLError, HTTPException, OSError):
        return


def killed_while_promoting(server: Server, version: int, moment: str, hold: Hold, seed: int) -> list[int]:
    """Kill the server at this moment of a promotion; the promotion's status where it was still told."""
    answers: list[int] = []
    asking = threading.Thread(target=promote, args=(server, version, answers))
    with hold(server.database):
        asking.start()
        if moment == "at a random time":
            time.sleep(random.Random(seed).uniform(0, LONGEST_RANDOM))
        elif moment == "after the answer":
            asking.join()
        else:
            time.sleep(REACHED)
            assert answers == [], f"{moment}: nothing held the promotion there"
        server.kill()
        asking.join()
    return answers


def check(uri: str, expected: set[int]) -> int:
    """The version that stands, which is one of these, after registry, verdicts and history were found to agree."""
    story = agreement.read(uri, MODEL)
    assert story.faults() == []
    stands = story.loads["Production"]
    assert stands in expected
    return stands


def test_registry_verdicts_and_history_agree_after_every_kill(
    database: tuple[str, str], tmp_path: Path, folders: dict[str, str]
) -> None:
    kind, uri = database
    moments = list(MOMENTS[kind].items())
    stands, outcomes = 0, set()
    for i in range(tiers.KILLS + 1):
        with serving(tmp_path, database=uri) as server:
            if i == 0:
                server.register(MODEL, *[folders["2.6.0"], folders["2.7.0"]] * 2)
                assert server.announce(MODEL).status == 200
            # the server has started again, and goes on where it was
            following = stands % 4 + 1
            answers: list[int] = []
            promote(server, following, answers)
            assert answers == [200]
            stands = check(uri, {following})
            if i == tiers.KILLS:
                break
            moment, hold = moments[i % len(moments)]
            wanted = stands % 4 + 1
            answers = killed_while_promoting(server, wanted, moment, hold, seed=i)
        done = answers == [200]
        may_stand = {wanted} if done else {stands, wanted} if hold is NOTHING else {stands}
        stands = check(uri, may_stand)
        outcomes.add((moment, stands == wanted))
    held = {(moment, False) for moment, hold in moments[: tiers.KILLS] if hold is not NOTHING}
    assert held <= outcomes
