"""Golden files: the numbers that foreign code wrote are the record, and each fault is told by the name of its array."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mlflow_ppo_flavor.decision.action import Instrument
from mlflow_ppo_flavor.decision.bar_time import show_time
from mlflow_ppo_flavor.errors import CheckpointError, IncompatibleModel, UnknownFormat
from mlflow_ppo_flavor.model.foreign.candidate import Options, read_candidate
from mlflow_ppo_flavor.model.foreign.golden_file import ARRAYS, read_golden_file
from mlflow_ppo_flavor.model.foreign.golden_record import golden_of
from mlflow_ppo_flavor.model.inert import read_torch_file
from mlflow_ppo_flavor.model.proof import Golden
from mlflow_ppo_flavor.model.replay import replay
from tests.model.foreign.training import SCRIPT, changed_file

DOCUMENT = Path(__file__).parents[3] / "docs" / "golden-file.md"
Arrays = dict[str, np.ndarray]


def arrays_of(path: Path) -> Arrays:
    with np.load(path) as held:
        return dict(held)


def options_for(folder: Path, golden: str) -> Options:
    spec = read_golden_file(folder / "golden.npz").spec
    return Options(spec=replace(spec, bars=None, symbols=()), golden=golden)


def faults(path: str) -> list[str]:
    """The messages of a refused file, without its path."""
    with pytest.raises(IncompatibleModel) as caught:
        golden_of(read_golden_file(path))
    return [finding.message.removeprefix(f"{path}: ") for finding in caught.value.verdict.findings]


def differences(folder: Path, target: Path, change: Callable[[Arrays], dict[str, Any]]) -> list[str]:
    """What the import says of the trainer's checkpoint with a golden file that was changed."""
    golden = changed_file(folder / "golden.npz", target, change(arrays_of(folder / "golden.npz")))
    with pytest.raises(IncompatibleModel) as caught:
        read_candidate(folder / "legacy.pt", options_for(folder, golden))
    assert {finding.code for finding in caught.value.verdict.blocking} == {"golden"}
    return [finding.message for finding in caught.value.verdict.blocking]


def test_what_is_documented_is_what_runs() -> None:
    assert SCRIPT.read_text(encoding="utf-8") in DOCUMENT.read_text(encoding="utf-8")
    document = DOCUMENT.read_text(encoding="utf-8")
    for name, owed in ARRAYS.items():
        assert f"| `{name}` | {owed}" in document, name


def test_the_foreign_numbers_are_the_record(elsewhere: Path) -> None:
    written, file = arrays_of(elsewhere / "golden.npz"), read_golden_file(elsewhere / "golden.npz")
    golden = golden_of(file)
    seen = written["observations"].reshape(-1, 5, 4)
    assert golden.logits.tobytes() == written["logits"].tobytes()
    assert golden.values.tobytes() == written["values"].tobytes()
    assert golden.actions.tolist() == written["actions"].tolist()
    assert golden.account_features.tobytes() == seen[:, -1, 2:].tobytes()
    assert golden.samples.tobytes() == written["observations"][:2].tobytes()
    assert [f"{decision.quantity:f}" for decision in golden.decisions] == written["quantities"].tolist()
    assert [[f"{d.quantity:f}" for d in row.decisions[0]] for row in golden.table] == written[
        "table_quantities"
    ].tolist()
    assert [row.name for row in golden.table] == ["at first", "at last"]
    (segment,) = golden.segments
    for i, case in enumerate(golden.cases):
        last = int(np.flatnonzero(segment.rows == case.row)[0])
        assert segment.features[last - 4 : last + 1].tobytes() == seen[i, :, :2].tobytes()
        assert int(segment.bars.time[case.row]) == written["time"][written["case_bar"][i]]
        assert case.account.price == written["close"][written["case_bar"][i]]
    assert golden.recorded_with["elsewhere"] == "0.9"
    assert golden.spec.bars is not None
    assert (golden.spec.bars.timeframe, golden.spec.bars.adjustment, golden.spec.symbols) == (
        "1Day",
        "all",
        ("MEANREV",),
    )


def test_bars_that_no_case_reads_are_left_out(elsewhere: Path) -> None:
    golden = golden_of(read_golden_file(elsewhere / "golden.npz"))
    # a window of 5, whose oldest bar looks 5 back: 10 bars end at bar 60
    assert len(golden.segments[0].bars) == 90 - 60 + 10


def test_our_code_reproduces_it(elsewhere: Path) -> None:
    found = read_candidate(elsewhere / "legacy.pt", options_for(elsewhere, str(elsewhere / "golden.npz")))
    assert found.golden is not None
    assert replay(found.golden, found.network, found.spec) == ()
    stored = Golden.from_tensors(found.golden.to_tensors())
    assert replay(stored, found.network, found.spec) == ()


