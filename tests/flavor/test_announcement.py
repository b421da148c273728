"""announce_trader: what is said, where it goes, and how the registry's answers come back."""

import json
import socket
import subprocess
import sys
from datetime import UTC, datetime

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import RestException

import mlflow_ppo_flavor as ppo
from mlflow_ppo_flavor.announcement import answering
from mlflow_ppo_flavor.cli import connection
from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.contract.releases import features_of_trader
from mlflow_ppo_flavor.contract.trader import Announcement
from mlflow_ppo_flavor.errors import PromotionRefused, RegistryError, SpecError
from tests.model.policies import policy_of

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
UNGUARDED = pytest.mark.filterwarnings("ignore:.*the registry kept the announcement")


def stored(model: str) -> str:
    return MlflowClient().get_registered_model(model).tags["ppo.announce"]


@UNGUARDED
@pytest.mark.usefixtures("registry")
def test_it_sets_the_tag_to_the_announcements_canonical_json() -> None:
    announcement = ppo.announce_trader(
        "ppo-aapl", trader_id="live-1", trader_version="2.6.0", reference="production", paper=True, clock=lambda: NOON
    )
    assert stored("ppo-aapl") == canonical_json(announcement.to_dict()).decode()
    assert Announcement.from_dict(json.loads(stored("ppo-aapl"))) == announcement
    assert announcement.trader == ppo.Trader.released("2.6.0", trader_id="live-1", paper=True)
    assert str(announcement.reference) == "ppo-aapl/Production"
    assert announcement.announced_at == "2026-01-31T12:00:00+00:00"
    assert announcement.packages["mlflow"] == mlflow.__version__
    assert len(stored("ppo-aapl")) < 5_000


@UNGUARDED
@pytest.mark.usefixtures("registry")
def test_a_lower_version_lowers_the_features_and_none_raises_them() -> None:
    for version in ("2.3.0", "2.6.0", "2.7.0"):
        announcement = ppo.announce_trader("m", trader_id="t", trader_version=version, reference="@champion")
        assert announcement.trader.features == features_of_trader(version)
    assert ppo.announce_trader("m", trader_id="t", reference="Staging").trader.version == ppo.CURRENT_TRADER_VERSION
    with pytest.raises(
        SpecError, match=r"^trader_version: found 9.0.0, expected at most 2.7.0, which is installed: upgrade"
    ):
        ppo.announce_trader("m", trader_id="t", trader_version="9.0.0", reference="Production")


@UNGUARDED
@pytest.mark.usefixtures("registry")
def test_the_model_is_created_where_it_is_not_there_and_kept_where_it_is() -> None:
    MlflowClient().create_registered_model("there", description="mine")
    for model in ("there", "new"):
        ppo.announce_trader(model, trader_id="t", reference="Production")
    assert MlflowClient().get_registered_model("there").description == "mine"
    assert [model.name for model in MlflowClient().search_registered_models()] == ["new", "there"]


@pytest.mark.usefixtures("registry")
def test_a_registry_without_the_gate_is_warned_of() -> None:
    message = (
        r"^ppo-aapl/Production: the registry kept the announcement as a plain tag, expected its gate to read it: start"
    )
    with pytest.warns(UserWarning, match=message):
        ppo.announce_trader("ppo-aapl", trader_id="t", reference="Production")


def test_the_gates_refusal_comes_back_with_its_findings(registry: str) -> None:
    mlflow.set_registry_uri(f"ppo:{registry}")
    spec = ppo.MODEL_SPECS["2.7.0"].for_bars(timeframe="1Day", adjustment="all")
    ppo.log_model(policy_of(spec, hidden_dims=(2,)), name="policy", registered_model_name="ppo-aapl")
    ppo.announce_trader("ppo-aapl", trader_id="new", reference="@champion")
    MlflowClient().set_registered_model_alias("ppo-aapl", "champion", "1")
    with pytest.raises(PromotionRefused, match=r"trader old .2.6.0. can't serve ppo-aapl@champion") as refusal:
        ppo.announce_trader("ppo-aapl", trader_id="old", trader_version="2.6.0", reference="@champion")
    codes = [finding["code"] for finding in refusal.value.findings]
    assert codes[:4] == ["trader_version", "feature", "feature", "feature"]


def test_a_refusal_through_a_server_reads_the_same() -> None:
    finding = {"code": "feature", "kind": "safety"}
    answer = {"error_code": "RESOURCE_CONFLICT", "message": "Refused: no", "findings": [finding]}
    with pytest.raises(PromotionRefused, match=r"^Refused: no$") as refusal, answering("asked"):
        raise RestException(answer)
    assert refusal.value.findings == (finding,)


def test_any_other_answer_is_told_in_bounded_length() -> None:
    with pytest.raises(RegistryError) as told, answering("m/Production: not announced", "look"):
        raise RestException({"error_code": "INTERNAL_ERROR", "message": "x" * 10_000})
    assert str(told.value) == f"m/Production: not announced: {'x' * 400}…: look"
    with pytest.raises(RegistryError, match=r"^registry: no$"), connection.answering():
        raise RestException({"error_code": "INTERNAL_ERROR", "message": "no"})


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": "latest"}, r"^reference.reference: found 'latest', expected Production, Staging or @alias"),
        ({"reference": "@v1"}, r"^reference.reference: found '@v1', expected an alias that MLflow allows"),
        ({"trader_id": "a b"}, r"^trader.trader_id: found 'a b', expected an id"),
        ({"trader_version": "new"}, r"^trader_version: found 'new', expected a version"),
        ({"model": "a/b"}, r"^reference.model: found 'a/b', expected a model name"),
    ],
)
def test_what_cannot_be_announced_is_refused_and_not_sent(options: dict[str, str], message: str) -> None:
    said = {"model": "m", "trader_id": "t", "reference": "Production"} | options
    with pytest.raises(SpecError, match=message):
        ppo.announce_trader(said.pop("model"), **said)
    assert MlflowClient().search_registered_models() == []


@pytest.mark.usefixtures("registry")
def test_a_registry_that_cannot_be_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow.set_registry_uri(f"http://127.0.0.1:{port}")
    with pytest.raises(
        RegistryError, match=r"^m/Production: not announced: .*: look whether the tracking and registry URI"
    ):
        ppo.announce_trader("m", trader_id="t", reference="Production")


def test_announcing_needs_no_torch() -> None:
    code = "import sys, mlflow_ppo_flavor.announcement; sys.exit('torch' in sys.modules or 'numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
