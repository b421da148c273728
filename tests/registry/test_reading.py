"""Where contracts are read from, when, and how often."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.entities.model_registry import RegisteredModelTag
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking import MlflowClient
from sqlalchemy import delete, select

from mlflow_ppo_flavor.contract.mlmodel import MOST_BYTES
from mlflow_ppo_flavor.errors import RegistryError
from mlflow_ppo_flavor.registry.artifacts import _told, read_contract, read_mlmodel
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.store import GuardMixin, open_store
from mlflow_ppo_flavor.registry.tables import CONTRACTS
from tests.mlflow_state import pointed_at
from tests.registry import databases
from tests.registry.model_folders import announce_value, announcement, ppo_flavors, trained, write_mlmodel


@pytest.fixture
def client(store: GuardMixin, tmp_path: Path) -> Iterator[MlflowClient]:
    """A client of the database itself, the registry guarded, and MLflow told so."""
    uri = str(store.engine.url)
    with pointed_at(uri, f"ppo:{uri}"):
        made = MlflowClient()
        made.create_experiment("e", artifact_location=(tmp_path / "artifacts").as_uri())
        yield made


def log_folder(client: MlflowClient, tmp_path: Path, version: str) -> tuple[str, str]:
    """A run with a model folder among its artifacts: its id, and the folder's name."""
    folder = write_mlmodel(tmp_path / "made" / "policy", ppo_flavors(trained(version)))
    run = client.create_run(client.get_experiment_by_name("e").experiment_id)  # type: ignore[union-attr]
    client.log_artifacts(run.info.run_id, str(folder), "policy")
    return run.info.run_id, "policy"


def digest_of(client: MlflowClient, name: str, version: str) -> str:
    return client.get_model_version(name, version).tags.get("ppo.digest", "")


def test_every_kind_of_source_gives_the_same_contract(client: MlflowClient, tmp_path: Path) -> None:
    run_id, path = log_folder(client, tmp_path, "2.6.0")
    experiment = client.get_run(run_id).info.experiment_id
    logged = client.create_logged_model(experiment, "named", source_run_id=run_id)
    client.log_model_artifacts(logged.model_id, str(tmp_path / "made" / "policy"))
    client.finalize_logged_model(logged.model_id, "READY")
    sources = [
        f"runs:/{run_id}/{path}",
        f"{client.get_run(run_id).info.artifact_uri}/{path}",
        f"models:/{logged.model_id}",
        f"runs:/{run_id}/named",
        "models:/m/1",
        "models:/m/5",
    ]
    client.create_registered_model("m")
    made = [client.create_model_version("m", source) for source in sources]
    digests = {digest_of(client, "m", version.version) for version in made}
    assert len(digests) == 1
    assert len(digests.pop()) == 64


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("/nowhere/at/all", "MLmodel can't be read: "),
        ("runs:/0123456789abcdef0123456789abcdef/policy", "MLmodel can't be read: Run with id="),
        ("runs:/", "MLmodel can't be read: Not a proper runs:/ URI"),
        ("models:/m-0123456789abcdef0123456789abcdef", "MLmodel can't be read: Logged model with ID"),
        ("nothing://at/all", "MLmodel can't be read: Could not find a registered artifact repository"),
        ("", "MLmodel can't be read: "),
    ],
)
def test_what_cannot_be_fetched_says_why_and_where(client: MlflowClient, location: str, reason: str) -> None:
    contract = read_contract(location)
    assert (contract.spec, contract.known) == (None, False)
    assert contract.reason.startswith(f"try again later: {reason}")
    assert contract.reason.endswith(f": expected the MLmodel of a logged model at {location}")


@pytest.mark.parametrize("location", ["prompt-template", "dummy-source"])
def test_a_prompt_is_known_for_what_it_is(location: str) -> None:
    assert read_contract(location) == Contract.unreadable("a prompt, no model")


def test_a_location_is_told_without_its_secrets() -> None:
    with pytest.raises(RegistryError, match=r"at nothing://host:1/m$") as unknown:
        read_mlmodel("nothing://user:password@host:1/m?sig=secret#secret")
    assert "artifact repository for: nothing://host:1/m Currently" in str(unknown.value)
    assert "password" not in str(unknown.value)
    assert "secret" not in str(unknown.value)


def test_an_artifact_stores_error_is_told_without_secrets() -> None:
    error = OSError(
        "GET http://user:p@ssword@host/m?sig=secret/MLmodel failed: Max retries with url: /m?sig=secret (why)"
    )
    assert _told(error) == "GET http://host/m failed: Max retries with url: /m (why)"
    assert _told(OSError()) == "OSError"


