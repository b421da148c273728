"""Models that the real flavor logged, traders that the real client announced: what the gate reads of them is theirs."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking import MlflowClient

import mlflow_ppo_flavor as ppo
from mlflow_ppo_flavor.contract.digest import model_digest
from mlflow_ppo_flavor.registry.contracts import parse_mlmodel
from mlflow_ppo_flavor.registry.fleet import parse_fleet_tag
from tests.mlflow_state import pointed_at
from tests.registry.model_folders import trained
from tests.server.servers import Server

pytestmark = [pytest.mark.server, pytest.mark.filterwarnings("ignore:.*stages.*:FutureWarning")]
NAME = "ppo-real"


@pytest.fixture
def client(server: Server) -> Iterator[MlflowClient]:
    """MLflow pointed at the guarded server."""
    with pointed_at(server.url):
        yield MlflowClient()


def test_from_logging_to_a_refusal_and_a_promotion(client: MlflowClient, tmp_path: Path) -> None:
    for version in ("2.6.0", "2.7.0"):
        policy = ppo.ActorCritic(trained(version), hidden_dims=(4,))
        ppo.log_model(policy, name="policy", registered_model_name=NAME)
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{NAME}/2", dst_path=str(tmp_path)))
    contract = parse_mlmodel((folder / "MLmodel").read_bytes())
    assert contract.spec == trained("2.7.0")
    flavors = mlflow.models.Model.load(str(folder / "MLmodel")).flavors
    tags = client.get_model_version(NAME, "2").tags
    assert tags["ppo.digest"] == contract.digest == model_digest(flavors)
    assert tags["ppo.proof"] == "unproven: no golden decisions"

    told = ppo.announce_trader(NAME, trader_id="live-1", trader_version="2.6.0", reference="Production", paper=True)
    shown = parse_fleet_tag(NAME, client.get_registered_model(NAME).tags["ppo.fleet"])
    assert shown == (replace(told, packages={}),)
    client.transition_model_version_stage(NAME, "1", "Production")
    with pytest.raises(mlflow.MlflowException, match=r"trader live-1 \(2\.6\.0\) can't run it"):
        client.transition_model_version_stage(NAME, "2", "Production")
    with pytest.raises(ppo.PromotionRefused, match="no golden decisions"):
        ppo.announce_trader(NAME, trader_id="cash-1", reference="Production", paper=False)
    ppo.announce_trader(NAME, trader_id="live-1", reference="Production", paper=True)
    client.transition_model_version_stage(NAME, "2", "Production")
    assert ppo.load_model(f"models:/{NAME}/Production").spec == trained("2.7.0")
