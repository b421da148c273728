"""Orders over a faulty line to the simulated exchange: each is placed once, and what is told of it is true."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from live.broker import Broker
from live.exchange.order import Order
from live.exchange.server import ExchangeServer
from live.orders import Orders, Patience
from live.ticket import ABSENT, UNKNOWN, OrderReport, Ticket
from mlflow_ppo_flavor.errors import BrokerError
from tests import tiers
from tests.live.exchange.venues import instant, trading_client, week_of_bars
from tests.live.faulty import Fault, Line, faulty_line
from tests.live.rooms import broker_of

pytestmark = pytest.mark.server
NUMBERS = count()
TIMEOUT = (0.5, 0.3)


class Desk:
    """Orders at a venue of their own, over a faulty line; `slept` are the seconds that they would have waited."""

    def __init__(self, server: ExchangeServer, line: Line, broker: Broker) -> None:
        self.server, self.line, self.broker = server, line, broker
        self.slept: list[float] = []
        self.orders = Orders(broker, patience=Patience(posts=3, looks=3), sleep=self.slept.append)

    def at_venue(self, ticket: Ticket) -> list[Order]:
        """All orders of this id that the venue ever took."""
        return [o for o in self.server.exchange.book.orders if o.client_order_id == ticket.client_order_id]


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    """A venue at the close of the first day, and a line that loses nothing until it is told to."""
    with ExchangeServer(week_of_bars()) as server, faulty_line(server.url) as line:
        yield Desk(server, line, broker_of(line.url, timeout=TIMEOUT, attempts=2))


@pytest.fixture(autouse=True)
def healed(desk: Desk) -> Iterator[None]:
    yield
    desk.line.heal()
    desk.slept.clear()
    trading_client(desk.server.url).cancel_orders()


def ticket(quantity: str = "1.5", symbol: str = "AAA") -> Ticket:
    """A new ticket; one share of AAA costs 10.5."""
    return Ticket.of("live-1", symbol, Decimal(quantity), next(NUMBERS), leg=0, attempt=0, reason="test")


def script(desk: Desk, posts: Sequence[Fault] = (), looks: Sequence[Fault] = (), cancels: Sequence[Fault] = ()) -> None:
    """What happens to the next requests; a lookup that may pass is tried twice by the client itself."""
    desk.line.posts.extend(posts)
    desk.line.looks.extend(looks)
    desk.line.cancels.extend(cancels)
    desk.line.asked.update(posts=0, looks=0, cancels=0)


def test_an_order_is_placed_and_told(desk: Desk) -> None:
    mine = ticket("1.123456789")
    found = desk.orders.place(mine)
    (order,) = desk.at_venue(mine)
    assert found == OrderReport(mine.client_order_id, "accepted", order_id=order.order_id)
    assert (order.request.quantity, order.request.kind, order.request.time_in_force) == (
        Decimal("1.123456789"),
        "market",
        "day",
    )
    assert desk.orders.report(mine) == found
    assert desk.slept == []


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.GATEWAY, Fault.GARBAGE, Fault.MUTE])
def test_an_order_whose_answer_was_lost_is_found_and_not_sent_again(desk: Desk, fault: Fault) -> None:
    mine = ticket()
    script(desk, posts=[fault])
    assert desk.orders.place(mine).status == "accepted"
    assert len(desk.at_venue(mine)) == desk.line.asked["posts"] == 1


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.HTML, Fault.STRAY])
def test_an_order_that_never_arrived_is_sent_again_under_its_id(desk: Desk, fault: Fault) -> None:
    mine = ticket()
    script(desk, posts=[fault])
    assert desk.orders.place(mine).status == "accepted"
    assert len(desk.at_venue(mine)) == 1
    assert desk.line.asked == {"posts": 2, "looks": 3, "cancels": 0}


def test_a_lookup_that_lags_does_not_make_a_second_order(desk: Desk) -> None:
    """The order was taken, three looks don't show it, the same one is sent again: a duplicate, which is looked up."""
    mine = ticket()
    script(desk, posts=[Fault.CUT], looks=[Fault.HIDDEN] * 3)
    assert desk.orders.place(mine).status == "accepted"
    assert len(desk.at_venue(mine)) == 1
    assert desk.line.asked == {"posts": 2, "looks": 4, "cancels": 0}
    assert desk.slept == [1.0, 1.0, 1.0]


