"""fetch_seal: the registry's seal on what a reference loads, through MLflow's own client."""

import sqlite3
from contextlib import closing
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

import mlflow_ppo_flavor as ppo
from live.seal_check import SealCheck, SealTerms
from mlflow_ppo_flavor.announcement import fetch_seal
from mlflow_ppo_flavor.contract.keys import SigningKey, VerifyingKeys
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.request import Question
from mlflow_ppo_flavor.errors import RegistryError, SpecError, UnknownFormat
from tests.model.policies import policy_of

SPEC = ppo.MODEL_SPECS["2.7.0"].for_bars(timeframe="1Day", adjustment="all")
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*no golden decisions"),
    pytest.mark.filterwarnings("ignore:.*stages.*:FutureWarning"),
]
Key = tuple[SigningKey, VerifyingKeys]


@pytest.fixture
def key(registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Key:
    """MLflow's registry behind its gate, which signs with this key."""
    made = SigningKey.generate()
    made.write(tmp_path / "key.pem")
    monkeypatch.setenv("MLFLOW_PPO_SIGNING_KEY_FILE", str(tmp_path / "key.pem"))
    mlflow.set_registry_uri(f"ppo:{registry}")
    return made, VerifyingKeys((made.public,))


def log(model: str) -> None:
    ppo.log_model(policy_of(SPEC, hidden_dims=(2,)), name="policy", registered_model_name=model)


def execute(registry: str, statement: str, *values: object) -> None:
    """What somebody does to the database by hand."""
    with closing(sqlite3.connect(registry.removeprefix("sqlite:///"))) as database, database:
        assert database.execute(statement, values).rowcount == 1


def test_it_is_the_seal_on_what_the_reference_loads(key: Key) -> None:
    log("ppo-aapl")
    log("ppo-aapl")
    champion, production = (Reference.parse("ppo-aapl", label) for label in ("@champion", "Production"))
    ppo.announce_trader("ppo-aapl", trader_id="t", reference="@champion")
    assert fetch_seal(champion) is None
    client = MlflowClient()
    for sequence, version in enumerate(("1", "2", "1"), start=1):
        client.set_registered_model_alias("ppo-aapl", "champion", version)
        seal = fetch_seal(champion)
        assert seal is not None
        assert key[1].fault(seal) == ""
        assert (seal.verdict.reference, seal.verdict.version, seal.verdict.sequence) == (
            champion,
            int(version),
            sequence,
        )
        assert seal.verdict.digest == client.get_model_version("ppo-aapl", version).tags["ppo.digest"]
        assert seal.verdict.workspace == "default"
    assert fetch_seal(production) is None
    client.transition_model_version_stage("ppo-aapl", "2", "Production")
    found = fetch_seal(production)
    assert found is not None
    assert (found.verdict.reference, found.verdict.sequence) == (production, 1)
    assert found.verdict.registry == seal.verdict.registry
    client.transition_model_version_stage("ppo-aapl", "2", "Archived")
    assert fetch_seal(production) is None


@pytest.mark.parametrize("model", ["Ann's model", 'the "best" one', 'Ann\'s "best"', "a b (c), d; e = 100 %"])
def test_a_model_may_have_any_name(model: str, key: Key) -> None:
    for name in (model, "another"):
        log(name)
        MlflowClient().transition_model_version_stage(name, "1", "Production")
    seal = fetch_seal(Reference.parse(model, "Production"))
    assert seal is not None
    assert (seal.verdict.model, key[1].fault(seal)) == (model, "")


def test_without_a_key_or_a_gate_there_is_none(registry: str) -> None:
    log("ppo-aapl")
    reference = Reference.parse("ppo-aapl", "Production")
    MlflowClient().transition_model_version_stage("ppo-aapl", "1", "Production")
    assert fetch_seal(reference) is None
    assert fetch_seal(Reference.parse("nobody", "Production")) is None
    mlflow.set_registry_uri(f"ppo:{registry}")
    assert fetch_seal(reference) is None


def test_what_is_no_seal_is_told_by_its_path(registry: str, key: Key) -> None:
    log("ppo-aapl")
    MlflowClient().transition_model_version_stage("ppo-aapl", "1", "Production")
    reference = Reference.parse("ppo-aapl", "Production")
    execute(registry, "UPDATE ppo_verdicts SET seal = ?", '{"format": 2}')
    with pytest.raises(UnknownFormat, match=r"^ppo.report.Production.format: found 2, expected 1: upgrade"):
        fetch_seal(reference)
    execute(registry, "UPDATE ppo_verdicts SET seal = ?", "[]")
    with pytest.raises(SpecError, match=r"^ppo.report.Production: found \[\], expected a mapping"):
        fetch_seal(reference)
    for garbage in ("garbage", "", "NaN", "[" * 100_000):
        execute(registry, "UPDATE ppo_verdicts SET seal = ?", garbage)
        with pytest.raises(SpecError, match=r"^ppo.report.Production: found .{1,90}, expected a mapping$"):
            fetch_seal(reference)


def test_a_trader_tells_a_seal_that_is_garbage_for_what_it_is(registry: str, key: Key) -> None:
    """Not for a server that is down, which it would wait for."""
    log("ppo-aapl")
    MlflowClient().transition_model_version_stage("ppo-aapl", "1", "Production")
    execute(registry, "UPDATE ppo_verdicts SET seal = ?", "garbage")
    check = SealCheck(SealTerms(key[1], required=False))
    (finding,) = check.check(Reference.parse("ppo-aapl", "Production"), 1, None).findings
    assert (finding.code, finding.kind) == ("verdict_signature", "safety")
    assert finding.message == (
        "verdict: found ppo.report.Production: found 'garbage', expected a mapping, "
        "expected a seal of this trader's format: "
        "don't trade it: look who wrote to the registry's database (`mlflow-ppo audit`)"
    )


def test_a_plain_tag_that_looks_like_an_answer_is_none(registry: str) -> None:
    """An unguarded registry, where anybody may set the tag that the question names."""
    reference = Reference.parse("ppo-aapl", "Production")
    MlflowClient().create_registered_model(
        "ppo-aapl", tags={"ppo.report": Question("verdict", reference="Production").value}
    )
    with pytest.raises(SpecError, match=r"^ppo.report: found no JSON"):
        fetch_seal(reference)


def test_a_registry_that_cannot_be_asked_is_told(key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow.set_registry_uri("http://127.0.0.1:9")
    with pytest.raises(RegistryError, match=r"^ppo-aapl/Production: no verdict fetched: .*: look whether the tracking"):
        fetch_seal(Reference.parse("ppo-aapl", "Production"))
