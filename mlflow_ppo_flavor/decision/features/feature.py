"""A market feature: what it is called, which bars it reads, where its values lie."""

from __future__ import annotations

from dataclasses import dataclass

MAX_LOOKBACK = 512
"""The most bars that a feature may read."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One market feature. Its value at a bar is DEFINED as computed from exactly the `lookback` bars that end there.

    `lookback` counts bars, that of the value included. Values lie in [low, high]; both are float32 numbers, so that
    rounding can't leave them. `degenerate` is the value where the denominator vanishes. `description` gives formula,
    units and source. Another formula, lookback or range is another `revision`.
    """

    name: str
    revision: int
    lookback: int
    low: float
    high: float
    degenerate: float
    description: str

    @property
    def reference(self) -> str:
        """How specs name it: `rsi_14@1`."""
        return f"{self.name}@{self.revision}"

    @property
    def scale(self) -> float:
        """The width of its range: what errors are measured against."""
        return self.high - self.low
