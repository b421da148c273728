"""attest: what is said of a version that was reproduced, and that nothing else can be said."""

import json
import re
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

import mlflow_ppo_flavor as ppo
from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.contract.trader import Attestation
from mlflow_ppo_flavor.errors import IntegrityError, PromotionRefused, RegistryError, SpecError
from mlflow_ppo_flavor.model.replay import reproduce
from mlflow_ppo_flavor.model.reproduction import Reproduction
from tests.model.policies import SPEC, policy_of, small_golden, small_policy

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
UNGUARDED = pytest.mark.filterwarnings("ignore:.*the registry kept the attestation")


@cache
def passed() -> Reproduction:
    """A replay of the small golden decisions that passed, as if of the model with this digest."""
    return replace(reproduce(small_golden(), small_policy(), SPEC), digest="d" * 64)


def logged(*, proven: bool = True) -> int:
    """The version of a model that was just logged."""
    golden = small_golden() if proven else None
    info = ppo.log_model(small_policy(), name="policy", golden=golden, registered_model_name="m")
    return int(info.registered_model_version)


def replayed(version: int, folder: Path) -> Reproduction | None:
    """The replay of a copy of a registered version."""
    folder.mkdir()
    return ppo.verify_model(mlflow.artifacts.download_artifacts(f"models:/m/{version}", dst_path=str(folder)))


@UNGUARDED
@pytest.mark.usefixtures("registry")
def test_it_sets_the_versions_tag_to_the_attestations_canonical_json() -> None:
    version = logged()
    told = ppo.attest("m", version, passed(), trader_id="live-1", trader_version="2.6.0", clock=lambda: NOON)
    value = MlflowClient().get_model_version("m", str(version)).tags["ppo.attest"]
    assert value == canonical_json(told.to_dict()).decode()
    assert Attestation.from_dict(json.loads(value)) == told
    assert (told.trader_id, told.trader_version, told.digest) == ("live-1", "2.6.0", "d" * 64)
    assert told.attested_at == "2026-01-31T12:00:00+00:00"
    assert told.packages["mlflow"] == mlflow.__version__
    assert {"mlflow-ppo-flavor", "numpy", "numba", "torch"} <= told.packages.keys()


@pytest.mark.usefixtures("registry")
def test_a_registry_without_the_gate_is_warned_of() -> None:
    version = logged()
    message = r"^m version 1: the registry kept the attestation as a plain tag, expected its gate to read it: "
    with pytest.warns(UserWarning, match=message + r"start the server with .*, or nobody counts it$"):
        ppo.attest("m", version, passed(), trader_id="live-1")


def test_the_gate_counts_what_was_reproduced_and_refuses_anything_else(registry: str, tmp_path: Path) -> None:
    mlflow.set_registry_uri(f"ppo:{registry}")
    first, second = logged(), logged(proven=False)
    found = replayed(first, tmp_path / "copy")
    assert found is not None
    assert (found.reproduced, found.digest) == (
        True,
        MlflowClient().get_model_version("m", str(first)).tags["ppo.digest"],
    )
    ppo.attest("m", first, found, trader_id="live-1")
    ppo.attest("m", first, found, trader_id="live-2")
    tags = MlflowClient().get_model_version("m", str(first)).tags
    assert tags["ppo.proof"] == "golden decisions recorded, attested by 2 traders"
    assert "ppo.attest" not in tags
    with pytest.raises(PromotionRefused, match=r"^Refused: live-1 can't attest m version 1: digest ddd") as refusal:
        ppo.attest("m", first, passed(), trader_id="live-1")
    assert [finding["code"] for finding in refusal.value.findings] == ["digest"]
    with pytest.raises(PromotionRefused, match=r"^Refused: live-1 can't attest m version 2: no golden decisions"):
        ppo.attest("m", second, found, trader_id="live-1")
    with pytest.raises(RegistryError, match=r"^m version 9: not attested: Model Version .* not found"):
        ppo.attest("m", 9, found, trader_id="live-1")


def test_a_model_without_golden_decisions_has_no_replay_and_one_that_was_altered_is_refused(tmp_path: Path) -> None:
    ppo.save_model(small_policy(), tmp_path / "unproven")
    assert ppo.verify_model(tmp_path / "unproven") is None
    ppo.save_model(small_policy(), tmp_path / "proven", golden=small_golden())
    assert ppo.verify_model(tmp_path / "proven").reproduced
    (tmp_path / "proven" / "policy.safetensors").write_bytes(b"")
    with pytest.raises(IntegrityError, match=r"policy\.safetensors: found sha256"):
        ppo.verify_model(tmp_path / "proven")


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(
    ("reproduction", "found"),
    [
        (replace(reproduce(small_golden(), policy_of(SPEC, 9), SPEC), digest="d" * 64), "one that differs in logits"),
        (reproduce(small_golden(), small_policy(), SPEC), "one of no stored model"),
        (None, "None"),
        ("d" * 64, f"'{'d' * 64}'"),
    ],
)
def test_only_a_passed_replay_of_a_stored_model_can_be_attested(reproduction: Reproduction, found: str) -> None:
    version = logged()
    message = (
        f"reproduction: found {found}, expected a Reproduction that passed every stage: "
        "replay a copy of the version with verify_model"
    )
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        ppo.attest("m", version, reproduction, trader_id="live-1")
    assert "ppo.attest" not in MlflowClient().get_model_version("m", str(version)).tags


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trader_id": "a b"}, r"^trader_id: found 'a b', expected a trader id"),
        ({"trader_version": "9.0.0"}, r"^trader_version: found 9.0.0, expected at most 2.7.0, which is installed"),
        ({"trader_version": "new"}, r"^trader_version: found 'new', expected a version"),
    ],
)
def test_a_trader_that_cannot_be_is_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        ppo.attest("m", 1, passed(), **{"trader_id": "t", **options})


@pytest.mark.usefixtures("registry")
def test_a_registry_that_cannot_be_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow.set_registry_uri(f"http://127.0.0.1:{port}")
    with pytest.raises(RegistryError, match=r"^m version 1: not attested: .*: look whether the tracking and registry"):
        ppo.attest("m", 1, passed(), trader_id="t")


def test_a_reproduction_is_read_without_torch() -> None:
    code = (
        "import sys, mlflow_ppo_flavor.model.reproduction; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
