"""Own packages: found by their metadata, required by specs, told by traders; their specs beside the released ones."""

import json
from dataclasses import replace

import pytest
from packaging.specifiers import SpecifierSet

import mlflow_ppo_flavor as ppo
from mlflow_ppo_flavor.contract.compatibility import Verdict, judge
from mlflow_ppo_flavor.contract.packages import own_packages
from mlflow_ppo_flavor.contract.releases import MODEL_SPECS, known_specs, spec_faults, spec_named
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.contract.trader import Trader
from mlflow_ppo_flavor.errors import SpecError
from tests.own_packages import ACME, Install, Package

PLACE = "mlflow_ppo_flavor.specs.acme"
SPEC = MODEL_SPECS["2.7.0"].for_bars(timeframe="1Day", adjustment="all")


def test_without_own_packages_the_released_specs_are_known() -> None:
    assert dict(own_packages()) == {}
    assert list(known_specs().items()) == [(("ppo", version), spec) for version, spec in MODEL_SPECS.items()]


def test_own_specs_are_known_beside_the_released_ones(install: Install) -> None:
    install(Package())
    assert dict(own_packages()) == {"acme-features": "1.2.0"}
    assert list(known_specs())[len(MODEL_SPECS) :] == [("acme", "1.0.0")]
    spec = spec_named("acme:1.0.0")
    assert (spec.family, spec.version, spec.label, spec.window) == ("acme", "1.0.0", "acme 1.0.0", 4)
    assert spec.market_features == ("acme/spread@1", "cci_20@1", "acme/weekend@1", "return_1@1")
    assert spec_named("2.7.0") is spec_named("ppo:2.7.0") is MODEL_SPECS["2.7.0"]
    assert "acme" not in {spec.family for spec in MODEL_SPECS.values()}


@pytest.mark.parametrize("name", ["0.1.0", "acme:2.0.0", "acme", "ppo:1", ""])
def test_an_unknown_spec_is_refused_with_those_that_are_known(install: Install, name: str) -> None:
    install(Package())
    with pytest.raises(SpecError) as refused:
        spec_named(name, "--spec-version")
    expected = ", ".join([*MODEL_SPECS, "acme:1.0.0"])
    assert str(refused.value) == f"--spec-version: found {name!r}, expected one of {expected}"


@pytest.mark.parametrize(
    ("package", "told"),
    [
        (
            Package(source="1 / 0"),
            "found ZeroDivisionError: division by zero, expected acme_of_tests:SPECS to be impor",
        ),
        (Package(source="SPECS = {}"), "found {}, expected a list of ModelSpec, not empty"),
        (Package(source="SPECS = ['2.7.0']"), "[0]: found '2.7.0', expected a ModelSpec"),
        (Package(source=ACME.replace('family="acme"', 'family="zed"')), "[0].family: found zed, expected acme, as the"),
        (Package(source=ACME + "SPECS *= 2"), "[1]: found 1.0.0 a second time, expected each once"),
        (Package(source=ACME.replace("window=4", "window=0")), "found SpecError: window: found 0, expected a whole"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else None,
)
def test_broken_specs_are_told_when_they_are_asked_for(install: Install, package: Package, told: str) -> None:
    install(replace(package, features={}))
    assert list(known_specs()) == [("ppo", version) for version in MODEL_SPECS]
    (fault,) = spec_faults()
    separator = "" if told.startswith("[") else ": "
    assert fault.message.startswith(f"acme-features 1.2.0: {PLACE}{separator}{told}")
    with pytest.raises(SpecError, match=r"expected one of 2\.3\.0, .*\d: acme-features 1\.2\.0: "):
        spec_named("acme:1.0.0")


def test_the_released_family_is_nobodys_own(install: Install) -> None:
    install(Package(specs={"ppo": "SPECS"}))
    (fault,) = spec_faults()
    expected = "found the family ppo, which is built in, expected a family of its own, such as acme"
    assert fault.message == f"acme-features 1.2.0: mlflow_ppo_flavor.specs.ppo: {expected}"
    assert spec_named("2.7.0") is MODEL_SPECS["2.7.0"]


def test_a_name_too_long_for_a_lock_brings_nothing(install: Install) -> None:
    install(Package(features={}, specs={"a" * 101: "SPECS"}))
    (fault,) = spec_faults()
    expected = "mlflow_ppo_flavor.specs: found a name of 101 characters, expected at most 100"
    assert fault.message == f"acme-features 1.2.0: {expected}"


def requiring(text: str) -> ModelSpec:
    return replace(SPEC, requires_trader=text)


def test_a_requirement_names_trader_versions_then_packages() -> None:
    spec = requiring(">=2.4.0,<3; Acme_Features >=1.2,<2 ;beta")
    assert spec.requires_trader == ">=2.4.0,<3; Acme_Features >=1.2,<2 ;beta"
    assert spec.trader_specifier == SpecifierSet(">=2.4.0,<3")
    assert [(each.name, str(each.specifier)) for each in spec.package_requirements] == [
        ("Acme_Features", "<2,>=1.2"),
        ("beta", ""),
    ]
    assert spec.min_trader_version == "2.4.0"
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert spec.fingerprint == SPEC.fingerprint
    assert SPEC.package_requirements == ()


PEP508 = "expected a package such as acme-features>=1.2 (PEP 508) after each ;"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("acme-features>=1", "found 'acme-features>=1', expected a specifier set such as >=2.7.0 (PEP 440)"),
        ("; acme>=1", "found '', expected a specifier set such as >=2.7.0 (PEP 440)"),
        (">=2.7.0;", f"found '', {PEP508}"),
        (">=2.7.0\n", "found '>=2.7.0\\n', expected one line of text, such as >=2.7.0; acme-features>=1.2"),
        (">=2.7.0; ; acme", f"found ' ', {PEP508}"),
        (">=2.7.0; acme>=one", f"found ' acme>=one', {PEP508}"),
        (">=2.7.0; acme[x]>=1", f"found ' acme[x]>=1', {PEP508}, without extras or URL"),
        (
            ">=2.7.0; acme @ https://e.org/a.whl",
            f"found ' acme @ https://e.org/a.whl', {PEP508}, without extras or URL",
        ),
        (">=2.7.0; acme>=1; python_version>'3'", f"found \" python_version>'3'\", {PEP508}"),
        (">=2.7.0; a-b>=1; A_B<2", "[1]: found a-b a second time, expected each once"),
        (">=2.7.0; acme>=" + "9" * 100, f"found 107 characters, {PEP508} of at most 100"),
        (">=2.7.0" + "".join(f"; a{i}" for i in range(21)), "found 21 packages, expected at most 20"),
        (">=2.7.0; acme>=" + "9" * 90 + ".*", f"found ' acme>={'9' * 69}..., {PEP508}"),
        (5, "found 5, expected a specifier set such as >=2.7.0 (PEP 440)"),
    ],
)
def test_a_requirement_that_cannot_be_read_is_refused(text: object, told: str) -> None:
    with pytest.raises(SpecError) as refused:
        ModelSpec.from_dict({**SPEC.to_dict(), "requires_trader": text})
    separator = "" if told.startswith("[") else ": "
    assert str(refused.value) == f"requires_trader{separator}{told}"