def test_a_lookup_that_lags_a_little_is_waited_for(desk: Desk) -> None:
    mine = ticket()
    script(desk, posts=[Fault.GATEWAY], looks=[Fault.HIDDEN] * 2)
    assert desk.orders.place(mine).status == "accepted"
    assert desk.line.asked["posts"] == 1


def test_a_placed_order_may_be_placed_again(desk: Desk) -> None:
    """As a process does that was killed between the answer and writing it down."""
    mine = ticket()
    first = desk.orders.place(mine)
    assert desk.orders.place(mine) == first
    assert len(desk.at_venue(mine)) == 1


def test_a_second_try_that_is_refused_for_the_first_one_finds_the_first_one() -> None:
    """A venue may look at the shares before the id: then the same sale of all of them, sent again, is too large."""
    with ExchangeServer(week_of_bars()) as server, faulty_line(server.url) as line:
        desk = Desk(server, line, broker_of(line.url, timeout=TIMEOUT, attempts=2))
        desk.orders.place(ticket("4", "BBB"))
        server.advance(bars=1)

        class SharesFirst:
            """The same broker; the second time it sends another id, so that the venue comes to the shares."""

            cancel, lookup = desk.broker.cancel, desk.broker.lookup

            def submit(self, given: Ticket) -> OrderReport:
                return desk.broker.submit(ticket("-4", "BBB") if desk.at_venue(given) else given)

        sale = ticket("-4", "BBB")
        script(desk, posts=[Fault.CUT], looks=[Fault.HIDDEN] * 3)
        found = Orders(SharesFirst(), sleep=desk.slept.append).place(sale)
        assert found.status == "accepted"
        assert len(desk.at_venue(sale)) == 1
        assert desk.line.asked["posts"] == 2
        hidden = ticket("-4", "BBB")
        trading_client(server.url).cancel_orders()
        script(desk, posts=[Fault.CUT], looks=[Fault.HIDDEN] * 6)
        assert Orders(SharesFirst(), sleep=desk.slept.append).place(hidden).status == UNKNOWN


@pytest.mark.parametrize(
    ("quantity", "symbol", "reason"),
    [
        ("100000", "AAA", "buying_power: status 403, code 40310000: insufficient buying power"),
        ("0.01", "AAA", "too_small: status 403, code 40310000: cost basis must be >= minimal amount of order 1"),
        ("1", "ZZZ", 'symbol: status 422, code 42210000: asset "ZZZ" not found'),
        ("-1.5", "BBB", "short: status 422, code 42210000: fractional orders cannot be sold short"),
    ],
)
def test_a_refusal_is_told_with_its_reason(desk: Desk, quantity: str, symbol: str, reason: str) -> None:
    mine = ticket(quantity, symbol)
    script(desk)
    found = desk.orders.place(mine)
    assert (found.status, found.terminal, found.filled_quantity) == ("rejected", True, 0)
    assert found.reason == f"broker: POST /v2/orders: {reason}"
    assert desk.at_venue(mine) == []
    assert desk.line.asked["posts"] == 1


def test_a_rate_limit_is_waited_for_and_is_a_refusal_in_the_end(desk: Desk) -> None:
    mine, other = ticket(), ticket()
    script(desk, posts=[Fault.LIMIT] * 2)
    assert desk.orders.place(mine).status == "accepted"
    script(desk, posts=[Fault.LIMIT] * 3)
    found = desk.orders.place(other)
    assert (found.status, desk.at_venue(other)) == ("rejected", [])
    assert "rate limit exceeded" in found.reason


def test_an_order_that_nobody_can_be_asked_about_is_unknown(desk: Desk) -> None:
    mine = ticket()
    script(desk, posts=[Fault.CUT], looks=[Fault.HTML] * 9)
    found = desk.orders.place(mine)
    assert (found.status, found.terminal) == (UNKNOWN, False)
    assert "POST /v2/orders: unreachable" in found.reason
    assert "GET /v2/orders:by_client_order_id: server: status 502" in found.reason
    desk.line.heal()
    assert desk.orders.report(mine).status == "accepted"


def test_an_order_that_never_arrived_is_unknown_and_then_absent(desk: Desk) -> None:
    mine = ticket()
    script(desk, posts=[Fault.LOST] * 3)
    assert desk.orders.place(mine).status == UNKNOWN
    assert desk.line.asked == {"posts": 3, "looks": 9, "cancels": 0}
    found = desk.orders.report(mine)
    assert (found.status, found.terminal) == (ABSENT, True)


