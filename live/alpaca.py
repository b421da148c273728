"""Alpaca: alpaca-py's real clients with what they lack: a timeout, a pace, bounded retries, and one kind of error."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from alpaca.common.exceptions import APIError
from alpaca.common.rest import RESTClient
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.trading.client import TradingClient
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from live.access import Credentials, Endpoints, is_loopback
from live.pace import Pace
from live.problem import Kind, Problem, read_answer
from mlflow_ppo_flavor.errors import BrokerError

T = TypeVar("T")
TIMEOUT_SECONDS = (3.05, 10.0)
REQUESTS_PER_MINUTE = 180
ATTEMPTS = 4
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0


class Alpaca:
    """The two clients of one account: `trading` and `data`, called through `ask` or `tell`.

    Every failure leaves as a BrokerError with a Problem and nothing behind it: exceptions of requests and alpaca-py
    hold the request with its keys. alpaca-py's own retries, which repeat orders, are off.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        credentials: Credentials,
        *,
        timeout: tuple[float, float] = TIMEOUT_SECONDS,
        attempts: int = ATTEMPTS,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`timeout` is (to connect, between bytes) in seconds; `attempts` is how often a read is tried."""
        self.endpoints = endpoints
        self._credentials = credentials
        self._sleep, self._monotonic = sleep, monotonic
        self._retrying = Retrying(
            stop=stop_after_attempt(attempts),
            wait=wait_exponential(multiplier=_FIRST_WAIT, max=_LONGEST_WAIT),
            retry=retry_if_exception(_is_passing),
            sleep=sleep,
            reraise=True,
        )
        keys = credentials.key_id, credentials.secret_key
        self.trading = TradingClient(*keys, paper=True, url_override=endpoints.trading_url)
        self.data = StockHistoricalDataClient(*keys, url_override=endpoints.data_url)
        self._guard(self.trading, endpoints.trading_url, timeout)
        self._guard(self.data, endpoints.data_url, timeout)

    def ask(self, call: Callable[[], T]) -> T:
        """What a call that only reads answers; tried again a few times where that may help. BrokerError otherwise."""
        answer: T = self._retrying(self.tell, call)
        return answer

    def tell(self, call: Callable[[], T]) -> T:
        """What a call that changes something answers; tried once. BrokerError, whose problem may be ambiguous."""
        problem: Problem
        try:
            return call()
        except APIError as error:
            problem = self._refused(error)
        except requests.exceptions.JSONDecodeError as error:
            problem = self._problem(Kind.UNREADABLE, "", f"the answer is no JSON: {error.msg}")
        except requests.RequestException as error:
            problem = self._problem(Kind.UNREACHABLE, _asked(error.request), type(error).__name__)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            problem = self._problem(Kind.UNREADABLE, "", f"the answer has another shape: {type(error).__name__}")
        # raised here and not above, so that the caught exception, which holds the keys, isn't its context
        raise BrokerError(problem.text, problem)

    def __repr__(self) -> str:
        """The two addresses, no keys."""
        return f"Alpaca({self.endpoints.trading_url}, {self.endpoints.data_url})"

    def _guard(self, client: RESTClient, url: str, timeout: tuple[float, float]) -> None:
        """Give a client's session a timeout and a pace; on loopback, no proxy and no limit."""
        session = client._session  # noqa: SLF001 -- alpaca-py offers no other way to a timeout
        client._retry = 0  # noqa: SLF001 -- nor to stop it from sending an order twice
        local = is_loopback(url)
        session.trust_env = not local
        pace = Pace(None if local else REQUESTS_PER_MINUTE)
        send = session.request

        def request(method: str, address: str, **options: Any) -> requests.Response:
            self._sleep(pace.delay(self._monotonic()))
            pace.note(self._monotonic())
            return send(method, address, **{"timeout": timeout, **options})

        session.request = request  # type: ignore[method-assign,assignment]

    def _refused(self, error: APIError) -> Problem:
        """The problem of an error answer; its body may be anything, so alpaca-py's own reading of it isn't used."""
        status, body = error.status_code, str(error)
        found = read_answer(_asked(error.request), int(status or 0), body)
        return Problem(found.kind, found.asked, found.status, found.code, self._credentials.redact(found.message))

    def _problem(self, kind: Kind, asked: str, message: str) -> Problem:
        return Problem(kind, asked or "a request", None, None, self._credentials.redact(message))


def _is_passing(error: BaseException) -> bool:
    return isinstance(error, BrokerError) and isinstance(error.problem, Problem) and error.problem.is_passing


def _asked(request: requests.Request | requests.PreparedRequest | None) -> str:
    """Method and path of a request: neither its headers nor its query."""
    if request is None:
        return "a request"
    return f"{request.method} {urlsplit(str(request.url)).path}"
