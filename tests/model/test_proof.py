"""Golden decisions as a value: what they hold, that they survive storing, and that a part missing is noticed."""

import dataclasses
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from mlflow_ppo_flavor.contract.digest import canonical_json, sha256_hex
from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from mlflow_ppo_flavor.errors import BarsError, SpecError, UnknownFormat
from mlflow_ppo_flavor.model.golden import record_golden
from mlflow_ppo_flavor.model.proof import Case, Golden, TableRow
from mlflow_ppo_flavor.model.replay import replay
from tests.model.policies import SPEC, policy_of, small_golden, small_policy
from training.series import demo_bars

Tensors = dict[str, torch.Tensor]


def meta_of(tensors: Tensors) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(tensors["meta"].numpy().tobytes())
    return found


def with_margin(margin: float) -> dict[str, torch.Tensor]:
    """Golden decisions in which the third margin was changed by hand: it says whether that action counts."""
    tensors = small_golden().to_tensors()
    tensors["margins"][2] = margin
    return tensors


def with_meta(change: Callable[[dict[str, Any]], object]) -> Tensors:
    """The tensors of the small golden decisions, their JSON changed in place by `change`."""
    tensors = small_golden().to_tensors()
    meta = meta_of(tensors)
    change(meta)
    return tensors | {"meta": torch.from_numpy(np.frombuffer(canonical_json(meta), dtype=np.uint8).copy())}


def without(name: str) -> Tensors:
    """The tensors of the small golden decisions but one."""
    return {key: tensor for key, tensor in small_golden().to_tensors().items() if key != name}


def test_they_survive_storing_to_the_bit() -> None:
    stored = save(small_golden().to_tensors())
    again = Golden.from_tensors(load(stored))
    assert save(again.to_tensors()) == stored
    for field in dataclasses.fields(Golden):
        one, other = getattr(again, field.name), getattr(small_golden(), field.name)
        if field.name == "segments":
            for a, b in zip(one, other, strict=True):
                assert a.bars == b.bars
                np.testing.assert_array_equal(a.rows, b.rows)
                np.testing.assert_array_equal(a.features, b.features)
        elif isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, other)
        else:
            assert one == other


def test_cases_and_table_rows_survive_a_round_trip() -> None:
    for case in small_golden().cases:
        assert Case.from_dict(json.loads(json.dumps(case.to_dict()))) == case
    for row in small_golden().table:
        assert TableRow.from_dict(json.loads(json.dumps(row.to_dict()))) == row


def test_what_others_record_needs_no_table_no_samples_and_no_critic() -> None:
    silent = torch.full((len(small_golden().cases),), torch.nan)
    tensors = with_meta(lambda meta: meta.update(table=[], instruments=meta["instruments"][:1]))
    golden = Golden.from_tensors(tensors | {"values": silent, "samples": torch.zeros(0, SPEC.obs_dim)})
    assert (golden.table, golden.has_values, len(golden.samples)) == ((), False, 0)
    assert replay(golden, small_policy(), SPEC) == ()
    assert small_golden().has_values


def test_a_released_models_proof_is_a_few_hundred_kilobytes() -> None:
    spec = MODEL_SPECS["2.7.0"].for_bars(timeframe="1Day", adjustment="all")
    stored = save(record_golden(policy_of(spec, hidden_dims=(4,)), demo_bars("AAPL")).to_tensors())
    assert 100_000 < len(stored) < 400_000