def test_it_may_say_less(elsewhere: Path, tmp_path: Path) -> None:
    left_out = [name for name, owed in ARRAYS.items() if owed.optional]
    path = changed_file(elsewhere / "golden.npz", tmp_path / "less.npz", dict.fromkeys(left_out))
    file = read_golden_file(path)
    assert (file.table, dict(file.recorded_with), file.instrument) == ((), {}, Instrument.equity("MEANREV"))
    assert np.isnan(file.values).all()
    found = read_candidate(elsewhere / "legacy.pt", options_for(elsewhere, path))
    assert found.golden is not None
    assert found.golden.table == ()


def test_an_instrument_of_its_own(elsewhere: Path, tmp_path: Path) -> None:
    whole = json.dumps(Instrument.equity("MEANREV", fractionable=False).to_dict())

    def in_whole_shares(arrays: Arrays) -> dict[str, Any]:
        return {"instrument": np.array(whole)}

    messages = differences(elsewhere, tmp_path / "whole.npz", in_whole_shares)
    assert messages[0].startswith("golden.decision at 2000-03-27T05:00:00Z, ")
    assert "action BUY: quantity: found 5, recorded 5.86461126" in messages[0]


def feature_of(column: int, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Arrays], dict[str, Any]]:
    """A trainer that computes one market feature differently."""

    def changed(arrays: Arrays) -> dict[str, Any]:
        seen = arrays["observations"].reshape(-1, 5, 4).copy()
        seen[:, :, column] = change(seen[:, :, column])
        return {"observations": seen.reshape(-1, 20)}

    return changed


def test_another_feature_is_told_with_its_bar(elsewhere: Path, tmp_path: Path) -> None:
    messages = differences(elsewhere, tmp_path / "g.npz", feature_of(1, lambda column: column * np.float32(1.5)))
    time = show_time(int(arrays_of(elsewhere / "golden.npz")["time"][56]))
    assert len(messages) == 1
    assert messages[0].startswith(f"golden.features return_5@1 at {time}: found ")
    assert "(35 of 35 bars differ): don't trade it with this code: it was recorded with elsewhere 0.9" in messages[0]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda a: {"logits": a["logits"] * np.float32(1.001)}, "golden.logit of "),
        (lambda a: {"values": a["values"] + np.float32(0.01)}, "golden.value at "),
        (lambda a: {"actions": (a["actions"] * 0)}, "golden.action at "),
        (lambda a: {"quantities": np.where(a["actions"] == 1, "1.5", a["quantities"])}, "golden.decision at "),
        (lambda a: {"table_quantities": np.array([["0", "1", "0"]] * 2)}, "golden.decision of an account at first"),
        (lambda a: {"account_cash": a["account_cash"] * 0.9}, "golden.observation total_pnl@1 at "),
        (lambda a: {"close": np.round(a["close"], 0), "high": a["high"] + 1, "low": a["low"] - 1}, "golden.fea"),
        (lambda a: {"observations": np.roll(a["observations"], 4, axis=1)}, "golden.features return_1@1 at "),
    ],
)  # fmt: skip
def test_what_our_code_makes_differently_is_told(
    change: Callable[[Arrays], dict[str, Any]], told: str, elsewhere: Path, tmp_path: Path
) -> None:
    def whole(arrays: Arrays) -> dict[str, Any]:
        changes = change(arrays)
        if "actions" in changes:
            changes["quantities"] = np.full(len(arrays["actions"]), "0")
        return changes

    if told.endswith("return_1@1 at "):
        # shifted by a bar, two windows disagree before anything is replayed
        path = changed_file(elsewhere / "golden.npz", tmp_path / "g.npz", change(arrays_of(elsewhere / "golden.npz")))
        assert faults(path)[0].startswith("observations[1], return_1@1 at ")
        return
    assert differences(elsewhere, tmp_path / "g.npz", whole)[0].startswith(told)


