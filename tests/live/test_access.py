"""Hosts are matched exactly, keys go nowhere else, and real money needs two words."""

import pytest

from live.access import DATA_URL, LIVE_URL, PAPER_URL, Credentials, Endpoints, is_loopback
from mlflow_ppo_flavor.errors import BrokerError

LOCAL = "http://127.0.0.1:8080"


def test_paper_goes_to_the_paper_host_unless_told_otherwise() -> None:
    assert Endpoints.choose(paper=True) == Endpoints(PAPER_URL, DATA_URL)
    assert Endpoints.choose(paper=True, trading_url=f"{LOCAL}/", data_url=LOCAL) == Endpoints(LOCAL, LOCAL)
    assert Endpoints.choose(paper=True, trading_url=LOCAL) == Endpoints(LOCAL, DATA_URL)


def test_real_money_needs_both_words_and_the_live_host() -> None:
    assert Endpoints.choose(paper=False, real_money=True) == Endpoints(LIVE_URL, DATA_URL)
    assert Endpoints.choose(paper=False, real_money=True, trading_url=f"{LIVE_URL}/").trading_url == LIVE_URL
    with pytest.raises(BrokerError, match="found paper off without the word for real money, expected both"):
        Endpoints.choose(paper=False)
    with pytest.raises(BrokerError, match="found real money and paper, expected one of them"):
        Endpoints.choose(paper=True, real_money=True)


@pytest.mark.parametrize(
    "url",
    [
        LIVE_URL,
        "https://api.alpaca.markets.evil.com",
        "https://paper-api.alpaca.markets.evil.com",
        "https://paper-api.alpaca.markets@evil.com",
        "https://user:word@paper-api.alpaca.markets",
        "http://paper-api.alpaca.markets",
        "https://paper-api.alpaca.markets:8443",
        "https://paper-api.alpaca.markets/v2",
        "https://PAPER-API.alpaca.markets",
        "http://127.0.0.1.evil.com",
        "http://evil.com#127.0.0.1",
        "http://127.0.0.1@evil.com",
        "http://user@127.0.0.1",
        "http://0.0.0.0:80",
        "ftp://127.0.0.1",
        "http://127.0.0.1:99999",
        "http://[::1",
        "127.0.0.1:8080",
    ],
)
def test_keys_for_paper_go_to_no_other_host(url: str) -> None:
    with pytest.raises(BrokerError, match=r"trading URL: found .*, expected https://paper-api.alpaca.markets or"):
        Endpoints.choose(paper=True, trading_url=url)
    with pytest.raises(BrokerError, match=r"data URL: found .*, expected https://data.alpaca.markets or"):
        Endpoints.choose(paper=True, data_url=url)


@pytest.mark.parametrize("url", [PAPER_URL, LOCAL, "https://api.alpaca.markets.evil.com"])
def test_real_money_goes_to_the_live_host_alone(url: str) -> None:
    with pytest.raises(BrokerError, match=r"trading URL: found .*, expected https://api.alpaca.markets: keys go"):
        Endpoints.choose(paper=False, real_money=True, trading_url=url)


def test_real_money_never_trades_on_data_from_loopback() -> None:
    with pytest.raises(
        BrokerError, match=r"data URL: found http://127.0.0.1:8080, expected https://data.alpaca.markets:"
    ):
        Endpoints.choose(paper=False, real_money=True, data_url=LOCAL)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "https://localhost:65535", "http://[::1]:8080", "http://localhost"]
)
def test_loopback_is_known_by_its_names(url: str) -> None:
    assert is_loopback(url)


def test_a_refused_address_does_not_tell_what_was_hidden_in_it() -> None:
    with pytest.raises(BrokerError) as caught:
        Endpoints.choose(paper=True, trading_url="https://name:s3cret@evil.com/path?key=s3cret")
    assert "s3cret" not in str(caught.value)


def test_keys_come_from_the_environment_and_show_nowhere() -> None:
    keys = Credentials.from_environment({"APCA_API_KEY_ID": "id-1", "APCA_API_SECRET_KEY": "word-1"})
    assert (keys.key_id, keys.secret_key) == ("id-1", "word-1")
    assert repr(keys) == "Credentials()"
    assert keys.redact("id-1 and word-1") == "[key] and [key]"
    with pytest.raises(BrokerError, match="found no APCA_API_SECRET_KEY, expected the keys of the account: set both"):
        Credentials.from_environment({"APCA_API_KEY_ID": "id-1"})
    with pytest.raises(BrokerError, match="found no APCA_API_KEY_ID and no APCA_API_SECRET_KEY"):
        Credentials.from_environment({"APCA_API_KEY_ID": ""})