def test_of_a_huge_mlmodel_only_the_start_is_taken_into_memory(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_bytes(b"#" * (MOST_BYTES + 10))
    assert len(read_mlmodel(str(tmp_path))) == MOST_BYTES + 1
    assert not read_contract(str(tmp_path)).known


def test_a_contract_is_read_once_and_a_promotion_reads_no_artifact(store: GuardMixin, tmp_path: Path) -> None:
    folder = write_mlmodel(tmp_path / "model", ppo_flavors(trained("2.7.0")))
    store.create_registered_model("m")
    store.create_model_version("m", str(folder))
    digest = store.get_model_version("m", 1).tags["ppo.digest"]
    (folder / "MLmodel").unlink()
    store.transition_model_version_stage("m", 1, "Production", False)
    assert store.get_model_version("m", 1).tags["ppo.digest"] == digest


def before_the_guard(tmp_path: Path, folders: dict[str, str], *kinds: str) -> GuardMixin:
    """A guarded store on a database whose versions MLflow's own store registered."""
    uri = databases.fresh(tmp_path)
    plain = SqlAlchemyStore(uri)
    plain.create_registered_model("m")
    for kind in kinds:
        plain.create_model_version("m", folders[kind])
    return open_store(f"ppo:{uri}")


def known(store: GuardMixin) -> list[int]:
    with store.ManagedSessionMaker() as session:
        return list(session.execute(select(CONTRACTS.c.version).order_by(CONTRACTS.c.version)).scalars())


def test_versions_registered_before_the_guard_stood_are_read_when_first_needed(
    tmp_path: Path, folders: dict[str, str]
) -> None:
    store = before_the_guard(tmp_path, folders, "2.6.0", "2.7.0", "2.6.0")
    assert known(store) == []
    told = announcement("m", version="2.6.0")
    store.set_registered_model_tag("m", RegisteredModelTag("ppo.announce", announce_value(told)))
    with pytest.raises(MlflowException, match="become Production: trader live-1"):
        store.transition_model_version_stage("m", 2, "Production", False)
    assert 2 in known(store)
    assert store.get_model_version("m", 2).tags["ppo.spec"] == "ppo 2.7.0"
    store.transition_model_version_stage("m", 1, "Production", False)
    store.engine.dispose()


@pytest.mark.parametrize(
    "kinds", [("2.6.0", "sklearn"), ("sklearn", "2.6.0", "sklearn"), ("missing", "2.7.0", "missing")]
)
def test_one_ppo_version_among_old_ones_guards_them_all(
    tmp_path: Path, folders: dict[str, str], kinds: tuple[str, ...]
) -> None:
    store = before_the_guard(tmp_path, folders, *kinds)
    with pytest.raises(MlflowException, match=r"^Refused: m version"):
        store.transition_model_version_stage("m", len(kinds), "Production", False)
    store.engine.dispose()


def test_an_old_model_without_the_flavor_is_read_once_and_passes(tmp_path: Path, folders: dict[str, str]) -> None:
    store = before_the_guard(tmp_path, folders, "sklearn", "sklearn")
    store.transition_model_version_stage("m", 1, "Production", False)
    assert known(store) == [1, 2]
    store.transition_model_version_stage("m", 2, "Production", False)
    store.engine.dispose()


def test_hundreds_of_old_versions_are_read_on_the_first_need(tmp_path: Path, folders: dict[str, str]) -> None:
    store = before_the_guard(tmp_path, folders, "2.6.0", *["sklearn"] * 120)
    with pytest.raises(MlflowException, match=r"^Refused: m version 121 can't become Production: MLmodel has no ppo"):
        store.transition_model_version_stage("m", 121, "Production", False)
    assert len(known(store)) == 121
    store.engine.dispose()


def test_an_announcement_reads_the_old_version_that_stands_there(tmp_path: Path, folders: dict[str, str]) -> None:
    store = before_the_guard(tmp_path, folders, "2.7.0")
    SqlAlchemyStore(str(store.engine.url)).transition_model_version_stage("m", 1, "Production", False)
    told = announce_value(announcement("m", version="2.6.0"))
    with pytest.raises(MlflowException, match=r"can't serve m/Production: version 1 stands there"):
        store.set_registered_model_tag("m", RegisteredModelTag("ppo.announce", told))
    store.engine.dispose()


def test_a_version_that_came_back_under_the_same_number_is_read_anew(store: GuardMixin, tmp_path: Path) -> None:
    folder = write_mlmodel(tmp_path / "model", ppo_flavors(trained("2.6.0")))
    store.create_registered_model("m")
    store.create_model_version("m", str(folder))
    plain = SqlAlchemyStore(str(store.engine.url))
    plain.delete_registered_model("m")
    write_mlmodel(folder, ppo_flavors(trained("2.7.0")))
    plain.create_registered_model("m")
    plain.create_model_version("m", str(folder))
    told = announcement("m", version="2.6.0")
    store.set_registered_model_tag("m", RegisteredModelTag("ppo.announce", announce_value(told)))
    with pytest.raises(MlflowException, match=r"model 2\.7\.0 requires trader >=2\.7\.0"):
        store.transition_model_version_stage("m", 1, "Production", False)


def test_of_old_versions_only_those_are_read_that_a_ruling_needs(tmp_path: Path, folders: dict[str, str]) -> None:
    store = before_the_guard(tmp_path, folders, *["2.6.0"] * 5)
    store.transition_model_version_stage("m", 2, "Production", False)
    assert known(store) == [2, 5]
    store.engine.dispose()


def test_a_version_whose_reading_was_cut_short_is_read_when_needed(store: GuardMixin, folders: dict[str, str]) -> None:
    store.create_registered_model("m")
    store.create_model_version("m", folders["2.7.0"])
    with store.ManagedSessionMaker(read_only=False) as session:
        session.execute(delete(CONTRACTS))
    store.transition_model_version_stage("m", 1, "Production", False)
    assert known(store) == [1]
