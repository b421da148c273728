"""What the gate reads from MLmodel, and what it makes of bytes that aren't one."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mlflow_ppo_flavor.contract.digest import model_digest
from mlflow_ppo_flavor.contract.mlmodel import MOST_BYTES, MOST_VALUES
from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.registry.contracts import Contract, parse_mlmodel
from tests.contract.contracts import specs
from tests.registry.model_folders import SKLEARN_FLAVORS, VOUCH, ppo_flavors, trained


def mlmodel(flavors: Any) -> bytes:
    return yaml.safe_dump({"flavors": flavors, "run_id": "x"}).encode()


@given(specs, st.booleans())
def test_any_spec_is_read_back_equal_with_the_digest_that_the_trader_computes(spec: ModelSpec, golden: bool) -> None:
    flavors = json.loads(json.dumps(ppo_flavors(spec, golden=golden)))
    contract = parse_mlmodel(mlmodel(flavors))
    assert contract == Contract(True, spec, model_digest(flavors), golden)
    assert contract.proven == (golden and spec.bars is not None)


def test_who_vouches_for_a_model_is_read() -> None:
    contract = parse_mlmodel(mlmodel(ppo_flavors(trained("2.7.0"), golden=False, vouch=VOUCH)))
    assert (contract.vouched, contract.proven) == ("vouched by Ann: trained by the old trainer", False)
    assert contract.digest != parse_mlmodel(mlmodel(ppo_flavors(trained("2.7.0"), golden=False))).digest


@given(st.binary(max_size=200))
def test_no_bytes_raise(data: bytes) -> None:
    contract = parse_mlmodel(data)
    assert contract.spec is None
    assert contract.reason


def changed(path: str, value: Any) -> dict[str, Any]:
    """Flavors with one value changed, by dotted path; None removes it."""
    flavors: Any = json.loads(json.dumps(ppo_flavors(trained("2.7.0"))))
    *parents, last = path.split(".")
    place = flavors
    for parent in parents:
        place = place[parent]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return flavors  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("ppo.format", 2, "flavors.ppo.format: found 2, expected one of 1"),
        ("ppo.format", None, "flavors.ppo.format: found nothing, expected one of 1"),
        (
            "ppo.spec.format",
            2,
            "flavors.ppo.spec.format: found 2, expected 1: upgrade mlflow-ppo-flavor to read this spec",
        ),
        ("ppo.spec.window", 0, "flavors.ppo.spec.window: found 0, expected a whole number in [1, 10000]"),
        ("ppo.spec", None, "flavors.ppo.spec: found None, expected a mapping"),
        ("ppo.files", None, "flavors.ppo.files: found None, expected a mapping of paths to sha256"),
        ("ppo.vouched", "Ann", "flavors.ppo.vouched: found 'Ann', expected a mapping"),
        ("ppo.vouched", {"reason": "x"}, "flavors.ppo.vouched.by: found nothing, expected a string"),
        ("ppo", "text", "flavors.ppo: found 'text', expected a mapping"),
        (
            "python_function.loader_module",
            "evil",
            "flavors.python_function.loader_module: found 'evil', expected mlflow_ppo_flavor.flavor",
        ),
        (
            "python_function",
            None,
            "flavors.python_function.loader_module: found None, expected mlflow_ppo_flavor.flavor",
        ),
    ],
)
def test_a_flavor_that_cannot_be_read_says_where_and_counts_as_ppo(path: str, value: Any, reason: str) -> None:
    assert parse_mlmodel(mlmodel(changed(path, value))) == Contract(flavored=True, reason=reason)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (mlmodel(SKLEARN_FLAVORS), "MLmodel has no ppo flavor, only python_function, sklearn"),
        (mlmodel({}), "MLmodel has no ppo flavor, only none"),
        (b"flavors: [ppo]", "MLmodel lists no flavors"),
        (b"", "MLmodel lists no flavors"),
        (b"\xff\xfe\x00", "MLmodel is no YAML"),
        (b"a: !!python/object/apply:os.system [ls]", "MLmodel is no YAML"),
    ],
)
def test_what_is_no_ppo_model_is_not_flavored(data: bytes, reason: str) -> None:
    contract = parse_mlmodel(data)
    assert not contract.flavored
    assert contract.reason.startswith(reason)


def test_aliases_that_would_unfold_to_billions_of_values_are_refused_at_once() -> None:
    layers = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    layers += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    text = "flavors:\n  ppo: {format: 1}\n  bomb:\n" + "".join(f"    {layer}\n" for layer in layers)
    expected = f"MLmodel: found more than {MOST_VALUES} values, expected a model's few hundred"
    assert parse_mlmodel(text.encode()) == Contract.unknown(expected)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"[" * 30_000, "values nested more than 64 deep"),
        (b"{a: " * 30_000, "values nested more than 64 deep"),
        (b"- " * 30_000, "values nested more than 64 deep"),
        (b"flavors: {ppo: " + b"[" * 100 + b"]" * 100 + b"}", "values nested more than 64 deep"),
        (b"flavors: {ppo: {<<: {format: 1}}}", "a merge key (<<)"),
        (b"#" * (MOST_BYTES + 1), f"more than {MOST_BYTES} bytes"),
    ],
)
def test_bytes_out_of_bounds_are_not_loaded_and_leave_open_what_they_are(data: bytes, found: str) -> None:
    contract = parse_mlmodel(data)
    assert contract.reason.startswith(f"MLmodel: found {found}, expected ")
    assert not contract.known


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("ppo.spec.actions", [{"name": "A", "direction": 1, "size": 10**400}], "flavors.ppo.spec.actions[0].size: "),
        ("ppo.spec.window", 10**400, "flavors.ppo.spec.window: found "),
        ("ppo.spec.requires_trader", ">=" + "9" * 5_000, "flavors.ppo.spec.requires_trader: found 5002 characters"),
        ("ppo.spec.version", "9" * 5_000, "flavors.ppo.spec.version: found 5000 characters"),
    ],
)
def test_values_that_python_cannot_compute_with_are_a_reason_like_any_other(path: str, value: Any, reason: str) -> None:
    contract = parse_mlmodel(f"flavors: {json.dumps(changed(path, value))}".encode())
    assert contract.flavored
    assert contract.reason.startswith(reason)


def test_a_reason_can_be_kept_in_any_database() -> None:
    contract = parse_mlmodel(b'flavors: {"a\\0b": 1, 2: 3}')
    assert contract.reason == "MLmodel has no ppo flavor, only ab, 2"


def test_shared_lists_that_yaml_writes_as_aliases_are_read() -> None:
    flavors = ppo_flavors(trained("2.6.0"))
    flavors["ppo"]["again"] = flavors["ppo"]["spec"]["features"]
    assert b"&id001" in mlmodel(flavors)
    assert parse_mlmodel(mlmodel(flavors)).spec == trained("2.6.0")


@pytest.mark.parametrize("value", [float("nan"), {1: "a", "b": 2}])
def test_values_that_have_no_canonical_json_are_refused(value: Any) -> None:
    contract = parse_mlmodel(mlmodel(changed("ppo.architecture", {"odd": value})))
    assert contract.flavored
    assert contract.spec is None


def test_templates_without_bars_are_unproven() -> None:
    contract = parse_mlmodel(mlmodel(ppo_flavors(MODEL_SPECS["2.6.0"])))
    assert contract.golden
    assert not contract.proven
