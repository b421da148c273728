"""A deadline: an answer in time, its error, or none; and a source that never answers holds up no registration."""

import socket
import threading
import time

import pytest

from mlflow_ppo_flavor.registry import artifacts
from mlflow_ppo_flavor.registry.deadline import within


def test_an_answer_and_an_error_arrive() -> None:
    assert within(5.0, lambda: 7) == 7
    with pytest.raises(KeyError, match="gone"):
        within(5.0, lambda: {}["gone"])


def test_what_does_not_come_in_time_is_given_up() -> None:
    waiting = threading.Event()
    started = time.monotonic()
    with pytest.raises(TimeoutError, match=r"^no answer within 0\.05 s$"):
        within(0.05, waiting.wait)
    assert time.monotonic() - started < 5.0
    waiting.set()


def test_a_time_out_of_the_one_that_was_asked_is_told_in_its_own_words() -> None:
    def ask() -> None:
        raise TimeoutError("the store's own")

    with pytest.raises(TimeoutError, match=r"^the store's own$"):
        within(5.0, ask)


def test_a_source_that_never_answers_is_unknown_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        contract = artifacts.read_contract(f"http://127.0.0.1:{silent.getsockname()[1]}/model")
    assert not contract.known
    assert "no answer within 0.5 s" in contract.reason
