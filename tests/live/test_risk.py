"""What the limits allow: each one by itself, and the law that worse never allows more."""

import math
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live.record import Conduct
from live.risk import RiskLimits, RiskVerdict, RiskView, assess
from mlflow_ppo_flavor.errors import SpecError

LIMITS = RiskLimits(max_daily_loss=0.05, max_orders_per_day=10, max_overdue_seconds=900.0)
CALM = RiskView(equity=100_000.0, day_start_equity=100_000.0)
ALL = RiskVerdict(allow_increase=True, allow_orders=True, halt=False, flatten=False, reason="")
FLATTEN = (False, True, True, True)
NOTHING = (False, False, False, False)
REDUCE = (False, True, False, False)
CASES: tuple[tuple[dict[str, Any], tuple[bool, ...], str], ...] = (
    ({"equity": 95_001.0}, (True, True, False, False), ""),
    ({"equity": 120_000.0, "day_start_equity": None}, (True, True, False, False), ""),
    ({"equity": 95_000.0}, FLATTEN, "daily_loss: 5.00% of 100000.00 lost today, the limit is 5.00%"),
    ({"equity": -1.0}, FLATTEN, "daily_loss: 100.00% of 100000.00 lost today, the limit is 5.00%"),
    ({"conduct": Conduct("HALTED", "daily_loss: 6.00% lost")}, FLATTEN, "daily_loss: 6.00% lost"),
    ({"conduct": Conduct("HALTED", "positions differ")}, (False, False, True, False), "halted: positions differ"),
    ({"conduct": Conduct("HALTED")}, (False, False, True, False), "halted: without a reason"),
    ({"conduct": Conduct("REDUCING", "no version")}, REDUCE, "reducing: no version"),
    ({"kill_switch": True}, NOTHING, "kill_switch: the file KILL is in the state directory: remove it to go on"),
    ({"account_blocked": True}, NOTHING, "account_blocked: the venue blocks the account"),
    ({"account_blocked": True, "blocked_reason": "trading_blocked"}, NOTHING, "account_blocked: trading_blocked"),
    ({"orders_today": 9}, (True, True, False, False), ""),
    ({"orders_today": 10}, REDUCE, "order_limit: 10 orders today, the limit is 10"),
    ({"overdue_seconds": 900.0}, (True, True, False, False), ""),
    ({"overdue_seconds": 901.0}, NOTHING, "stale_data: the newest bar is 901 s late, the limit is 900 s"),
    ({"overdue_seconds": math.nan}, NOTHING, "stale_data: the newest bar is nan s late, the limit is 900 s"),
    ({"equity": math.nan}, NOTHING, "equity: found nan, expected a finite number"),
)
BADNESS = ("equity", "conduct", "kill_switch", "account_blocked", "orders_today", "overdue_seconds")
CONDUCTS = (Conduct("ACTIVE"), Conduct("REDUCING", "told"), Conduct("HALTED", "told"))


@st.composite
def views(draw: st.DrawFn) -> RiskView:
    return RiskView(
        equity=draw(st.floats(-1e6, 1e6)),
        day_start_equity=draw(st.none() | st.floats(0.0, 1e6)),
        conduct=draw(st.sampled_from([*CONDUCTS, Conduct("HALTED", "daily_loss: before")])),
        kill_switch=draw(st.booleans()),
        account_blocked=draw(st.booleans()),
        orders_today=draw(st.integers(0, 20)),
        overdue_seconds=draw(st.floats(0.0, 2000.0)),
    )


def permissions(verdict: RiskVerdict) -> tuple[bool, bool, bool]:
    """What a verdict permits, each the more the greater."""
    return verdict.allow_increase, verdict.allow_orders, not verdict.halt


@pytest.mark.parametrize(("view", "expected", "reason"), CASES)
def test_each_limit_by_itself(view: dict[str, Any], expected: tuple[bool, ...], reason: str) -> None:
    found = assess(LIMITS, replace(CALM, **view))
    assert (found.allow_increase, found.allow_orders, found.halt, found.flatten) == expected
    assert found.reason == reason


def test_without_a_limit_on_loss_nothing_is_flattened() -> None:
    assert assess(RiskLimits(), replace(CALM, equity=1.0)) == ALL


def test_all_reasons_are_told() -> None:
    found = assess(LIMITS, replace(CALM, equity=90_000.0, kill_switch=True, orders_today=99))
    assert [reason.partition(":")[0] for reason in found.reason.split("; ")] == [
        "daily_loss",
        "kill_switch",
        "order_limit",
    ]
    assert (found.halt, found.flatten, found.allow_orders) == (True, False, False)


def test_a_loss_stays_a_reason_after_a_restart_on_the_next_day() -> None:
    """The journal brings the halt back; the new day's first equity shows no loss any more."""
    first = assess(LIMITS, replace(CALM, equity=94_000.0))
    later = assess(LIMITS, RiskView(94_000.0, 94_000.0, conduct=Conduct("HALTED", first.reason)))
    assert (later.halt, later.flatten, later.allow_increase, later.reason) == (True, True, False, first.reason)


@given(views(), st.floats(0.0, 1e6))
def test_more_loss_never_allows_more(view: RiskView, more: float) -> None:
    before, after = assess(LIMITS, view), assess(LIMITS, replace(view, equity=view.equity - more))
    assert all(now <= then for now, then in zip(permissions(after), permissions(before), strict=True))
    assert after.flatten >= before.flatten


@given(views(), views(), st.sampled_from(BADNESS))
def test_nothing_that_is_worse_allows_more(view: RiskView, other: RiskView, what: str) -> None:
    def badness(one: RiskView) -> float:
        value = getattr(one, what)
        if isinstance(value, Conduct):
            return ("ACTIVE", "REDUCING", "HALTED").index(value.state)
        return -value if what == "equity" else float(value)

    worse = replace(view, **{what: getattr(max(view, other, key=badness), what)})
    before, after = permissions(assess(LIMITS, view)), permissions(assess(LIMITS, worse))
    if what != "conduct":
        assert all(now <= then for now, then in zip(after, before, strict=True))
    assert after[0] <= before[0]
    assert after[2] <= before[2]


@given(views())
def test_verdicts_make_sense(view: RiskView) -> None:
    found = assess(LIMITS, view)
    assert found.allow_orders or not found.allow_increase
    assert found.allow_orders or not found.flatten
    assert found.halt or not found.flatten
    assert bool(found.reason) == (not found.allow_increase)


@given(st.none() | st.floats(1e-6, 1.0), st.integers(0, 10**6), st.floats(0.0, 1e9))
def test_limits_are_read_back_as_written(loss: float | None, orders: int, overdue: float) -> None:
    limits = RiskLimits(loss, orders, overdue)
    assert RiskLimits.from_dict(limits.to_dict()) == limits
    assert set(limits.to_dict()) == {field.name for field in fields(RiskLimits)}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("max_daily_loss", 5, r"max_daily_loss: found 5, expected a number in \[1e-06, 1\]"),
        ("max_daily_loss", 0.0, r"max_daily_loss: found 0.0, expected a number in \[1e-06, 1\]"),
        ("max_orders_per_day", 1.5, "max_orders_per_day: found 1.5, expected a whole number"),
        ("max_overdue_seconds", math.nan, "max_overdue_seconds: found nan, expected a number"),
    ],
)
def test_limits_that_are_none_are_refused(field: str, value: object, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        RiskLimits.from_dict(RiskLimits().to_dict() | {field: value})
