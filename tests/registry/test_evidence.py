"""What a policy asks for beside the contract, gathered from real stores: metrics, tags, attestations, the mode."""

from collections.abc import Callable, Iterator
from typing import Any

import mlflow
import pytest
from mlflow.entities.model_registry import ModelVersionTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy import event

from mlflow_ppo_flavor.registry.store import GuardMixin
from tests.registry.model_folders import announcement, attestation
from tests.registry.operating import Folders, announce, attest, digest_of, promote, refused, register, resolved

Policed = Callable[[dict[str, Any]], GuardMixin]


def codes(error: MlflowException) -> list[str]:
    return [finding["code"] for finding in error.json_kwargs["findings"] if finding["kind"] != "warning"]


@pytest.fixture
def metric_runs(policed: Policed, folders: Folders) -> Iterator[GuardMixin]:
    """Versions of a run that logged a good value, one that logged a bad one, no run, and a run that is nowhere."""
    store = policed({"references": {"Production": {"metrics": {"sharpe": ">=0.5"}}}})
    client = MlflowClient(tracking_uri=str(store.engine.url))
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(str(store.engine.url))
    store.create_registered_model("m")
    for value in (0.7, 0.3):
        run = client.create_run("0").info.run_id
        client.log_metric(run, "sharpe", 9.0, step=0)
        client.log_metric(run, "sharpe", value, step=1)
        store.create_model_version("m", folders["2.7.0"], run_id=run)
    store.create_model_version("m", folders["2.7.0"])
    store.create_model_version("m", folders["2.7.0"], run_id="0" * 32)
    yield store
    mlflow.set_tracking_uri(before)


def test_a_metric_is_the_last_value_that_the_versions_run_logged(metric_runs: GuardMixin) -> None:
    told = [refused(lambda v=version: promote(metric_runs, v)) for version in (2, 3, 4)]
    assert [codes(error) for error in told] == [["metric"]] * 3
    assert "sharpe 0.3: the policy asks for >=0.5" in told[0].message[:150]
    assert "no metric sharpe" in told[1].message[:150]
    promote(metric_runs, 1)
    assert resolved(metric_runs, "Production") == 1
    promote(metric_runs, 2, "Staging")


def test_required_tags_are_the_versions_own(policed: Policed, folders: Folders) -> None:
    store = policed({"references": {"Production": {"required_tags": {"reviewed": "yes"}}}})
    register(store, folders, "2.7.0")
    assert codes(refused(lambda: promote(store, 1))) == ["tag"]
    store.set_model_version_tag("m", 1, ModelVersionTag("reviewed", "no"))
    assert codes(refused(lambda: promote(store, 1))) == ["tag"]
    store.set_model_version_tag("m", 1, ModelVersionTag("reviewed", "yes"))
    promote(store, 1)


def test_an_attestation_by_each_announced_trader_version(policed: Policed, folders: Folders) -> None:
    store = policed({"require_attestation": True})
    register(store, folders, "2.6.0", "2.6.0")
    announce(store, announcement("m", version="2.6.0"))
    announce(store, announcement("m", trader_id="live-2"))
    attest(store, 2, attestation(digest_of(store, 2), version="2.6.0"))
    attest(store, 1, attestation(digest_of(store, 1), version="2.6.0"))
    assert codes(refused(lambda: promote(store, 1))) == ["attestation"]
    attest(store, 1, attestation(digest_of(store, 1), "live-2"))
    promote(store, 1)
    assert resolved(store, "Production") == 1


def test_staging_warns_until_a_trader_announces_for_it(policed: Policed, folders: Folders) -> None:
    store = policed({"default_traders": ["2.6.0"], "references": {"Staging": {"default_traders": ["2.7.0"]}}})
    register(store, folders, "2.7.0", "sklearn")
    refused(lambda: promote(store, 1))
    promote(store, 1, "Staging")
    assert codes(refused(lambda: promote(store, 2, "Staging"))) == ["no_contract"]


def test_a_model_that_the_policy_names_is_guarded(policed: Policed, folders: Folders) -> None:
    store = policed({"references": {"m/Production": {"mode": "block"}}})
    for model in ("m", "n"):
        register(store, folders, "sklearn", model=model)
    assert codes(refused(lambda: promote(store, 1))) == ["no_contract"]
    store.transition_model_version_stage("n", 1, "Production", False)


def test_protected_aliases_are_guarded_in_guarded_models(policed: Policed, folders: Folders) -> None:
    store = policed({"protected_aliases": ["champion"], "default_traders": ["2.6.0"]})
    register(store, folders, "2.7.0")
    refused(lambda: store.set_registered_model_alias("m", "champion", 1))
    store.set_registered_model_alias("m", "canary", 1)


def test_what_the_policy_does_not_ask_for_costs_no_query(policed: Policed, folders: Folders) -> None:
    def statements(policy: dict[str, Any], model: str) -> int:
        store, seen = policed(policy), []
        register(store, folders, "2.7.0", model=model)
        announce(store, announcement(model))

        def count(*told: Any) -> None:
            seen.append(told[2])

        event.listen(store.engine, "before_cursor_execute", count)
        try:
            store.transition_model_version_stage(model, 1, "Production", False)
        except MlflowException:
            store.transition_model_version_stage(model, 1, "None", False)
        event.remove(store.engine, "before_cursor_execute", count)
        return len(seen)

    # MLflow's own eight, the lock, what stands, the candidate, then verdict, tag, description and history
    assert statements({}, "a") == 15
    assert statements({"references": {"Staging": {"approvals": 1}}}, "b") == 15
    assert statements({"required_tags": ["x"]}, "c") > 15