@pytest.mark.parametrize("fault", [Fault.HTML, Fault.STRAY, Fault.LOST, Fault.GARBAGE])
def test_a_failing_lookup_is_not_an_absence(desk: Desk, fault: Fault) -> None:
    mine = ticket()
    script(desk, looks=[fault] * 9)
    with pytest.raises(BrokerError, match="broker: "):
        desk.orders.report(mine)


def test_a_cancelled_order_is_told_as_cancelled(desk: Desk) -> None:
    mine = ticket()
    desk.orders.place(mine)
    assert desk.orders.cancel(mine).status == "canceled"
    assert desk.orders.cancel(mine).status == "canceled"
    script(desk)
    desk.orders.cancel(mine)
    assert desk.line.asked["cancels"] == 0


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.HTML, Fault.GATEWAY])
def test_a_cancel_whose_answer_is_lost_is_sent_again(desk: Desk, fault: Fault) -> None:
    mine = ticket()
    desk.orders.place(mine)
    script(desk, cancels=[fault])
    assert desk.orders.cancel(mine).status == "canceled"


def test_a_cancel_that_cannot_be_known_is_an_error(desk: Desk) -> None:
    mine = ticket()
    desk.orders.place(mine)
    script(desk, cancels=[Fault.STRAY])
    with pytest.raises(BrokerError, match=r"DELETE /v2/orders/.*: not_found: status 404"):
        desk.orders.cancel(mine)


def test_a_cancelled_order_that_the_lookup_loses_is_not_over(desk: Desk) -> None:
    mine = ticket()
    placed = desk.orders.place(mine)
    script(desk, looks=[Fault.NONE, *[Fault.HIDDEN] * 3])
    assert desk.orders.cancel(mine) == placed
    assert desk.orders.report(mine).status == "canceled"


def test_a_cancel_that_loses_the_race_tells_the_fill() -> None:
    """Between the look and the cancel the market opened."""
    with ExchangeServer(week_of_bars()) as server:
        broker = broker_of(server.url)

        class Racing:
            """The same broker; the market opens just before it cancels."""

            submit, lookup = broker.submit, broker.lookup

            def cancel(self, order_id: str) -> None:
                server.advance(events=1)
                broker.cancel(order_id)

        orders, mine = Orders(Racing(), sleep=lambda _: None), ticket("3")
        assert orders.place(mine).status == "accepted"
        found = orders.cancel(mine)
    assert (found.status, found.filled_quantity, found.average_price) == ("filled", Decimal(3), 11.0055)
    assert found.filled_at == instant("2012-10-25T13:30Z")


def test_an_order_that_was_never_placed_is_cancelled_as_absent(desk: Desk) -> None:
    assert desk.orders.cancel(ticket()).status == ABSENT


FAULTS = sorted(set(Fault) - {Fault.MUTE, Fault.HIDDEN}, key=lambda fault: fault.name)
LOOK_FAULTS = sorted(set(Fault) - {Fault.MUTE, Fault.LIMIT}, key=lambda fault: fault.name)


@settings(max_examples=tiers.SLOW_EXAMPLES)
@given(
    st.lists(st.sampled_from(FAULTS), max_size=4),
    st.lists(st.sampled_from(LOOK_FAULTS), max_size=8),
    st.sampled_from(["1", "1.5", "100000"]),
)
def test_whatever_is_lost_there_is_one_order_at_most(
    desk: Desk, posts: list[Fault], looks: list[Fault], quantity: str
) -> None:
    """And what was told is true: rejected means none, unknown may be both, all else is one at the venue."""
    mine = ticket(quantity)
    script(desk, posts, looks)
    found, taken = desk.orders.place(mine), len(desk.at_venue(mine))
    assert taken <= 1
    assert found.status in ("accepted", "rejected", UNKNOWN)
    assert taken == {"accepted": 1, "rejected": 0}.get(found.status, taken)
    desk.line.heal()
    again, after = desk.orders.place(mine), len(desk.at_venue(mine))
    assert after == (0 if quantity == "100000" else 1)
    assert again.status == ("accepted" if after else "rejected")
    trading_client(desk.server.url).cancel_orders()
