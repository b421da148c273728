"""Models for the registry's tests: folders with an MLmodel written by hand, since the registry reads nothing else."""

from pathlib import Path
from typing import Any

import yaml

from mlflow_ppo_flavor.contract.digest import canonical_json, sha256_hex
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.contract.trader import Announcement, Attestation, Trader
from mlflow_ppo_flavor.contract.vouch import Vouch
from mlflow_ppo_flavor.registry.contracts import GOLDEN_FILE, LOADER_MODULE

ANNOUNCED_AT = "2026-01-31T14:30:00+00:00"
VOUCH = Vouch("trained by the old trainer", "Ann", ANNOUNCED_AT)


def trained(version: str) -> ModelSpec:
    """A released spec with its bars filled, as training leaves it."""
    return MODEL_SPECS[version].for_bars(timeframe="1Day", adjustment="all", symbols=("AAPL",))


def ppo_flavors(spec: ModelSpec, *, golden: bool = True, vouch: Vouch | None = None) -> dict[str, Any]:
    """MLmodel's `flavors` of a model with this spec."""
    files = {"policy.safetensors": sha256_hex(spec.version.encode()), "spec.json": sha256_hex(b"spec")}
    if golden:
        files[GOLDEN_FILE] = sha256_hex(b"golden")
    vouched = {} if vouch is None else {"vouched": vouch.to_dict()}
    ppo = {"format": 1, "spec": spec.to_dict(), "architecture": {"kind": "actor-critic"}, "files": files, **vouched}
    return {
        "ppo": ppo,
        "python_function": {"loader_module": LOADER_MODULE, "python_version": "3.11.0"},
    }


SKLEARN_FLAVORS: dict[str, Any] = {
    "sklearn": {"sklearn_version": "1.9.1"},
    "python_function": {"loader_module": "mlflow.sklearn"},
}


def write_mlmodel(folder: Path, flavors: dict[str, Any]) -> Path:
    """A model folder with an MLmodel of these flavors."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"flavors": flavors, "mlflow_version": "3.17.2", "model_uuid": folder.name}
    (folder / "MLmodel").write_text(yaml.safe_dump(document), encoding="utf-8")
    return folder


def announcement(
    model: str, label: str = "Production", trader_id: str = "live-1", version: str = "2.7.0", *, paper: bool = True
) -> Announcement:
    """A trader of a released version saying which reference it loads."""
    trader = Trader.released(version, trader_id=trader_id, paper=paper)
    return Announcement(trader, Reference.parse(model, label), ANNOUNCED_AT)


def attestation(digest: str, trader_id: str = "live-1", version: str = "2.7.0") -> Attestation:
    """A trader saying that it reproduced the model with this digest."""
    return Attestation(trader_id, version, digest, ANNOUNCED_AT, {"numpy": "2.4.6"})


def announce_value(told: Announcement) -> str:
    """The value of the tag `ppo.announce`."""
    return canonical_json(told.to_dict()).decode("utf-8")
