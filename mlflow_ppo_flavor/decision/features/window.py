"""What every indicator is made of: windows of one column, compiled.

A window is a view of exactly the bars that an indicator may read, oldest first. An indicator answers NaN where its
denominator vanishes; the loop over the bars puts the feature's declared value there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt
from numba import njit

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Function = TypeVar("Function", bound=Callable[..., object])

VANISHING = 1e-9
"""Share of the price, or of the mean volume, below which a difference counts as none.

Prices carry rounding errors of 1e-16 of themselves, so what is left above this is exact to 1e-7.
"""
UNDEFINED = math.nan


def compiled(function: Function) -> Function:
    """Compile for use inside the loop over the bars: IEEE arithmetic in the order written, x / 0 is inf or NaN."""
    return cast("Function", njit(error_model="numpy")(function))


@compiled
def tail(column: Float64, bar: int, count: int) -> Float64:
    """The window of `count` bars that ends at `bar`: a view float64[count]."""
    return column[bar - count + 1 : bar + 1]


@compiled
def ratio(part: float, whole: float, measure: float) -> float:
    """part / whole; undefined where `whole` is at most 1e-9 of `measure`."""
    if whole <= VANISHING * measure:
        return UNDEFINED
    return part / whole


@compiled
def mean(window: Float64) -> float:
    """Arithmetic mean."""
    total = 0.0
    for value in window:
        total += value
    return total / len(window)


@compiled
def highest(window: Float64) -> float:
    """Largest value."""
    top = float(window[0])
    for value in window:
        top = max(top, value)
    return top


@compiled
def lowest(window: Float64) -> float:
    """Smallest value."""
    bottom = float(window[0])
    for value in window:
        bottom = min(bottom, value)
    return bottom


@compiled
def mean_offset(window: Float64) -> float:
    """The mean less the last value.

    Taken from the differences, so that a rounding error is one of theirs and not of the values, which may be 1e9 times
    larger: an unmoved price has an offset of exactly 0.
    """
    last = window[-1]
    total = 0.0
    for value in window:
        total += value - last
    return total / len(window)


@compiled
def distance(last: float, offset: float) -> float:
    """last / average - 1, where `offset` is the average less `last`."""
    return -offset / (last + offset)


@compiled
def spread(window: Float64) -> tuple[float, float]:
    """The mean less the last value, and the population standard deviation, in two passes."""
    last, offset = window[-1], mean_offset(window)
    squares = 0.0
    for value in window:
        squares += (value - last - offset) ** 2
    return offset, math.sqrt(squares / len(window))


@compiled
def log_root_mean_square(numerators: Float64, denominators: Float64) -> float:
    """Root of the mean squared log(numerator / denominator), about zero."""
    squares = 0.0
    for i in range(len(numerators)):
        squares += math.log(numerators[i] / denominators[i]) ** 2
    return math.sqrt(squares / len(numerators))


@compiled
def true_range(high: float, low: float, previous_close: float) -> float:
    """Wilder's true range (New Concepts in Technical Trading Systems, 1978): the bar with the gap before it."""
    return max(high - low, abs(high - previous_close), abs(low - previous_close))


@compiled
def typical_price(high: float, low: float, close: float) -> float:
    """(high + low + close) / 3; of three differences, the difference of typical prices."""
    return (high + low + close) / 3.0
