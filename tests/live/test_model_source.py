"""Models come from a real registry: resolved, downloaded, verified, judged and replayed before they may act."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
import yaml
from mlflow import MlflowClient

import mlflow_ppo_flavor as ppo
from live.identity import installed_trader
from live.model_source import LoadedModel, ModelSource, RefusedModel
from live.verification import Terms
from mlflow_ppo_flavor.contract.digest import file_sha256
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.errors import ObservationError, RegistryError, SpecError
from mlflow_ppo_flavor.model.storage import GOLDEN
from tests.live.trading import MODEL, SPEC, SYMBOL, TERMS, Registry, always, golden_of, lively, source_of
from tests.model.policies import policy_of


def loaded(source: ModelSource, version: int) -> LoadedModel:
    found = source.load(version)
    assert isinstance(found, LoadedModel)
    return found


def refused(source: ModelSource, version: int) -> str:
    found = source.load(version)
    assert isinstance(found, RefusedModel)
    return found.message


def resolved(source: ModelSource) -> int | None:
    found = source.resolve()
    return None if found is None else found.version


@pytest.mark.parametrize("label", ["Production", "Staging", "@champion"])
def test_a_reference_is_followed(label: str, registry: Registry) -> None:
    source = source_of(label)
    assert source.resolve() is None
    first, second = registry.log(always(0)), registry.log(always(1))
    assert source.resolve() is None
    for version in (first, second):
        registry.promote(version, label)
        assert resolved(source) == version
    registry.empty(label)
    assert source.resolve() is None


def test_a_model_is_loaded_with_its_contract_and_acts_as_it_was_trained(registry: Registry) -> None:
    policy = lively()
    version = registry.log(policy)
    model = loaded(source_of(), version)
    assert (model.version, model.spec, model.bars, model.verdict.findings) == (version, SPEC, SPEC.bars, ())
    assert model.digest == MlflowClient().get_model_version(MODEL, str(version)).tags["ppo.digest"]
    random = np.random.default_rng(0)
    for _ in range(20):
        observation = random.standard_normal(SPEC.obs_dim, dtype=np.float32)
        with torch.no_grad():
            logits, value = policy(torch.from_numpy(observation)[None])
        choice = model.choose(observation)
        assert choice.action == int(logits.argmax())
        assert choice.value == pytest.approx(float(value))
        assert choice.probability == pytest.approx(float(logits.softmax(-1).max()))
    with pytest.raises(ObservationError, match="expected finite numbers"):
        model.choose(np.full(SPEC.obs_dim, np.nan, np.float32))


def test_an_unproven_model_is_a_warning_on_paper_and_refused_with_real_money(registry: Registry) -> None:
    info = ppo.log_model(always(0), name="policy", registered_model_name=MODEL)
    version = int(info.registered_model_version)
    assert [finding.code for finding in loaded(source_of(), version).verdict.findings] == ["unproven"]
    message = refused(source_of(paper=False), version)
    assert message == (
        f"{MODEL}/Production version {version}: refused, 1 finding(s)\n"
        "  [safety] golden: found no golden decisions, real money needs proof: "
        "record golden decisions with the code that trained it"
    )


def test_version_findings_are_soft_unless_strict(registry: Registry) -> None:
    spec = replace(SPEC, requires_trader=">=2.8.0")
    version = registry.log(policy_of(spec), golden_of(policy_of(spec)))
    soft = loaded(source_of(terms=replace(TERMS, strict=False)), version)
    assert [finding.kind for finding in soft.verdict.findings] == ["version"]
    message = refused(source_of(), version)
    assert "[version] requires_trader: found trader 2.7.0, model 2.7.0 requires trader >=2.8.0" in message


def test_a_feature_that_this_trader_does_not_compute_is_refused(registry: Registry) -> None:
    spec = replace(SPEC, features=("return_1@9", *SPEC.features[1:]))
    info = ppo.log_model(policy_of(spec), name="policy", registered_model_name=MODEL)
    message = refused(source_of(terms=replace(TERMS, strict=False)), int(info.registered_model_version))
    assert "[safety] features[0]: found return_1@9, this trader computes return_1@1: upgrade the trader" in message


def test_an_earlier_trader_is_refused_what_only_the_installed_one_computes(registry: Registry) -> None:
    version = registry.log(lively())
    earlier = installed_trader("live-1", paper=True, as_trader="2.6.0")
    source = ModelSource(Reference.parse(MODEL, "Production"), earlier, replace(TERMS, strict=False))
    message = refused(source, version)
    assert "[version] requires_trader: found trader 2.6.0, model 2.7.0 requires trader >=2.7.0" in message
    assert "[safety] features[7]: found position_size@1, this trader doesn't compute position_size" in message


@pytest.mark.parametrize(("flag", "value"), [("timeframe", "1Min"), ("adjustment", "raw")])
def test_a_flag_that_differs_from_the_spec_is_refused(flag: str, value: str, registry: Registry) -> None:
    version = registry.log(lively())
    trained = getattr(SPEC.bars, flag)
    message = refused(source_of(terms=replace(TERMS, **{flag: value})), version)
    assert f"[safety] bars.{flag}: found {value}, the model was trained on {trained}" in message
    assert isinstance(source_of(terms=replace(TERMS, **{flag: trained})).load(version), LoadedModel)


def test_a_spec_without_bars_takes_them_from_both_flags(registry: Registry) -> None:
    spec = replace(SPEC, bars=None, symbols=())
    info = ppo.log_model(policy_of(spec), name="policy", registered_model_name=MODEL)
    version = int(info.registered_model_version)
    message = refused(source_of(terms=replace(TERMS, timeframe="1Day")), version)
    assert "[safety] bars: found neither, expected a timeframe and an adjustment from the spec or" in message
    model = loaded(source_of(terms=replace(TERMS, timeframe="1Min", adjustment="raw")), version)
    assert (model.bars.timeframe, model.bars.adjustment) == ("1Min", "raw")


def test_another_symbol_is_a_warning(registry: Registry) -> None:
    terms = Terms(True, None, None, (SYMBOL, "AAPL"))
    findings = loaded(source_of(terms=terms), registry.log(lively())).verdict.findings
    assert [finding.message for finding in findings] == [
        "symbols: found AAPL, the model was trained on MEANREV: check that this is wanted"
    ]


def _weights(folder: Path, other: Path) -> str:
    shutil.copy(other / "policy.safetensors", folder / "policy.safetensors")
    return "policy.safetensors: found sha256"


def _program(folder: Path, other: Path) -> str:
    (folder / "code").mkdir()
    return "found a file that MLmodel doesn't list, expected no code there"


def _mlmodel(folder: Path, other: Path) -> str:
    for name in ("MLmodel", "policy.safetensors", GOLDEN):
        shutil.copy(other / name, folder / name)
    return "as the registry read it at registration: the model was changed since, don't trade it"


@pytest.mark.parametrize("tamper", [_weights, _program, _mlmodel])
def test_a_model_that_was_changed_since_is_refused(
    tamper: Callable[[Path, Path], str], registry: Registry, tmp_path: Path
) -> None:
    """The last one replaces the whole model by another one that is sound in itself."""
    folders = [tmp_path / "one", tmp_path / "other"]
    for seed, folder in enumerate(folders):
        ppo.save_model(lively(seed), folder, golden=golden_of(lively(seed)))
    client = MlflowClient()
    client.create_registered_model(MODEL)
    version = int(client.create_model_version(MODEL, str(folders[0])).version)
    assert isinstance(source_of().load(version), LoadedModel)
    expected = tamper(*folders)
    message = refused(source_of(), version)
    assert "[safety] model: found" in message
    assert expected in message


def test_golden_decisions_that_are_not_reproduced_are_refused(registry: Registry, tmp_path: Path) -> None:
    """A model that is sound file by file, and whose proof is another policy's."""
    folders = [tmp_path / "one", tmp_path / "other"]
    for seed, folder in enumerate(folders):
        ppo.save_model(lively(seed), folder, golden=golden_of(lively(seed)))
    shutil.copy(folders[1] / GOLDEN, folders[0] / GOLDEN)
    mlmodel = folders[0] / "MLmodel"
    content = yaml.safe_load(mlmodel.read_text())
    content["flavors"]["ppo"]["files"][GOLDEN] = file_sha256(folders[0] / GOLDEN)
    mlmodel.write_text(yaml.safe_dump(content))
    client = MlflowClient()
    client.create_registered_model(MODEL)
    version = int(client.create_model_version(MODEL, str(folders[0])).version)
    assert "[safety] golden.logit of " in refused(source_of(), version)


