"""How long an audit takes: 10,000 versions, each loaded by a protected reference of its own that a trader announced.

What stands there: 10,000 model folders on the local disk, each with its own MLmodel (3 kB) and three small files that
it lists (weights of 5 bytes: hashing real ones takes what the disk takes); 10,000 aliases; one announced trader for
each; a signed verdict on each, written by `guard install --adopt`; SQLite.
"""

import time
from pathlib import Path

import pytest

from mlflow_ppo_flavor.contract.keys import SigningKey
from mlflow_ppo_flavor.registry import installation
from mlflow_ppo_flavor.registry.store import open_store
from tests.registry import databases
from tests.registry.filling import announce_all, fill, write_models
from tests.registry.model_folders import trained

pytestmark = pytest.mark.bench
VERSIONS = 10_000
MOST_SECONDS = 30.0


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_models(tmp_path_factory.mktemp("many"), trained("2.7.0"), VERSIONS)


@pytest.mark.parametrize("models", [VERSIONS, 1])
def test_an_audit_of_ten_thousand_versions_takes_half_a_minute_at_most(
    models: int, many: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key.pem"
    SigningKey.generate().write(key)
    monkeypatch.setenv("MLFLOW_PPO_SIGNING_KEY_FILE", str(key))
    store = open_store(f"ppo:{databases.fresh(tmp_path)}")
    fill(store.engine, many, models=models)
    announce_all(store.engine, VERSIONS, models=models)
    times = {"read": time.perf_counter()}
    origins = installation.unread(store, "default")
    assert installation.read_all(store, origins, lambda _: None) == {}
    times["adopt"] = time.perf_counter()
    assert len(installation.adopt(store, "default")) == VERSIONS
    times["standing"] = time.perf_counter()
    standing = store.report("standing", limit=VERSIONS)
    times["audit"] = time.perf_counter()
    audited = store.report("audit", limit=VERSIONS)
    ends = [*list(times.values())[1:], time.perf_counter()]
    took = {name: end - start for (name, start), end in zip(times.items(), ends, strict=True)}
    references = [each for report in audited.values() for each in report["references"]]
    assert len(references) == VERSIONS == sum(len(report["references"]) for report in standing.values())
    assert [each for each in references if each["findings"]] == []
    told = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in took.items())
    print(f"\n{VERSIONS} versions of {models} models: {told}")
    assert took["audit"] <= MOST_SECONDS
    store.engine.dispose()