def test_decisions_of_other_weights_are_refused(elsewhere: Path, tmp_path: Path) -> None:
    weights = dict(read_torch_file(elsewhere / "legacy.pt")["policy_state_dict"])
    weights["fc2.weight"] = weights["fc2.weight"] * 1.01
    torch.save({"policy_state_dict": weights, "config": {"activation": "relu"}}, tmp_path / "other.pt")
    with pytest.raises(IncompatibleModel) as caught:
        read_candidate(tmp_path / "other.pt", options_for(elsewhere, str(elsewhere / "golden.npz")))
    assert caught.value.verdict.findings[0].place.startswith("golden.logit of ")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"logits": None, "close": None}, ["close: found no such array, expected float64[bars]", "logits: found no"]),
        ({"extra": np.zeros(3)}, ["extra: found an unknown array, expected one of format, spec, symbol"]),
        (
            {"observations": np.zeros((31, 20)), "time": np.zeros(400, dtype=np.int32), "quantities": np.zeros(31)},
            [
                "time: found int32[400], expected int64[bars]: see docs/golden-file.md",
                "observations: found float64[31, 20], expected float32[cases, obs_dim]: see",
                "quantities: found float64[31], expected text[cases]: see",
            ],
        ),
        (
            {"logits": np.zeros((31, 4), dtype=np.float32), "open": np.ones(3)},
            [
                "open: found float64[3], expected float64[bars] with bars = 400: see",
                "logits: found float32[31, 4], expected float32[cases, n_actions] with cases = 31, n_actions = 3",
            ],
        ),
        ({"spec": np.array("9.9.9")}, ["spec: found '9.9.9', expected one of 2.3.0"]),
        ({"spec": np.array("{}")}, ["spec.format: found None, expected 1"]),
        ({"spec": np.array("{")}, ["spec: found text that isn't JSON (Expecting property name"]),
        ({"timeframe": np.array("1Week")}, ["timeframe: found '1Week', expected one of 1Day, 1Hour, 1Min"]),
        ({"symbol": np.array("a b")}, ["spec.symbols[0]: found 'a b', expected a symbol such as AAPL or BTC/USD"]),
        ({"instrument": np.array("[]")}, ["instrument: found [], expected a mapping"]),
        ({"recorded_with": np.array('{"a": 1}')}, ["recorded_with: found {'a': 1}, expected JSON of {"]),
        ({"table_name": None}, ["table_*: found a part of the table, expected all of it or nothing: add table"]),
        ({"table_price": np.array([1.0, -1.0])}, ["table_price[1]: found -1.0, expected a price in ["]),
    ],
)  # fmt: skip
def test_faults_of_form(changes: dict[str, Any], told: list[str], elsewhere: Path, tmp_path: Path) -> None:
    messages = faults(changed_file(elsewhere / "golden.npz", tmp_path / "g.npz", changes))
    assert len(messages) >= len(told)
    for message, expected in zip(messages, told, strict=False):
        assert message.startswith(expected)


def put(name: str, place: tuple[int, ...], value: Any) -> Callable[[Arrays], dict[str, Any]]:
    """One number of an array set otherwise."""

    def changed(arrays: Arrays) -> dict[str, Any]:
        array = arrays[name].copy()
        array[place] = value
        return {name: array}

    return changed


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (put("case_bar", (3,), 400), "case_bar[3]: found 400, expected a number in [0, 399]"),
        (put("case_bar", (2,), 8), "case_bar[2]: found 8, expected at least bar 9: a window of 5 bars"),
        (put("actions", (0,), -1), "actions[0]: found -1, expected a number in [0, 2]"),
        (put("observations", (1, 7), np.nan), "observations[1, 7]: found nan, expected finite numbers"),
        (put("values", (4,), np.inf), "values[4]: found inf, expected finite numbers"),
        (put("account_peak", (5,), 1.0), "account_peak[5]: found 1.0, expected at least the initial equity 10000.0"),
        (put("account_wins", (5,), 99), "account_wins[5]: found 99, expected at most the "),
        (put("account_quantity", (5,), "much"), "account_quantity[5]: found 'much', expected a decimal number as"),
        (put("quantities", (0,), "-5"), "quantities[0]: found -5, expected a quantity in the direction 1"),
        (put("table_quantities", (1, 0), "2"), "table_quantities[1][0]: found 2, expected a quantity in the"),
        (put("close", (3,), 0.0), "time: found faulty bars (MEANREV: "),
        (put("observations", (3, 0), 0.25), "observations[3], return_1@1 at 2000-"),
    ],
)  # fmt: skip
def test_faults_of_numbers(
    change: Callable[[Arrays], dict[str, Any]], told: str, elsewhere: Path, tmp_path: Path
) -> None:
    golden = elsewhere / "golden.npz"
    messages = faults(changed_file(golden, tmp_path / "g.npz", change(arrays_of(golden))))
    assert messages[0].startswith(told), messages


def test_every_fault_at_once(elsewhere: Path, tmp_path: Path) -> None:
    golden = elsewhere / "golden.npz"
    changes = put("quantities", (0,), "x")(arrays_of(golden)) | put("logits", (0, 0), np.nan)(arrays_of(golden))
    messages = faults(changed_file(golden, tmp_path / "g.npz", changes | {"instrument": np.array("no")}))
    assert [message.partition(":")[0] for message in messages] == ["instrument", "logits[0, 0]", "quantities[0]"]


