"""What an error answer means: told by status and message, since codes are overloaded."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live.problem import AMBIGUOUS, Kind, read_answer

# From Alpaca's answers: status, code, message, and what it is.
ANSWERS = [
    (422, 40010001, "client_order_id must be unique", Kind.DUPLICATE),
    (422, 42210000, "client_order_id must be unique", Kind.DUPLICATE),
    (422, 40010001, "client_order_id must be no more than 128 characters", Kind.REFUSED),
    (403, 40310000, "insufficient buying power", Kind.BUYING_POWER),
    (403, 40310000, "insufficient qty available for order (requested: 5, available: 3)", Kind.QUANTITY),
    (403, 40310000, "insufficient balance for BTC (requested: 5, available: 3)", Kind.QUANTITY),
    (403, 40310000, "cost basis must be >= minimal amount of order 1", Kind.TOO_SMALL),
    (403, 40310000, "potential wash trade detected. use complex orders", Kind.WASH_TRADE),
    (422, 40310000, "potential wash trade detected. use complex orders", Kind.WASH_TRADE),
    (422, 42210000, 'asset "AAA" cannot be sold short', Kind.SHORT),
    (422, 42210000, "fractional orders cannot be sold short", Kind.SHORT),
    (422, 42210000, 'asset "ZZZ" not found', Kind.SYMBOL),
    (404, 40410000, "asset not found for ZZZ", Kind.SYMBOL),
    (422, 42210000, "asset AAA is not active", Kind.SYMBOL),
    (422, 42210000, "fractional orders must be DAY orders", Kind.FRACTIONAL),
    (422, 42210000, 'order is already in "filled" state', Kind.OVER),
    (404, 40410000, "position does not exist", Kind.NOT_FOUND),
    (404, 40410000, "order not found for x", Kind.NOT_FOUND),
    (401, None, "unauthorized.", Kind.UNAUTHORISED),
    (403, None, "forbidden.", Kind.UNAUTHORISED),
    (403, 40310000, "new orders are rejected by user request", Kind.BLOCKED),
    (429, 42910000, "rate limit exceeded", Kind.RATE_LIMIT),
    (429, None, "too many requests.", Kind.RATE_LIMIT),
    (500, 50010000, "internal server error occurred", Kind.SERVER),
    (504, None, "client_order_id must be unique", Kind.SERVER),
    (418, None, "teapot", Kind.REFUSED),
]


@pytest.mark.parametrize(("status", "code", "message", "kind"), ANSWERS)
def test_answers_are_told_apart(status: int, code: int | None, message: str, kind: Kind) -> None:
    body = json.dumps({"message": message} if code is None else {"code": code, "message": message})
    found = read_answer("POST /v2/orders", status, body)
    assert (found.kind, found.status, found.code, found.message) == (kind, status, code, message)
    assert found.is_ambiguous == (kind in AMBIGUOUS)


def test_a_long_page_is_cut_to_one_line() -> None:
    found = read_answer("GET /v2/clock", 502, "<html>\n" + "<p>bad   gateway</p>\n" * 100)
    assert len(found.message) == 300
    assert "\n" not in found.text
    assert found.text.startswith("broker: GET /v2/clock: server: status 502: <html> <p>bad gateway</p>")


@given(st.integers(100, 599), st.text(max_size=200))
def test_any_body_at_all_gives_a_problem(status: int, body: str) -> None:
    found = read_answer("GET /", status, body)
    assert found.status == status
    assert found.is_ambiguous == (status >= 500 or status < 400)


@given(
    st.integers(400, 499).filter(lambda status: status != 429),
    st.dictionaries(
        st.sampled_from(["code", "message", "other"]), st.one_of(st.none(), st.integers(), st.text(), st.booleans())
    ),
)
def test_no_refusal_is_ever_taken_for_an_accident(status: int, body: dict[str, object]) -> None:
    """What a venue refuses isn't sent again; what it may have taken is never thought refused."""
    found = read_answer("POST /v2/orders", status, json.dumps(body))
    assert not found.is_ambiguous
    assert not found.is_passing
