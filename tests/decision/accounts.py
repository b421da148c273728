"""Hypothesis strategies of the decision's values: prices, quantities, fills, accounts, instruments, sizings."""

from decimal import Decimal

from hypothesis import strategies as st

from mlflow_ppo_flavor.contract.spec import Sizing
from mlflow_ppo_flavor.decision.account import AccountState, apply_fill, mark
from mlflow_ppo_flavor.decision.action import SKIPS, Decision, Instrument
from mlflow_ppo_flavor.decision.market import Costs, Fill

DAY = 86_400_000_000_000
cents = st.integers(1, 10_000_000).map(lambda number: number / 100)
prices = cents | st.floats(1e-6, 1e6)
equities = st.integers(1, 10_000_000).map(float) | st.floats(0.01, 1e9)
shares = st.floats(0, 1)


def decimals(low: int | str, high: int | str, places: int = 9) -> st.SearchStrategy[Decimal]:
    """Decimals from low to high with any number of places up to `places`."""
    return st.integers(0, places).flatmap(lambda n: st.decimals(low, high, places=n))


quantities = decimals(-1_000_000, 1_000_000).filter(bool)
costs = st.builds(Costs, st.floats(0, 100), st.floats(0, 100))
fills = st.builds(Fill, st.integers(0, 10_000).map(DAY.__mul__), quantities, prices, st.floats(-5, 50) | st.just(0.0))
# Small whole quantities and few prices: many histories return to zero, cross it or come out even.
knots = st.builds(
    Fill,
    st.integers(0, 10_000).map(DAY.__mul__),
    st.integers(-3, 3).filter(bool).map(Decimal),
    st.sampled_from((9.9, 10.0, 10.1, 0.3)),
    st.sampled_from((0.0, 0.1, 0.3)),
)
histories = st.lists(fills | prices, max_size=25) | st.lists(knots | st.sampled_from((9.9, 10.1)), max_size=40)
"""Fills and marks (a bare price) in the order in which they came."""
sizings = st.builds(Sizing, shares, shares, shares, st.booleans())
instruments = st.sampled_from(
    (
        Instrument.equity("AAPL"),
        Instrument.equity("IBM", fractionable=False),
        Instrument.equity("GOOG", shortable=False),
        Instrument.crypto("BTC/USD"),
    )
) | st.builds(
    Instrument,
    st.just("XYZ"),
    st.sampled_from(("1E-9", "0.0001", "0.02", "0.125", "0.5", "1", "3", "100")).map(Decimal),
    decimals(0, 5),
    decimals(0, 100, places=2),
    st.booleans(),
    st.just(value=True),
)


def replay(state: AccountState, history: list[Fill | float]) -> AccountState:
    """The account after a history of fills and marks."""
    for event in history:
        state = apply_fill(state, event) if isinstance(event, Fill) else mark(state, event)
    return state


reached = st.builds(lambda equity, history: replay(AccountState.start(equity), history), equities, histories)
"""Accounts that a history of fills and marks led to, ruined ones among them."""


@st.composite
def traded(draw: st.DrawFn) -> tuple[AccountState, float]:
    """An account and a price: its position is worth up to 1.5 times its equity, long or short; now and then ruined."""
    price, equity = draw(prices), draw(equities)
    worth = draw(st.just(0.0) | st.floats(-1.5, 1.5)) * equity
    places = Decimal(1).scaleb(-draw(st.integers(0, 9)))
    quantity = Decimal(worth / price).quantize(places)
    owed = draw(st.sampled_from((0.0, 0.0, 0.0, 2.0))) * equity
    cash = equity - owed - float(quantity) * price
    return AccountState(equity, cash, quantity, price, equity, 0, 0, Decimal(0)), price


decisions = st.one_of(
    st.builds(
        lambda action, size, quantity, equity, price: Decision(
            action, "GO", 1 if quantity > 0 else -1, size, quantity, abs(float(quantity)) * price, None, equity, price
        ),
        st.integers(0, 6), st.floats(0.01, 1), quantities, equities, prices,
    ),
    st.builds(
        lambda reason, equity, price: Decision(1, "BUY", 1, 0.5, Decimal(0), 0.0, reason, equity, price),
        st.sampled_from(sorted(SKIPS)) | st.none(), st.floats(-1e9, 1e9), prices,
    ),
)  # fmt: skip
