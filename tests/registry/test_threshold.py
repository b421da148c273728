"""Thresholds of metrics: what they admit, and what is none."""

import math
import operator
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_ppo_flavor.errors import SpecError
from mlflow_ppo_flavor.registry.threshold import Threshold

EXPECTED = 'expected a threshold such as ">=0.5", "<0.2" or ">=0.5,<3"'


@pytest.mark.parametrize(
    ("text", "admitted", "refused"),
    [
        (">=0.5", (0.5, 0.6, 1e300, 1), (0.4999999999999999, -1, 0)),
        (">0.5", (0.5000000000000001,), (0.5,)),
        ("<=0.2", (0.2, -5), (0.21,)),
        ("<0.2", (0.1999, 0, -0.0), (0.2, 1)),
        (">=0.5,<3", (0.5, 2.9999), (0.49, 3, 4)),
        (" >= 1e-3 , <.5,>0", (0.001, 0.25), (0.0009, 0.5)),
        (">=2,<=2", (2, 2.0), (1.9999, 2.0001)),
        ("<-1.5", (-2,), (-1.5, 0)),
    ],
)
def test_what_a_threshold_admits(text: str, admitted: tuple[float, ...], refused: tuple[float, ...]) -> None:
    threshold = Threshold.parse(text)
    assert all(threshold.admits(value) for value in admitted)
    assert not any(threshold.admits(value) for value in refused)
    assert str(threshold) == text


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, sys.float_info.max, -sys.float_info.max, True, False, "1", None, [1], 10**400],
)
@pytest.mark.parametrize("text", [">=0", "<=1e9", ">-1e300"])
def test_what_is_no_finite_number_is_never_admitted(text: str, value: object) -> None:
    assert not Threshold.parse(text).admits(value)


@given(
    st.sampled_from([(">=", operator.ge), (">", operator.gt), ("<=", operator.le), ("<", operator.lt)]),
    st.floats(-1e6, 1e6),
    st.floats(-1e6, 1e6),
)
def test_a_bound_is_the_comparison_of_its_sign(signed: tuple, bound: float, value: float) -> None:  # type: ignore[type-arg]
    sign, compare = signed
    assert Threshold.parse(f"{sign}{bound!r}").admits(value) == compare(value, bound)


@pytest.mark.parametrize(
    "value",
    [0.5, 1, True, None, "", "0.5", ">=", "=>0.5", "==0.5", "!=1", ">=0.5,", ",", ">=nan", ">=inf", ">=1e400", ">=0x1",
     ">=1_000", ">= 1 2", ">=٣", ">=0.5;<3", ">=\n1"],
)  # fmt: skip
def test_what_is_no_threshold_is_refused(value: object) -> None:
    with pytest.raises(SpecError) as caught:
        Threshold.parse(value, "metrics.sharpe")
    assert str(caught.value) == f"metrics.sharpe: found {value!r}, {EXPECTED}"


@pytest.mark.parametrize("text", [">=3,<1", ">1,<1", ">=1,<1", ">1,<=1", ">=0,>5,<5"])
def test_bounds_that_no_number_keeps_are_refused(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        Threshold.parse(text)
    assert str(caught.value) == f"threshold: found {text!r}, expected bounds that some number keeps"


def test_a_long_threshold_is_refused() -> None:
    with pytest.raises(SpecError, match=f"^threshold: found 101 characters, {EXPECTED} of at most 100$"):
        Threshold.parse(">=" + "1" * 99)
