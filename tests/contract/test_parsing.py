"""The typed readers at their edges: values that Python itself can't compare, write or encode are refused by path."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.errors import SpecError

HUGE = 10**5_000  # repr() refuses it, and no float is as large
UNWRITABLE = pytest.param(HUGE, id="huge")
HOLDS_ITSELF: list[Any] = []
HOLDS_ITSELF.append(HOLDS_ITSELF)


def refusal(read: Callable[..., Any], value: object, **options: Any) -> str:
    with pytest.raises(SpecError) as caught:
        read(value, "a.b", **options)
    assert caught.value.path.startswith("a.b")
    return str(caught.value)


@pytest.mark.parametrize("value", [10**400, -(10**400), UNWRITABLE, float("inf"), float("nan"), True, "1", None])
def test_no_number_is_anything_but_a_finite_number_in_its_bounds(value: object) -> None:
    assert refusal(parsing.number, value, low=0.0, high=1.0).endswith(", expected a number in [0, 1]")
    assert refusal(parsing.number, value, low=-1e308, high=1e308).startswith("a.b: found ")


@given(st.integers(-(10**320), 10**320) | st.floats())
def test_a_number_is_read_exactly_where_it_lies_in_its_bounds(value: float) -> None:
    if -1e6 <= value <= 1e6:
        assert parsing.number(value, "a", low=-1e6, high=1e6) == float(value)
    else:
        refusal(parsing.number, value, low=-1e6, high=1e6)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param(HUGE, "a value of type int that can't be shown", id="huge"),
        ([HUGE], "a value of type list that can't be shown"),
        (HOLDS_ITSELF, "[[...]]"),
        ("x" * 100, "'" + "x" * 76 + "..."),
    ],
)
def test_every_value_can_be_shown(value: object, shown: str) -> None:
    assert parsing.show(value) == shown
    assert refusal(parsing.flag, value) == f"a.b: found {shown}, expected true or false"


@pytest.mark.parametrize("value", [" 2.8.0", "2.8.0 ", "2.8.0\n", "\t2.8.0"])
def test_a_version_is_a_name_without_blanks_around_it(value: str) -> None:
    """PEP 440 lets them stand; a lock with such a version couldn't be read back."""
    expected = "a version such as 2.7.0 (PEP 440), without blanks around it"
    assert refusal(parsing.version, value) == f"a.b: found {value!r}, expected {expected}"


@pytest.mark.parametrize("value", ["9" * 5_000, "2." + "9" * 4_400, "1" * 101, "two", "", UNWRITABLE])
def test_no_version_takes_python_to_its_limits(value: object) -> None:
    assert "expected a version such as 2.7.0 (PEP 440)" in refusal(parsing.version, value)
    assert refusal(parsing.specifiers, f">={value}" if isinstance(value, str) else value)


@pytest.mark.parametrize("value", [",", " , ", "", ">=" + "9" * 5_000, ">=2.7.0" + " " * 100, "==two", ">=1,,x"])
def test_what_is_no_specifier_set_is_refused(value: str) -> None:
    assert "expected a specifier set such as >=2.7.0 (PEP 440)" in refusal(parsing.specifiers, value)


@pytest.mark.parametrize("value", [">=2.7.0", "~=2.7", "==2.*", ">=2.7.0, <3", "!=2.7.1", "===anything", ">=2,"])
def test_specifier_sets_stay_as_they_are_written(value: str) -> None:
    assert parsing.specifiers(value, "a") == value


def test_half_a_character_is_no_text() -> None:
    assert refusal(parsing.text, "a\ud800") == "a.b: found 'a\\ud800', expected text that UTF-8 can write"
    assert parsing.text("a\U0001f600", "a") == "a\U0001f600"


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("x" * 500, "a.b." + "x" * 77 + "..."),
        ("\ud800", "a.b.'\\ud800'"),
        pytest.param(HUGE, "a.b.a value of type int that", id="huge"),
    ],
)
def test_an_unknown_key_is_told_whatever_it_is(key: object, path: str) -> None:
    assert refusal(parsing.mapping, {key: 1}, known=("c",)).startswith(path)


def test_a_hundred_thousand_values_are_unique_or_not_at_once() -> None:
    values = tuple(map(str, range(100_000)))
    assert parsing.unique(values, "a") == values
    with pytest.raises(SpecError, match=r"^a\[100000\]: found 7 a second time, expected each once$"):
        parsing.unique((*values, "7"), "a")
