"""The rooms over a server on loopback, with sleeps that are noted instead of slept."""

from __future__ import annotations

from typing import Any

from live.access import Credentials, Endpoints
from live.alpaca import Alpaca
from live.broker import Broker
from live.exchange.server import SIMULATED_KEY_ID, SIMULATED_SECRET_KEY

KEYS = Credentials(SIMULATED_KEY_ID, SIMULATED_SECRET_KEY)


def alpaca_of(url: str, **options: Any) -> Alpaca:
    """The wrapped clients of a server; nothing is slept between two tries."""
    endpoints = Endpoints.choose(paper=True, trading_url=url, data_url=url)
    return Alpaca(endpoints, KEYS, **{"sleep": lambda _: None, **options})


def broker_of(url: str, **options: Any) -> Broker:
    """The broker of a server."""
    return Broker(alpaca_of(url, **options))
