"""The training script of somebody else, run: a legacy checkpoint, its spec and its golden file."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_ppo_flavor.decision.bars import Bars
from tests.training.markets import bars

SCRIPT = Path(__file__).with_name("elsewhere") / "train.py"
COLUMNS = "time,open,high,low,close,volume"


def write_bars(path: Path, series: Bars) -> None:
    """Bars as the CSV that the script reads, each number to the bit."""
    rows = np.rec.fromarrays(list(series.columns))
    np.savetxt(path, rows, fmt=["%d", *["%.17g"] * 5], delimiter=",", header=COLUMNS, comments="")


def train_elsewhere(folder: Path) -> None:
    """Run the script in this process, as a program of its own: its classes are gone afterwards."""
    write_bars(folder / "bars.csv", bars())
    before = sys.argv
    sys.argv = [str(SCRIPT), str(folder / "bars.csv"), str(folder)]
    try:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    finally:
        sys.argv = before


def changed_file(source: Path, target: Path, changes: Mapping[str, Any]) -> str:
    """A copy of a golden file with some arrays replaced, or left out where None stands for them."""
    with np.load(source) as arrays:
        held = {**arrays, **changes}
    np.savez(target, **{name: array for name, array in held.items() if array is not None})
    return str(target)
