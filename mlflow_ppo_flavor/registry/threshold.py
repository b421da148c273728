"""Threshold: what a policy asks of a metric, `>=0.5` or `>=0.5,<3`. Pure."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.errors import SpecError

LONGEST = 100
_EXPECTED = 'a threshold such as ">=0.5", "<0.2" or ">=0.5,<3"'
_BOUND = re.compile(r" *(>=|<=|>|<) *([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?) *", re.ASCII)


@dataclass(frozen=True, slots=True)
class Threshold:
    """Bounds within which a metric must lie, all of them; `text` is how the policy writes them."""

    text: str
    bounds: tuple[tuple[str, float], ...]

    @classmethod
    def parse(cls, value: object, path: str = "threshold") -> Threshold:
        """Read `>=`, `>`, `<=` or `<` and a number, several joined by commas; SpecError for anything else."""
        if not isinstance(value, str):
            raise SpecError(path, parsing.show(value), _EXPECTED)
        if len(value) > LONGEST:
            raise SpecError(path, f"{len(value)} characters", f"{_EXPECTED} of at most {LONGEST}")
        threshold = cls(value, tuple(_bound(each, value, path) for each in value.split(",")))
        if threshold._is_empty():
            raise SpecError(path, parsing.show(value), "bounds that some number keeps")
        return threshold

    def admits(self, value: object) -> bool:
        """Whether a metric's value keeps every bound; what is no finite number keeps none.

        MLflow stores an infinite metric as the largest float.
        """
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if not abs(value) < sys.float_info.max:
            return False
        return all(_keeps(value, sign, bound) for sign, bound in self.bounds)

    def _is_empty(self) -> bool:
        low = max((bound for sign, bound in self.bounds if sign in (">", ">=")), default=-math.inf)
        high = min((bound for sign, bound in self.bounds if sign in ("<", "<=")), default=math.inf)
        strict = (">", low) in self.bounds or ("<", high) in self.bounds
        return low > high or (low == high and strict)

    def __str__(self) -> str:
        return self.text


def _bound(text: str, whole: str, path: str) -> tuple[str, float]:
    found = _BOUND.fullmatch(text)
    number = float(found[2]) if found else math.inf
    if found is None or not abs(number) < sys.float_info.max:
        raise SpecError(path, parsing.show(whole), _EXPECTED)
    return found[1], number


def _keeps(value: float, sign: str, bound: float) -> bool:
    match sign:
        case ">=":
            return value >= bound
        case ">":
            return value > bound
        case "<=":
            return value <= bound
        case _:
            return value < bound
