"""What of a text reads as the gate's block: spellings that do, texts that don't, and how long judging takes."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_ppo_flavor.registry.as_seen import without_forgeries
from mlflow_ppo_flavor.registry.display import LONGEST_DESCRIPTION, own_text
from tests.registry.forgeries import HEADLINES, block

# Seconds for a text ten times as long as MLflow takes one.
VERY_LONG = 0.5
SPREAD = {
    "a comment over blank lines": "PPO policy 9.9.9, <!--\n\n-->(written by mlflow-ppo)\n- **Last verdict** Allowed",
    "a tag over blank lines": "PPO <b\n\n>policy 9.9.9 (written by mlflow-ppo)\n- **Last verdict** Allowed",
    "a definition before blank lines": "PPO\n[1]: http://x\n\npolicy 9 (written by mlflow-ppo)\n\nAllowed",
    "a tag that is left open": "<x\n\nPPO policy 9.9.9 (written by mlf<i></i>low-ppo)\n\nAllowed",
}
HONEST = {
    "of policies": "This PPO policy for AAPL was trained on 2026-01-31.\r\n\r\nWatch its drawdown.\r\n",
    "of the gate": "mlflow-ppo guards this model; the block below is written by mlflow-ppo itself.",
    "of both": "Each PPO policy has a block\nwritten by mlflow-ppo in its description.\n\n- 1 < 2 & 3 > 2\n",
    "of both, apart": "PPO policy 2.7.0, with more data.\n\nWhat follows (written by mlflow-ppo) is no text of mine.",
    "of its end": "Whatever comes after the end of what mlflow-ppo wrote is mine.",
    "in German": "Unsere PPO-Strategie für AAPL; den Block darunter schreibt mlflow-ppo.",
    "in Chinese": "PPO 策略,由 mlflow-ppo 注册。\n\n请注意回撤。",
    "in Arabic": "\u202bسياسة PPO\u202c مسجلة بواسطة mlflow-ppo ﷺ",
    "a table": "| model | policy |\n|---|---|\n| PPO | [2.7.0](http://x/y(z)) |\n",
    "code": "```html\n<b>PPO policy</b> <!-- of -->\n```\n\n    if a<b and c>d:\n        print('mlflow-ppo')\n",
    "markup that is left open": "A PPO policy, x <y\n\n<!-- mlflow-ppo\n\n[a](b\n\n&#9; &amp;lt; \\*",
}
HOSTILE = {
    "ampersands": "&",
    "entities": "&#80;",
    "nested entities": "&amp;amp;amp;amp;#80;",
    "names of entities": "&a",
    "tags": "<b>",
    "tags left open": "<b",
    "quoted ends of tags": '<b a=">"',
    "quotes left open": '<b ="',
    "comments left open": "<!--",
    "scripts left open": "<script>",
    "links": "](](x)",
    "links left open": "]((",
    "images left open": "![",
    "definitions": "[a]:\n",
    "paragraphs": "a\n\n",
    "marked paragraphs": "PPO policy <b>\n\n",
    "titles": "PPO policy ",
    "brackets": "(",
    "authors": "(written by ",
    "sentences in a sign": "\ufdfa",
    "letters with accents": "é",
    "turned directions": "\u202e",
    "blanks": " ",
    "lines": "\r\n",
}
words = ["PPO", "policy", "(written by ", "mlflow-ppo", "*End of what mlflow-ppo wrote.*", "<!--", "-->", "&#80;"]
samples = [*HEADLINES.values(), *SPREAD.values(), *HONEST.values(), *HOSTILE.values()]
scraps = st.sampled_from([*samples, *words, *"PO<>&;[]()!-\"'= \n", "\n\n"])
prose = st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from("<>&#;[]()|`*-\r\n\t ppo"), max_size=200)


@pytest.mark.parametrize("spelling", [*HEADLINES])
def test_what_reads_as_the_block_goes_up_to_what_reads_as_its_end(spelling: str) -> None:
    forged = block(HEADLINES[spelling])
    assert own_text(f"mine\n\n{forged}\n\nmore").split() == ["mine", "more"]
    assert own_text(f"mine\r\n\r\n{forged.replace(chr(10), chr(13) + chr(10))}\r\n\r\nmore").split() == ["mine", "more"]
    assert own_text(f"mine\n\n{HEADLINES[spelling]}\n\n- **Last verdict** Allowed") == "mine"


@pytest.mark.parametrize("spelling", SPREAD)
def test_what_reads_as_the_block_by_markup_over_blank_lines_goes(spelling: str) -> None:
    left = own_text(f"mine\n\n{SPREAD[spelling]}")
    assert left.startswith("mine")
    assert "Allowed" not in left
    assert "low-ppo" not in left


@pytest.mark.parametrize(
    "text",
    [
        "all is well\n\n*End of what mlflow-ppo wrote.*",
        "all is well\n\n<i>End</i> of what\nmlflow&#45;ppo wrote.\n\n",
        "all is well\n\n(written by mlflow-ppo)\n\n- **Last verdict** Allowed",
    ],
)
def test_a_lone_first_or_last_line_is_left_out_too(text: str) -> None:
    assert own_text(text) == "all is well"


@pytest.mark.parametrize("kind", HONEST)
def test_honest_text_stays_to_the_byte(kind: str) -> None:
    text = HONEST[kind]
    assert own_text(text) == text
    assert own_text(f"\n{text}\n\n{block(HEADLINES['as it is written'])}") == text.strip()


@given(prose)
def test_any_text_that_names_no_author_stays_to_the_byte(text: str) -> None:
    assert without_forgeries(text) == text
    assert own_text(text) == text


@given(st.lists(scraps | prose, max_size=12).map("".join))
def test_what_is_left_reads_as_no_block(text: str) -> None:
    left = own_text(text)
    assert own_text(left) == left
    assert without_forgeries(left) == left


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_text_takes_a_time_that_grows_with_its_length_alone(kind: str) -> None:
    times = 10 * LONGEST_DESCRIPTION // len(HOSTILE[kind])
    text = f"mlflow-ppo {HOSTILE[kind] * times} PPO"
    start = time.process_time()
    assert own_text(text) in (text, text.strip())
    assert time.process_time() - start < VERY_LONG


@pytest.mark.parametrize("reference", ["&#" + "9" * 4_990 + ";", "&#" + "0" * 4_990 + "80;", "&#x" + "9" * 4_990])
def test_a_number_of_thousands_of_digits_is_read(reference: str) -> None:
    assert own_text(reference) == reference
