"""Wholeness: whether the parts of golden decisions belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mlflow_ppo_flavor.errors import SpecError

if TYPE_CHECKING:
    from mlflow_ppo_flavor.model.proof import Golden

Float32 = npt.NDArray[np.float32]
_MARGIN_TOLERANCE = 1e-5
"""Margins may be that × max(1, |logit|) off: subtracted before they were rounded."""


def margins_of(logits: Float32) -> Float32:
    """How far the highest logit is above the second: float32[n] of float32[n, n_actions]."""
    ordered = np.sort(logits, axis=1)
    return ordered[:, -1] - ordered[:, -2]


def check_whole(golden: Golden, path: str) -> None:
    """Refuse parts that don't belong together: a proof with a part missing proves nothing. SpecError with its path."""
    n = len(golden.cases)
    if not n or len(golden.samples) > n:
        raise SpecError(f"{path}.cases", f"{n} cases and {len(golden.samples)} samples", "a case, and samples of cases")
    for name, values in (("digests", golden.digests), ("decisions", golden.decisions)):
        if len(values) != n:
            raise SpecError(f"{path}.{name}", f"{len(values)} of them", f"one for each of {n} cases")
    if golden.has_values and not np.isfinite(golden.values).all():
        raise SpecError(f"{path}.values", "some that aren't finite", "finite numbers, or NaN alone without a critic")
    if not golden.instruments:
        raise SpecError(f"{path}.instruments", "none", "the instrument that was decided for, at least")
    for i, row in enumerate(golden.table):
        if [len(group) for group in row.decisions] != [golden.spec.n_actions] * len(golden.instruments):
            raise SpecError(f"{path}.table[{i}].decisions", "another number", "one for each instrument and action")
    _check_margins(golden, path)
    _check_rows(golden, path)


def _check_margins(golden: Golden, path: str) -> None:
    """Refuse logits that any number would be near to, and margins that aren't theirs: they say which actions count."""
    if not np.isfinite(golden.logits).all():
        raise SpecError(f"{path}.logits", "some that aren't finite", "finite numbers")
    owed, largest = margins_of(golden.logits), np.abs(golden.logits).max(axis=1)
    # written so that NaN differs
    wrong = np.flatnonzero(~(np.abs(golden.margins - owed) <= _MARGIN_TOLERANCE * np.maximum(1.0, largest)))
    if len(wrong):
        first = int(wrong[0])
        expected = f"{owed[first]!s}, its case's largest logit less the second"
        raise SpecError(f"{path}.margins[{first}]", str(golden.margins[first]), expected)


def _check_rows(golden: Golden, path: str) -> None:
    """Refuse rows that aren't their bars', and cases whose window isn't among them."""
    for i, segment in enumerate(golden.segments):
        at = segment.rows
        if not len(at) or np.any(np.diff(at) <= 0) or np.any(at < 0) or np.any(at >= len(segment.bars)):
            expected = f"rows of its {len(segment.bars)} bars, ascending"
            raise SpecError(f"{path}.segments.{i}.rows", "other rows", expected)
    for i, case in enumerate(golden.cases):
        rows = golden.segments[case.segment].rows if case.segment < len(golden.segments) else ()
        if not np.isin(np.arange(case.row - golden.spec.window + 1, case.row + 1), rows).all():
            raise SpecError(f"{path}.cases[{i}]", f"row {case.row} of segment {case.segment}", "a bar with its window")
