"""Where orders go and with which keys: hosts matched exactly, real money only where it was asked for twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from mlflow_ppo_flavor.errors import BrokerError

PAPER_URL = "https://paper-api.alpaca.markets"
LIVE_URL = "https://api.alpaca.markets"
DATA_URL = "https://data.alpaca.markets"
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})
KEY_VARIABLE, SECRET_VARIABLE = "APCA_API_KEY_ID", "APCA_API_SECRET_KEY"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The two keys. They appear in no repr, and `redact` takes them out of any text."""

    key_id: str = field(repr=False)
    secret_key: str = field(repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Credentials:
        """The keys of an environment; BrokerError where one is missing."""
        missing = [name for name in (KEY_VARIABLE, SECRET_VARIABLE) if not environment.get(name)]
        if missing:
            raise BrokerError(
                f"environment: found no {' and no '.join(missing)}, expected the keys of the account: set both"
            )
        return cls(environment[KEY_VARIABLE], environment[SECRET_VARIABLE])

    def redact(self, text: str) -> str:
        """A text without the keys, for messages that somebody else wrote."""
        for secret in (self.secret_key, self.key_id):
            text = text.replace(secret, "[key]")
        return text


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The bases of both APIs, without a slash at the end. Build with `choose`, which lets no other host through."""

    trading_url: str
    data_url: str

    @classmethod
    def choose(
        cls,
        *,
        paper: bool,
        trading_url: str | None = None,
        data_url: str | None = None,
        real_money: bool = False,
    ) -> Endpoints:
        """The endpoints for paper or real money; None takes Alpaca's own.

        Keys are sent to Alpaca's hosts and to loopback alone. Real money needs `paper=False` and `real_money=True`, and
        never trades on data from loopback. BrokerError for anything else.
        """
        if real_money and paper:
            raise BrokerError("broker: found real money and paper, expected one of them: drop one of the two options")
        if not paper and not real_money:
            raise BrokerError(
                "broker: found paper off without the word for real money, expected both: it trades real money"
            )
        trading = (trading_url or (PAPER_URL if paper else LIVE_URL)).rstrip("/")
        data = (data_url or DATA_URL).rstrip("/")
        allowed = trading == LIVE_URL if not paper else trading == PAPER_URL or is_loopback(trading)
        if not allowed:
            expected = LIVE_URL if not paper else f"{PAPER_URL} or an address on loopback"
            raise BrokerError(f"trading URL: found {_shown(trading)}, expected {expected}: keys go nowhere else")
        if data != DATA_URL and not (paper and is_loopback(data)):
            expected = f"{DATA_URL} or an address on loopback" if paper else DATA_URL
            raise BrokerError(f"data URL: found {_shown(data)}, expected {expected}: keys go nowhere else")
        return cls(trading, data)


def is_loopback(url: str) -> bool:
    """Whether a URL is http(s) on this machine alone, without a user, a path or a query."""
    try:
        parts = urlsplit(url)
        bare = parts.scheme in ("http", "https") and not (parts.path or parts.query or parts.fragment)
        return bare and parts.username is None and parts.hostname in LOOPBACK_HOSTS and parts.port != 0
    except ValueError:
        return False


def _shown(url: str) -> str:
    """A URL without what may be a secret in it."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
    except ValueError:
        return "something that is no URL"