def told(verdict: Verdict) -> list[str]:
    return [f"{finding.code} {finding.kind} {finding.message}" for finding in verdict.findings]


@pytest.mark.parametrize(
    ("required", "packages", "message"),
    [
        ("acme-features>=1.2", {"acme-features": "1.1"}, "found acme-features 1.1, {m}: upgrade acme-features"),
        ("Acme.Features>=1.2", {"acme-features": "1.1"}, "found Acme.Features 1.1, {m}: upgrade Acme.Features"),
        ("acme-features>=1.2", {}, "found no acme-features, {m}: install acme-features>=1.2"),
        ("acme-features>=1.2", {"other": "9"}, "found no acme-features, {m}: install acme-features>=1.2"),
        ("acme-features", {}, "found no acme-features, {m}: install acme-features"),
        ("acme-features<2", {"acme-features": "2.0"}, "found acme-features 2.0, {m}: install acme-features<2"),
        ("acme-features==1.2", {"acme-features": "1.3"}, "found acme-features 1.3, {m}: install acme-features==1.2"),
        ("acme-features>1.2", {"acme-features": "1.2"}, "found acme-features 1.2, {m}: upgrade acme-features"),
    ],
)
def test_a_trader_without_the_package_is_refused_when_strict(
    required: str, packages: dict[str, str], message: str
) -> None:
    spec = replace(requiring(f">=2.7.0; {required}"), family="acme", version="1.0.0")
    trader = replace(Trader.released("2.7.0"), packages=packages)
    verdict = judge(spec, trader, proven=True, strict=True)
    model = f"model acme 1.0.0 requires {required}"
    assert told(verdict) == [f"package_version version requires_trader: {message.replace('{m}', model)}"]
    assert not verdict.allowed
    assert judge(spec, trader, proven=True, strict=False).allowed


@pytest.mark.parametrize(
    ("required", "version"), [("a>=1.2", "1.2"), ("a>=1.2", "1.3rc1"), ("a", "0"), ("a<2,>1", "1.5")]
)
def test_a_trader_with_the_package_is_allowed(required: str, version: str) -> None:
    trader = replace(Trader.released("2.7.0"), packages={"a": version})
    assert judge(requiring(f">=2.7.0; {required}"), trader, proven=True, strict=True).findings == ()


def test_trader_and_packages_are_told_apart(install: Install) -> None:
    install(Package())
    spec = spec_named("acme:1.0.0").for_bars(timeframe="1Day", adjustment="all")
    assert told(ppo.check_compatibility(spec, "2.6.0")) == [
        "trader_version version requires_trader: found trader 2.6.0, model acme 1.0.0 requires trader >=2.7.0: "
        "upgrade the trader to >=2.7.0 or choose a model that 2.6.0 runs",
        "package_version version requires_trader: found no acme-features, "
        "model acme 1.0.0 requires acme-features>=1.2: install acme-features>=1.2",
        "feature safety features[0]: found acme/spread@1, this trader doesn't compute acme/spread: "
        "install the package that brings it",
        "feature safety features[2]: found acme/weekend@1, this trader doesn't compute acme/weekend: "
        "install the package that brings it",
        "feature safety features[4]: found position_size@1, this trader doesn't compute position_size: "
        "upgrade the trader",
    ]


@pytest.mark.parametrize(
    ("packages", "message"),
    [
        ({"Acme_Features": "1"}, "packages: found Acme_Features, expected the normalised name, acme-features"),
        ({"acme": "one"}, "packages.acme: found 'one', expected a version such as 2.7.0 (PEP 440)"),
        (["acme"], "packages: found ['acme'], expected a mapping of package names to versions"),
    ],
)
def test_a_traders_packages_are_read_strictly(packages: object, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        Trader.from_dict({**Trader.released("2.7.0").to_dict(), "packages": packages})
    assert str(refused.value) == message


def test_a_trader_tells_packages_only_where_it_has_some() -> None:
    trader = Trader.released("2.7.0")
    assert "packages" not in trader.to_dict()
    assert hash(replace(trader, packages={"a": "1"})) == hash(trader)
    assert replace(trader, packages={"a": "1"}).to_dict()["packages"] == {"a": "1"}
