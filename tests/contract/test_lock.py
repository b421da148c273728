"""SpecLock: its text, which git shows line by line, and everything that is refused when it is read."""

import json
from typing import Any

import pytest
from hypothesis import given, settings

from mlflow_ppo_flavor.contract.lock import LockedPackage, LockedSpec, SpecLock, parse_lock
from mlflow_ppo_flavor.errors import SpecError, UnknownFormat
from tests.contract.locks import LOCK, changed, locked_packages, locked_specs, locks
from tests.tiers import SLOW_EXAMPLES

TEXT = """\
{
  "behaviour": {
    "account": "BBB",
    "action": "BBB",
    "market": "BBB",
    "observation": "BBB",
    "sizing": "BBB"
  },
  "current": {
    "model": "2.7.0",
    "spec_formats": [1],
    "trader": "2.7.0"
  },
  "features": {
    "acme/spread@1": "333",
    "rsi_14@1": "111",
    "total_pnl@1": "222"
  },
  "format": 1,
  "matrix": {
    "2.6.0": "2.4.0",
    "2.7.0": "2.7.0"
  },
  "packages": {
    "acme-features": {"families": ["acme"], "namespaces": ["acme"], "version": "1.2.0"}
  },
  "specs": {
    "acme:1.0.0": {"fingerprint": "aaa", "requires_trader": ">=2.7.0; acme-features>=1.2"},
    "ppo:2.6.0": {"fingerprint": "666", "requires_trader": ">=2.4.0"},
    "ppo:2.7.0": {"fingerprint": "777", "requires_trader": ">=2.7.0"}
  }
}
"""


def test_the_text_is_sorted_with_one_line_an_entry() -> None:
    shortened = LOCK.text()
    for digit in "12367ab":
        shortened = shortened.replace(digit * 64, ("BBB" if digit == "b" else digit * 3))
    assert shortened == TEXT


@given(locks)
@settings(max_examples=SLOW_EXAMPLES)
def test_a_lock_comes_back_equal_from_its_text(lock: SpecLock) -> None:
    assert parse_lock(lock.text().encode(), "spec.lock") == lock
    assert SpecLock.from_dict(json.loads(json.dumps(lock.to_dict()))) == lock
    lines = lock.text().splitlines()
    assert len([line for line in lines if line.startswith("    ")]) == len(lock.entries())


@given(locked_specs, locked_packages)
def test_an_entry_comes_back_equal(spec: LockedSpec, package: LockedPackage) -> None:
    assert LockedSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert LockedPackage.from_dict(json.loads(json.dumps(package.to_dict()))) == package


def test_a_changed_entry_is_one_line_of_a_diff() -> None:
    other = changed(LOCK, "features", **{"rsi_14@1": "9" * 64})
    pairs = zip(LOCK.text().splitlines(), other.text().splitlines(), strict=True)
    assert [new.strip()[:12] for old, new in pairs if old != new] == ['"rsi_14@1": ']


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"format": 2}, "format: found 2, expected 1: use the version of mlflow-ppo-flavor that wrote this lock"),
        ({"format": True}, "format: found True, expected 1: use the version of mlflow-ppo-flavor that wrote this lock"),
        ({"note": ""}, "note: found an unknown key, expected one of format, current, matrix, specs, features, beh"),
        ({"current": None}, "current: found None, expected a mapping"),
        ({"current": {"model": "x"}}, "current.model: found 'x', expected a version such as 2.7.0 (PEP 440)"),
        ({"matrix": {"2.7.0": "new"}}, "matrix.2.7.0: found 'new', expected a version such as 2.7.0 (PEP 440)"),
        ({"matrix": {"new": "2.7.0"}}, "matrix: found 'new', expected a version such as 2.7.0 (PEP 440)"),
        ({"matrix": []}, "matrix: found [], expected a mapping"),
        ({"features": {"rsi": "1" * 64}}, "features: found 'rsi', expected keys that match "),
        ({"features": {"rsi@1": "12"}}, "features.rsi@1: found '12', expected a sha256 of 64 hexadecimal digits"),
        ({"specs": {"2.7.0": {}}}, "specs: found '2.7.0', expected keys that match "),
        ({"specs": {"ppo:2.7.0": {"fingerprint": "1"}}}, "specs.ppo:2.7.0.fingerprint: found '1', expected a sha256"),
        ({"behaviour": {}}, "behaviour.account: found nothing, expected a sha256"),
        ({"packages": {"a": {"version": 1}}}, "packages.a.version: found 1, expected a version such as 2.7.0 (PEP 44"),
    ],
)
def test_what_is_refused_is_told_with_its_place(edit: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse_lock(json.dumps(LOCK.to_dict() | edit).encode(), "spec.lock")
    assert str(refused.value).startswith(f"spec.lock: {message}")
    assert isinstance(refused.value, UnknownFormat) is ("format" in edit)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "no JSON (Expecting value: line 1 column 1 (char 0))"),
        (b"<<<<<<< ours\n{}\n=======\n{}\n", "no JSON (Expecting value: line 1 column 1 (char 0))"),
        (b'{"format": 1, "format": 1}', "no JSON (a key stands twice in one object)"),
        (b"\xff", "no JSON ('utf-8' codec can't decode byte 0xff in position 0: invalid start byte)"),
        (b"[" * 200_000, "JSON that is nested too deep"),
    ],
)
def test_what_is_no_json_is_a_message(data: bytes, told: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse_lock(data, "spec.lock")
    assert str(refused.value) == (
        f"spec.lock: found {told}, expected a lock as `mlflow-ppo spec lock` writes it: "
        "take the file of one side of a merge, then run mlflow-ppo spec lock"
    )


def test_no_object_is_no_lock() -> None:
    with pytest.raises(SpecError, match=r"^spec\.lock: lock: found \[\], expected a mapping$"):
        parse_lock(b"[]", "spec.lock")
