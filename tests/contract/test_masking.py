"""Passwords of URIs in texts that others wrote: none is left, and what is none stays."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_ppo_flavor.contract.masking import masked, passwords

# what a URI's password may hold as it is; anything else is written %…
WRITTEN = st.text(string.ascii_letters + string.digits + "-._~!$&()*+,;=%@:", min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("http://user:pw@host:5000/x", "http://user:***@host:5000/x"),
        ("request to http://user:p@w@host/x?a=b@c failed", "request to http://user:***@host/x?a=b@c failed"),
        ("ppo:postgresql+psycopg2://x:pw@[bad/db", "ppo:postgresql+psycopg2://x:***@[bad/db"),
        ("postgresql://u:a/b@db/mlflow", "postgresql://u:***@db/mlflow"),
        ("postgresql://:pw@db/mlflow", "postgresql://:***@db/mlflow"),
        ("postgresql:///mlflow?user=u&password=pw&host=db", "postgresql:///mlflow?user=u&password=***&host=db"),
        ("https://token@host/x", "https://***@host/x"),
        ("'http://a:b@one' and 'http://c:d@two'", "'http://a:***@one' and 'http://c:***@two'"),
    ],
)
def test_the_passwords_of_uris_are_masked(text: str, becomes: str) -> None:
    assert masked(text) == becomes
    assert masked(becomes) == becomes


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:5000/#/models/m@champion",
        "http://127.0.0.1:5000: look at m@champion",
        "models:/ppo-aapl@champion",
        "sqlite:////srv/mlflow.db",
        "postgresql://user@db/mlflow",
        "ann@example.org",
    ],
)
def test_what_is_no_password_stays(text: str) -> None:
    assert masked(text) == text
    assert masked(text, passwords([text])) == text


def test_a_known_password_is_masked_wherever_it_stands_alone() -> None:
    known = passwords(["http://u:s%40crt@host", "nothing", "postgresql:///d?password=other"])
    assert known == ("s%40crt", "s@crt", "other")
    assert masked("no entry for 's@crt' or other, but another", known) == "no entry for '***' or ***, but another"
    told = "run mlflow-ppo doctor, look at mlflow.db and /srv/mlflow/x; the password was mlflow."
    assert masked(told, ["mlflow"]) == told.replace("was mlflow", "was ***")


@given(password=WRITTEN)
def test_no_password_of_a_uri_is_left(password: str) -> None:
    uri = f"postgresql+psycopg2://ann:{password}@db.example/mlflow"
    expected = "postgresql+psycopg2://ann:***@db.example/mlflow"
    assert masked(f"can't reach {uri} now") == f"can't reach {expected} now"
    assert password in passwords([uri])
