"""What clients ask of the gate: tags' values that come back equal, and what is refused with its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_ppo_flavor.contract.request import (
    LONGEST_OVERRIDE,
    MODEL_REQUESTS,
    SHORTEST_OVERRIDE,
    VERSION_REQUESTS,
    Approve,
    OverrideRequest,
    Question,
    Request,
    Retire,
    Reverify,
    Rollback,
    Withdraw,
)
from mlflow_ppo_flavor.errors import SpecError
from tests.contract import contracts

labels = contracts.references.map(lambda reference: reference.label)
requests = st.one_of(
    st.builds(Retire, contracts.trader_ids, st.none() | labels),
    st.builds(Rollback, labels),
    st.builds(Withdraw, labels),
    st.builds(Approve, labels),
    st.builds(
        OverrideRequest,
        labels,
        st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=40),
        st.integers(SHORTEST_OVERRIDE, LONGEST_OVERRIDE),
    ),
    st.just(Reverify()),
)
questions = st.builds(
    Question,
    st.sampled_from(("guard", "history", "standing", "audit", "verdict")),
    st.integers(1, 1_000),
    st.none() | st.integers(1, 2**63 - 1),
    st.none() | labels,
    st.none() | labels,
    st.integers(0, 1_000),
)


@given(requests)
def test_a_request_comes_back_equal_through_its_tag(asked: Request) -> None:
    assert type(asked).parse(asked.value) == asked
    assert type(asked).from_dict(asked.to_dict()) == asked
    assert (MODEL_REQUESTS | VERSION_REQUESTS)[asked.tag] is type(asked)


@given(questions)
def test_a_question_comes_back_equal_through_its_search(asked: Question) -> None:
    assert Question.parse(asked.value) == asked


def test_the_highest_numbers_that_a_message_names_are_taken() -> None:
    asked = Question("standing", limit=1_000, before=2**63 - 1, versions=1_000, below=2**63 - 1)
    assert Question.parse(asked.value) == asked


def test_stages_are_read_in_any_case_and_written_in_one() -> None:
    assert Rollback.parse('{"reference":"pRODUCTION"}') == Rollback("Production")
    assert Retire.parse('{"trader_id":"live-1"}') == Retire("live-1", None)
    assert Retire("live-1").value == '{"trader_id":"live-1"}'


REFUSED = {
    (Rollback, "{"): "ppo.rollback: found no JSON (Expecting property name enclosed in double quotes: line 1 column 2 "
    "(char 1)), expected the canonical JSON of a request",
    (Rollback, "[]"): "ppo.rollback: found [], expected a mapping",
    (Rollback, "{}"): "ppo.rollback.reference: found nothing, expected a string",
    (
        Rollback,
        '{"reference":"latest"}',
    ): "ppo.rollback.reference: found 'latest', expected Production, Staging or @alias",
    (Withdraw, '{"reference":"Production","version":3}'): "ppo.withdraw.version: found an unknown key, expected one of "
    "reference",
    (
        Retire,
        '{"trader_id":"a b"}',
    ): "ppo.retire.trader_id: found 'a b', expected an id of letters, digits, . _ - (64 at most)",
    (Approve, None): "ppo.approve: found None, expected a string",
    (OverrideRequest, '{"reference":"Staging","reason":"a\\nb","expires_seconds":60}'): "ppo.override.reason: found "
    "'a\\nb', expected one line of text",
    (OverrideRequest, '{"reference":"Staging","reason":"why","expires_seconds":59}'): "ppo.override.expires_seconds: "
    "found 59, expected a whole number in [60, 604800]",
    (Reverify, '{"x":1}'): "ppo.reverify.x: found an unknown key, expected no key",
}


@pytest.mark.parametrize(("kind", "value"), REFUSED, ids=map(str, range(len(REFUSED))))
def test_what_is_no_request_is_refused_with_its_place(kind: type[Request], value: str) -> None:
    with pytest.raises(SpecError) as caught:
        kind.parse(value)
    assert str(caught.value) == REFUSED[kind, value]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("x", "ppo.report: found 'x', expected one of guard, history, standing, audit, verdict"),
        ("history?limit=0", "ppo.report.limit: found 0, expected a whole number in [1, 1000]"),
        ("history?limit=ten", "ppo.report.limit: found 'ten', expected a whole number in [1, 1000]"),
        ("history?limit=1&limit=2", "ppo.report[1]: found limit a second time, expected each once"),
        ("standing?reference=latest", "ppo.report.reference: found 'latest', expected Production, Staging or @alias"),
        ("standing?after=latest", "ppo.report.after: found 'latest', expected Production, Staging or @alias"),
        ("audit?after=@v1", "ppo.report.after: found '@v1', expected an alias that MLflow allows, such as @champion"),
        (
            f"history?before={2**63}",
            "ppo.report.before: found 9223372036854775808, expected a whole number in [1, 9223372036854775807]",
        ),
        (
            f"standing?below={'9' * 20}",
            "ppo.report.below: found '99999999999999999999', expected a whole number in [1, 9223372036854775807]",
        ),
    ],
)
def test_what_is_no_question_is_refused_with_its_place(value: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        Question.parse(value)
    assert str(caught.value) == message