@pytest.mark.parametrize("label", ["Production", "@champion"])
def test_a_registry_that_cannot_be_asked_says_nothing_about_the_reference(label: str, registry: Registry) -> None:
    version = registry.log(lively())
    registry.promote(version, label)
    source = source_of(label)
    with registry.unreachable():
        with pytest.raises(RegistryError, match=f"^{source.reference}: .*: check the tracking URI and the server"):
            source.resolve()
        with pytest.raises(RegistryError, match=f"^{source.reference} version {version}: can't be downloaded: "):
            source.load(version)
    assert resolved(source) == version
    assert isinstance(source.load(version), LoadedModel)


def test_artifacts_that_are_gone_are_no_refusal(registry: Registry, tmp_path: Path) -> None:
    version = registry.log(lively())
    shutil.rmtree(tmp_path / "artifacts")
    with pytest.raises(RegistryError, match="can't be downloaded"):
        source_of().load(version)


def test_no_copy_is_left_behind(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = registry.log(lively())
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    model = loaded(source_of(), version)
    assert list(scratch.iterdir()) == []
    model.choose(np.zeros(SPEC.obs_dim, np.float32))


def test_the_installed_trader_computes_all_that_is_released() -> None:
    trader = installed_trader("live-1", paper=True)
    assert trader.version == ppo.CURRENT_TRADER_VERSION
    assert set(trader.features) >= {feature for spec in ppo.MODEL_SPECS.values() for feature in spec.features}
    earlier = installed_trader("live-1", paper=True, as_trader="2.3.0")
    assert earlier.features == ppo.MODEL_SPECS["2.3.0"].features


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"as_trader": "2.8.0"}, "as_trader: found 2.8.0, expected at most 2.7.0, which is installed"),
        ({"as_trader": "old"}, "as_trader: found 'old', expected a version such as 2.7.0"),
        ({"as_trader": "2.6.0", "paper": False}, "as_trader: found 2.6.0, expected none with real money"),
        ({"trader_id": "a trader"}, "trader_id: found 'a trader', expected an id of letters"),
    ],
)
def test_a_trader_that_cannot_be_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        installed_trader(**{"trader_id": "live-1", "paper": True, **options})


def test_the_registry_stays_as_it_was(registry: Registry) -> None:
    """Looking changes nothing: no run, no tag."""
    version = registry.log(lively())
    before = MlflowClient().get_model_version(MODEL, str(version)).tags, len(mlflow.search_runs())
    source_of().load(version)
    assert (MlflowClient().get_model_version(MODEL, str(version)).tags, len(mlflow.search_runs())) == before