def test_read_arrays_cannot_be_written() -> None:
    golden = Golden.from_tensors(small_golden().to_tensors())
    with pytest.raises(ValueError, match="read-only"):
        golden.logits[0, 0] = 1


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ([1], "golden: found [1], expected tensors by name"),
        ({}, "golden.meta: found no tensor, expected torch.uint8 [any]"),
        ({"meta": torch.zeros(3, dtype=torch.uint8)}, "golden.meta: found bytes that aren't JSON"),
        (
            {"meta": torch.frombuffer(bytearray(b"[" * 100_000), dtype=torch.uint8)},
            "golden.meta: found bytes that aren't JSON (maximum recursion depth exceeded",
        ),
        (
            small_golden().to_tensors() | {"other": torch.zeros(1)},
            "golden.other: found an unknown key, expected one of",
        ),
        (without("segments.0.rows"), "golden.segments.0.rows: found no tensor, expected torch.int64 [any]"),
        (
            with_meta(lambda meta: meta.update(format=2)),
            "golden.format: found 2, expected 1: upgrade mlflow-ppo-flavor",
        ),
        (with_meta(lambda meta: meta.update(other=2)), "golden.meta.other: found an unknown key"),
        (with_meta(lambda meta: meta.pop("cases")), "golden.cases: found nothing, expected a list"),
        (with_meta(lambda meta: meta.update(segments=3)), "golden.segments: found 3, expected a list"),
        (with_meta(lambda meta: meta["cases"].pop()), "golden.account_features: found torch.float32 [24, 2], expected"),
        (
            with_meta(lambda meta: meta["digests"].pop()),
            "golden.digests: found 23 of them, expected one for each of 24",
        ),
        (with_meta(lambda meta: meta["decisions"].pop()), "golden.decisions: found 23 of them, expected one for each"),
        (
            with_meta(lambda meta: meta["cases"][3].update(row=1)),
            "golden.cases[3]: found row 1 of segment 0, expected a bar",
        ),
        (with_meta(lambda meta: meta["cases"][3].update(segment=9)), "golden.cases[3]: found row"),
        (
            with_meta(lambda meta: meta["instruments"].pop()),
            "golden.table[0].decisions: found another number, expected one",
        ),
        (
            with_meta(lambda meta: meta["recorded_with"].update(torch=2)),
            "golden.recorded_with.torch: found 2, expected",
        ),
        (with_meta(lambda meta: meta["table"][0].update(price=0)), "golden.table[0].price: found 0, expected a number"),
        (
            small_golden().to_tensors() | {"logits": torch.zeros(24, 3)},
            "golden.logits: found torch.float32 [24, 3], expe",
        ),
        (without("values"), "golden.values: found no tensor, expected torch.float32 [24]"),
        (
            small_golden().to_tensors() | {"values": torch.tensor([torch.nan, *[1.0] * 23])},
            "golden.values: found some that aren't finite, expected finite numbers, or NaN alone without a critic",
        ),
        (
            # any number would be within the tolerance of infinity
            small_golden().to_tensors() | {"logits": torch.full((24, 4), torch.inf)},
            "golden.logits: found some that aren't finite, expected finite numbers",
        ),
        (with_margin(0.0), f"golden.margins[2]: found 0.0, expected {small_golden().margins[2]!s}, its case's largest"),
        (with_margin(9.0), "golden.margins[2]: found 9.0, expected "),
        (with_margin(torch.nan), "golden.margins[2]: found nan, expected "),
        (
            small_golden().to_tensors() | {"logits": torch.zeros(24, 4, device="meta")},
            "golden.logits: found without data torch.float32 [24, 4], expected torch.float32 [24, 4]",
        ),
        (
            small_golden().to_tensors() | {"logits": torch.zeros(24, 4).to_sparse()},
            "golden.logits: found torch.sparse_coo torch.float32 [24, 4], expected torch.float32 [24, 4]",
        ),
        (
            with_meta(lambda meta: meta.update(instruments=[], table=[])),
            "golden.instruments: found none, expected the instrument that was decided for, at least",
        ),
        (
            small_golden().to_tensors() | {"samples": torch.zeros(2, SPEC.obs_dim).double()},
            "golden.samples: found torch.float64 [2, 24], expected torch.float32 [any, 24]",
        ),
        (
            small_golden().to_tensors() | {"segments.0.rows": small_golden().to_tensors()["segments.0.rows"].flip(0)},
            "golden.segments.0.rows: found other rows, expected rows of its",
        ),
    ],
)
def test_a_part_that_is_missing_or_wrong_is_told_by_its_path(tensors: object, message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}"):
        Golden.from_tensors(tensors)


def test_margins_that_another_recorder_rounded_later_are_read() -> None:
    tensors = small_golden().to_tensors()
    ordered = tensors["logits"].double().sort(dim=1).values + 1e-9
    tensors["margins"] = (ordered[:, -1] - ordered[:, -2] + 1e-7).float()
    assert Golden.from_tensors(tensors).margins.tolist() == tensors["margins"].tolist()


def test_another_format_is_its_own_error_and_faulty_bars_too() -> None:
    with pytest.raises(UnknownFormat):
        Golden.from_tensors(with_meta(lambda meta: meta.update(format=True)))
    tensors = small_golden().to_tensors()
    tensors["segments.0.columns"][3, 5] = float("nan")
    with pytest.raises(BarsError, match=r"MEANREV: 1 fault in .* bars: row 5 .* close is nan"):
        Golden.from_tensors(tensors)


def test_a_digest_is_that_of_the_observations_bytes() -> None:
    golden = small_golden()
    assert sha256_hex(golden.samples[0].astype("<f4").tobytes()) == golden.digests[0]