def test_no_case(elsewhere: Path, tmp_path: Path) -> None:
    golden = arrays_of(elsewhere / "golden.npz")
    of_cases = {name: golden[name][:0] for name, owed in ARRAYS.items() if owed.shape[:1] == ("cases",)}
    assert faults(changed_file(elsewhere / "golden.npz", tmp_path / "g.npz", of_cases)) == [
        "case_bar: found no case, expected at least one: see docs/golden-file.md"
    ]


def test_a_later_format(elsewhere: Path, tmp_path: Path) -> None:
    path = changed_file(elsewhere / "golden.npz", tmp_path / "g.npz", {"format": np.int64(2)})
    with pytest.raises(
        UnknownFormat, match=r"format: found 2, expected 1: upgrade mlflow-ppo-flavor to read this golden"
    ):
        read_golden_file(path)


def test_big_endian_and_fortran_order_are_the_same_numbers(elsewhere: Path, tmp_path: Path) -> None:
    golden = arrays_of(elsewhere / "golden.npz")
    other = {name: a.astype(a.dtype.newbyteorder(">"), order="F") for name, a in golden.items() if a.dtype.kind in "fi"}
    found = golden_of(read_golden_file(changed_file(elsewhere / "golden.npz", tmp_path / "g.npz", other)))
    expected = golden_of(read_golden_file(elsewhere / "golden.npz"))
    for name, tensor in expected.to_tensors().items():
        assert (found.to_tensors()[name] == tensor).all(), name


class Payload:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def test_pickled_arrays_are_not_read(elsewhere: Path, tmp_path: Path) -> None:
    objects = np.array([Payload(tmp_path / "ran")], dtype=object)
    path = changed_file(elsewhere / "golden.npz", tmp_path / "g.npz", {"logits": objects})
    assert faults(path)[0].startswith("logits: found object: pickled objects and records aren't read, exp")
    assert not (tmp_path / "ran").exists()


def header(shape: str, dtype: str = "'<f4'") -> bytes:
    text = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    ("member", "told"),
    [
        (header("(1000000000000, 3)") + bytes(8), "logits: found 8 bytes that say they are float32[1000000000000, 3]"),
        (header("(2, 3)") + bytes(8), "logits: found 8 bytes that say they are float32[2, 3], expected float32[cases"),
        (header("(-1, -2)") + bytes(8), "logits: found 8 bytes that say they are float32[-1, -2]"),
        (header("(True, 2)") + bytes(8), "logits: found 8 bytes that say they are float32[True, 2], expected float32"),
        (header(f"({'0, ' * 20})"), "logits: found float32[0, 0, 0, 0"),
        (header("(1180591620717411303424, 0)"), "logits: found 0 bytes that say they are float32[1180591620717411303"),
        (
            header("(1099511627776,)", "'<U0'"),
            "logits: found 0 bytes that say they are <U0[1099511627776], expected fl",
        ),
        (
            header("(3,)", "('<f4', (2,))") + bytes(24),
            "logits: found ('<f4', (2,)): pickled objects and records aren't",
        ),
        (header("(2,)", "'<U1'") + bytes(7) + b"\x7f", "logits: found text with numbers that are no characters, exp"),
        (header("(1,)", "'>U1'") + b"\0\0\xd8\0", "logits: found text with numbers that are no characters, exp"),
        (b"\x93NUMPY\x03\x00", "logits: found a .npy of format 3.0, expected float32[cases, n_actions]"),
    ],
)
def test_a_header_that_lies_is_a_fault(member: bytes, told: str, elsewhere: Path, tmp_path: Path) -> None:
    path = changed_file(elsewhere / "golden.npz", tmp_path / "g.npz", {"logits": None})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("logits.npy", member)
    assert faults(path)[0].startswith(told)


def test_what_is_no_golden_file(elsewhere: Path, tmp_path: Path) -> None:
    for name, content in (
        ("empty", b""),
        ("text", b"time,open\n"),
        ("cut", (elsewhere / "golden.npz").read_bytes()[:900]),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="savez"):
            read_golden_file(path)
    np.savez_compressed(tmp_path / "packed.npz", logits=np.zeros(10_000))
    with pytest.raises(CheckpointError, match=r"bytes packed into .* written by numpy\.savez, not savez_compressed$"):
        read_golden_file(tmp_path / "packed.npz")
    for noise in (b"no array", header("(" * 60)):
        with zipfile.ZipFile(tmp_path / "noise.npz", "w") as archive:
            archive.writestr("logits.npy", noise)
        with pytest.raises(CheckpointError, match=r"(?s)logits: found no array \(.*expected one of numpy\.savez"):
            read_golden_file(tmp_path / "noise.npz")
