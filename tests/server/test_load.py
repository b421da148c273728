"""Many clients promote at the same time: nothing is lost, and nothing fails that MLflow's own server wouldn't let fail.

Each client has a version of its own in every model, moves it to Production, archiving the others, and takes it out
again. So a promotion that was answered with 200 has moved the reference, and stands in the history exactly once.
"""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPException

import pytest

from tests import tiers
from tests.registry import postgresql
from tests.server import agreement
from tests.server.servers import Server, serving

pytestmark = [pytest.mark.server, pytest.mark.filterwarnings("ignore:XDG_RUNTIME_DIR is not set")]
MODELS = ("load-a", "load-b")
Failure = tuple[int, str]


@dataclass
class Client:
    """What was answered to one client; its version has one number in every model, and a forbidden one never moves."""

    version: int
    forbidden: bool
    promoted: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    failures: Counter[Failure] = field(default_factory=Counter)

    def work(self, server: Server, until: float) -> None:
        """Promote, and take out again, until the time is over."""
        chosen = random.Random(self.version)
        while time.monotonic() < until:
            model = chosen.choice(MODELS)
            if self.ask(server, model, "Production", archive=True):
                self.promoted[model] += 1
                while not self.ask(server, model, "None") and time.monotonic() < until + 30:
                    pass

    def ask(self, server: Server, model: str, stage: str, *, archive: bool = False) -> bool:
        """One transition; whether it was done."""
        try:
            answer = server.promote(model, str(self.version), stage, archive_existing_versions=archive)
        except (OSError, HTTPException) as error:
            self.failures[0, type(error).__name__] += 1
            return False
        if answer.status == 409 and self.forbidden:
            self.refused += 1
        elif answer.status != 200:
            self.failures[answer.status, str(answer.body.get("error_code"))] += 1
        return answer.status == 200


def prepare(server: Server, folders: dict[str, str], *, guarded: bool = True) -> list[Client]:
    """A version for each client in every model; each fourth needs a newer trader than the one that announced."""
    clients = [Client(i + 1, forbidden=guarded and i % 4 == 3) for i in range(tiers.CLIENTS)]
    sources = [server.log(folders["2.7.0" if i % 4 == 3 else "2.6.0"]) for i in range(4)]
    for model in MODELS:
        assert server.call("POST", "registered-models/create", {"name": model}).status == 200
        for i in range(len(clients)):
            body = {"name": model, "source": sources[i % 4], "run_id": sources[i % 4].split("/")[1]}
            assert server.call("POST", "model-versions/create", body).status == 200
        if guarded:
            assert server.announce(model, version="2.6.0").status == 200
    return clients


def run(server: Server, clients: list[Client], seconds: float) -> None:
    """All clients at once."""
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=client.work, args=(server, until)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def lost(server: Server, clients: list[Client]) -> list[str]:
    """Promotions that were answered and aren't in the history, or the other way round; and where it tells no story."""
    found = []
    for model in MODELS:
        story = agreement.read(server.registry, model)
        found += [f"{model}: {fault}" for fault in story.faults()]
        told: Counter[int] = Counter()
        for row in story.history:
            operation = json.loads(row["operation"])
            if row["allowed"] and operation.get("stage") == "Production":
                told[operation["version"]] += 1
        for client in clients:
            if told[client.version] != client.promoted[model]:
                found.append(
                    f"{model} version {client.version}: {client.promoted[model]} answered, {told[client.version]} told"
                )
    return found


def failures(clients: list[Client]) -> Counter[Failure]:
    return sum((client.failures for client in clients), Counter())


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A guarded server of two workers on PostgreSQL."""
    with (
        postgresql.serving() as database,
        serving(tmp_path_factory.mktemp("workers"), database=database.fresh(), workers=2) as server,
    ):
        yield server


def test_on_postgresql_nothing_fails_and_nothing_is_lost(workers: Server, folders: dict[str, str]) -> None:
    clients = prepare(workers, folders)
    run(workers, clients, tiers.LOAD_SECONDS)
    print(f"{len(clients)} clients, {tiers.LOAD_SECONDS} s: {sum(c.promoted.total() for c in clients)} promotions")
    assert failures(clients) == Counter()
    assert lost(workers, clients) == []
    assert any(client.promoted for client in clients)
    # the forbidden ones were refused each time
    assert all(client.refused and not client.promoted for client in clients if client.forbidden)


def test_a_promotion_and_an_announcement_that_exclude_each_other(workers: Server, folders: dict[str, str]) -> None:
    source = workers.log(folders["2.7.0"])
    for number in range(tiers.RACES):
        model = f"race-{number}"
        assert workers.call("POST", "registered-models/create", {"name": model}).status == 200
        body = {"name": model, "source": source, "run_id": source.split("/")[1]}
        assert workers.call("POST", "model-versions/create", body).status == 200
        statuses = at_once(
            lambda model=model: workers.promote(model, "1").status,
            lambda model=model: workers.announce(model, version="2.6.0").status,
        )
        assert sorted(statuses) == [200, 409]
        assert agreement.read(workers.registry, model).faults() == []
        assert workers.production(model) == (["1"] if statuses[0] == 200 else [])


def at_once(*calls: Callable[[], int]) -> list[int]:
    """The statuses of requests that are sent at the same moment, in their order."""
    barrier, statuses = threading.Barrier(len(calls)), [0] * len(calls)

    def ask(i: int) -> None:
        barrier.wait()
        statuses[i] = calls[i]()

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def test_on_sqlite_nothing_is_lost_and_nothing_fails_that_the_unguarded_server_does_not_give(
    server: Server, plain_server: Server, folders: dict[str, str]
) -> None:
    clients, others = prepare(server, folders), prepare(plain_server, folders, guarded=False)
    # in turn, so that what else the machine does meets both
    for _ in range(2):
        run(server, clients, tiers.LOAD_SECONDS / 2)
        run(plain_server, others, tiers.LOAD_SECONDS / 2)
    print(f"failures: guarded {dict(failures(clients))}, plain {dict(failures(others))}")
    assert set(failures(clients)) <= set(failures(others)), (failures(clients), failures(others))
    assert lost(server, clients) == []
    assert any(client.promoted for client in clients)
    assert any(client.promoted for client in others)
