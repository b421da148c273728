"""What commands print of strangers' words: no terminal is steered by them, and JSON says the same value."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_ppo_flavor.cli.report import one_line, print_json, print_table, printable

ANY = st.text(st.characters(), max_size=30)


@given(text=ANY)
def test_text_is_shown_without_what_steers_a_terminal(text: str) -> None:
    assert one_line(text).isprintable()
    assert printable(text).replace("\n", "").isprintable()
    assert printable(text).count("\n") == text.count("\n")
    if text.isprintable():
        assert one_line(text) == printable(text) == text


@pytest.mark.parametrize("value", ["a\x1b[31m\x9b\u202e\x7f\xa0\n", "\ud800", "\U000e0001", {"\x1b": ["é", "日"]}])
def test_json_is_the_same_value_without_it(value: object, capsys: pytest.CaptureFixture[str]) -> None:
    print_json(value)
    out = capsys.readouterr().out
    assert json.loads(out) == value
    assert out.replace("\n", "").isprintable()


def test_a_table_shows_it_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["name"], [["a\x1b[31mb\nc"]])
    assert capsys.readouterr().out.splitlines()[1].rstrip() == "a\\x1b[31mb\\nc"
