"""The bounds of an MLmodel: what is refused before it is loaded, and after its aliases unfolded."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mlflow_ppo_flavor.contract.mlmodel import DEEPEST, LONGEST_NUMBER, MOST_VALUES, check_events, check_values
from mlflow_ppo_flavor.errors import SpecError

LOADERS = (yaml.CSafeLoader, yaml.SafeLoader)


def events(text: str, loader: Any = yaml.CSafeLoader) -> Iterator[object]:
    return iter(yaml.parse(text, Loader=loader))


def refused(text: str, loader: Any = yaml.CSafeLoader) -> str:
    with pytest.raises(SpecError) as caught:
        check_events(events(text, loader), "MLmodel")
    return str(caught.value)


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(("start", "end"), [("[", "]"), ("{a: ", "}"), ("{? ", "}")])
def test_what_is_deeper_than_a_model_is_refused(start: str, end: str, loader: Any) -> None:
    check_events(events(start * DEEPEST + end * DEEPEST, loader), "MLmodel")
    expected = "MLmodel: found values nested more than 64 deep, expected a model's handful of levels"
    assert refused(start * (DEEPEST + 1) + end * (DEEPEST + 1), loader) == expected
    assert refused(start * 5_000, loader) == expected


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="ascii")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
)


@given(values)
def test_whatever_is_written_plainly_passes_both_checks(value: Any) -> None:
    text = yaml.safe_dump(value)
    check_events(events(text), "MLmodel")
    check_values(yaml.safe_load(text), "MLmodel")


def test_a_document_is_not_read_beyond_its_bound() -> None:
    read = events("[" + "1," * (MOST_VALUES * 2) + "]")
    with pytest.raises(SpecError, match=r"^MLmodel: found more than 100000 values, expected a model's few hundred$"):
        check_events(read, "MLmodel")
    assert sum(1 for _ in read) > MOST_VALUES // 2


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{a: &a {b: 1}, c: {<<: *a}}", "a merge key (<<), expected every value written out"),
        ("{a: &a {b: 1}, c: {!!merge x: *a}}", "a merge key (<<), expected every value written out"),
        ("a: " + "1:" * LONGEST_NUMBER + "1", "a number of more than 1000 digits, expected a model's ordinary numbers"),
        ("a: !!int '" + "1:" * LONGEST_NUMBER + "1'", "a number of more than 1000 digits, expected a model's ordinary"),
        ("a: -" + "9" * LONGEST_NUMBER, "a number of more than 1000 digits, expected a model's ordinary numbers"),
    ],
)
def test_what_unfolds_while_it_is_loaded_is_refused(text: str, found: str) -> None:
    assert refused(text).startswith(f"MLmodel: found {found}")


def test_long_texts_and_aliases_are_no_reason() -> None:
    check_events(events(yaml.safe_dump({"notes": "1 fine day " * 5_000, "digits": "1" * 2_000})), "MLmodel")
    check_events(events("{a: &a [1, 2], b: *a}"), "MLmodel")


def test_values_are_counted_as_aliases_unfold_them() -> None:
    shared: Any = [0] * 100
    for _ in range(2):
        shared = [shared] * 40
    with pytest.raises(SpecError, match=r"^flavors: found more than 100000 values"):
        check_values({"a": shared}, "flavors")
    check_values([0] * (MOST_VALUES - 1), "flavors")
