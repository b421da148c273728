"""One column of a feature matrix that an own feature fills, window by window."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.packages import OwnPackage
from mlflow_ppo_flavor.decision.bar_check import Columns
from mlflow_ppo_flavor.decision.bar_time import show_time
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.decision.features.own import OwnFeature
from mlflow_ppo_flavor.errors import FeatureError


@dataclass(frozen=True, slots=True)
class OwnColumn:
    """An own feature, its package, and the column of the matrix that it fills."""

    place: int
    feature: OwnFeature
    package: OwnPackage

    def fill(self, bars: Bars, first: int, out: npt.NDArray[np.float32]) -> None:
        """Fill out[i, place] with the feature's value at bar first + i, from exactly its lookback bars.

        FeatureError, with feature, bar and package, where the function raises or answers no finite number or NaN.
        """
        # whatever the caller set numpy to do with x / 0, the answer is the same
        with np.errstate(all="ignore"):
            for row in range(len(out)):
                out[row, self.place] = self._value(bars, first + row)

    def _value(self, bars: Bars, bar: int) -> float:
        window = _window(bars, bar + 1 - self.feature.lookback, bar + 1)
        try:
            answer: object = self.feature.compute(window)
        except (Exception, SystemExit) as error:
            # a stranger's function: sys.exit() there doesn't end a trader
            raise FeatureError(f"{self._where(bars, bar)}: found {parsing.told(error)}, expected a number") from error
        if isinstance(answer, bool) or not isinstance(answer, float | int | np.floating | np.integer):
            raise FeatureError(f"{self._where(bars, bar)}: found {parsing.show(answer)}, expected a number")
        return self._bounded(answer, bars, bar)

    def _bounded(self, answer: float | np.floating | np.integer, bars: Bars, bar: int) -> float:
        """The number within its range; the declared one where it is undefined."""
        try:
            number = float(answer)
        except OverflowError:
            number = math.inf
        if math.isinf(number):
            expected = "a finite number, or NaN where it is undefined"
            raise FeatureError(f"{self._where(bars, bar)}: found {parsing.show(answer)}, expected {expected}")
        return self.feature.degenerate if math.isnan(number) else min(max(number, self.feature.low), self.feature.high)

    def _where(self, bars: Bars, bar: int) -> str:
        return f"{self.feature.reference} ({self.package}), {bars.symbol} {show_time(int(bars.time[bar]))}"


def _window(bars: Bars, first: int, last: int) -> Columns:
    """The bars [first, last) as read-only arrays of their own: a view would lead to the bars around them."""
    part = bars.columns.part(slice(first, last))
    window = Columns(part.time.copy(), *(column.copy() for column in part[1:]))
    for column in window:
        column.flags.writeable = False
    return window
