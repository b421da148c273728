"""The trader follows its reference: swaps, refused swaps, an empty reference, and a registry that doesn't answer."""

import threading
import time
from dataclasses import replace

import pytest

import mlflow_ppo_flavor as ppo
from live.model_source import LoadedModel, RefusedModel
from live.resolution import Resolution
from live.trader import LiveTrader
from live.watch import BackgroundWatch, Sighting, Watch
from mlflow_ppo_flavor.errors import NotTrading
from mlflow_ppo_flavor.model.policy import ActorCritic
from tests.live.trading import (
    FIRST,
    MODEL,
    OTHER,
    SPEC,
    SYMBOL,
    Floor,
    Registry,
    always,
    decided_bars,
    golden_of,
    orders_of,
    outcome,
    reason,
    source_of,
)
from tests.model.policies import policy_of
from tests.training.markets import BUY_75, HOLD, SELL_75

EMPTY = f"{MODEL}/Production: no version stands there"


def refusable(registry: Registry) -> int:
    """A version that this trader refuses, put into Production past the gate."""
    strange: ActorCritic = policy_of(replace(SPEC, features=("return_1@9", *SPEC.features[1:])))
    version = int(ppo.log_model(strange, name="policy", registered_model_name=MODEL).registered_model_version)
    registry.force(version)
    return version


def go_on(floor: Floor, trader: LiveTrader) -> str:
    """The next bar, and what came of it."""
    floor.exchange.advance(bars=1)
    return outcome(trader)


def conduct(trader: LiveTrader) -> str:
    return trader.rooms.journal.conduct().state


def position(trader: LiveTrader) -> float:
    return float(trader.desks[0].standing.state.quantity)


def test_a_new_version_takes_over_between_two_bars(registry: Registry, buying: Floor) -> None:
    with buying.trader() as trader:
        outcome(trader)
        go_on(buying, trader)
        standing = trader.desks[0].standing
        registry.promote(registry.log(always(SELL_75)))
        assert outcome(trader) == "idle"
        assert trader.desks[0].standing == standing
        buying.exchange.advance(bars=1)
        assert "SELL_75%: order of -" in reason(trader)
        assert [record.model_version for record in trader.rooms.journal.decisions(SYMBOL)] == [1, 1, 2]
    assert f"{MODEL}/Production: version 1 → 2" in buying.told


def test_an_empty_reference_sells_at_the_next_bar_until_a_version_stands_there_again(
    registry: Registry, buying: Floor
) -> None:
    with buying.trader() as trader:
        outcome(trader)
        go_on(buying, trader)
        registry.empty()
        assert outcome(trader) == "idle"
        assert conduct(trader) == "REDUCING"
        buying.exchange.advance(bars=1)
        assert f"reducing: {EMPTY}: order of -" in reason(trader)
        assert outcome(trader) == "idle"
        buying.exchange.advance(bars=1)
        assert reason(trader).endswith(f"reducing: {EMPTY}; there is no position")
        assert position(trader) == 0
        registry.promote(1)
        assert outcome(trader) == "idle"
        assert conduct(trader) == "ACTIVE"
        assert go_on(buying, trader) == "decided"
        assert decided_bars(trader) == [FIRST, FIRST + 1, FIRST + 4]
    told = [line for line in buying.told if "→" in line]
    assert told == [f"ACTIVE → REDUCING: {EMPTY}", f"REDUCING → ACTIVE: {MODEL}/Production: version 1 stands there"]


def test_an_exit_counts_as_its_bars_decision_also_after_a_restart(registry: Registry, buying: Floor) -> None:
    with buying.trader() as trader:
        outcome(trader)
        buying.exchange.advance(bars=1)
        registry.empty()
        assert outcome(trader) == "exiting"
    registry.promote(1)
    with buying.trader() as trader:
        assert outcome(trader) == "idle"
        assert conduct(trader) == "ACTIVE"
        assert len(orders_of(buying)) == 2


def test_reducing_goes_on_over_a_restart_and_needs_a_version_to_start(registry: Registry, buying: Floor) -> None:
    with buying.trader() as trader:
        registry.empty()
        outcome(trader)
    with pytest.raises(NotTrading, match=EMPTY), buying.trader():
        pass
    registry.promote(1)
    with buying.trader() as trader:
        assert conduct(trader) == "REDUCING"
        assert outcome(trader) == "decided"
        assert conduct(trader) == "ACTIVE"


def test_a_refused_version_is_told_once_and_the_last_good_one_goes_on(registry: Registry, buying: Floor) -> None:
    with buying.trader() as trader:
        outcome(trader)
        version = refusable(registry)
        for _ in range(3):
            assert go_on(buying, trader) == "decided"
            assert outcome(trader) == "idle"
        assert trader.model.version == 1
        assert conduct(trader) == "ACTIVE"
        (event,) = trader.rooms.journal.events("model_refused")
        assert event.reason == (
            f"{MODEL}/Production version {version}: refused, 2 finding(s)\n"
            "  [safety] features[0]: found return_1@9, this trader computes return_1@1: upgrade the trader\n"
            "  [warning] golden: found no golden decisions, on paper this is a warning: "
            "record golden decisions with the code that trained it\n"
            "  version 1 goes on"
        )
        assert buying.told.count(event.reason) == 1
        third = registry.log(always(HOLD))
        registry.promote(third)
        assert go_on(buying, trader) == "decided"
        assert trader.model.version == third


def test_on_refused_reduce_sells_and_goes_back_to_active(registry: Registry, buying: Floor) -> None:
    with buying.trader(on_refused="reduce") as trader:
        outcome(trader)
        version = refusable(registry)
        assert go_on(buying, trader) == "exiting"
        assert trader.rooms.journal.conduct().reason == (
            f"{MODEL}/Production moved to version {version}, which is refused"
        )
        assert go_on(buying, trader) == "skipped"
        assert position(trader) == 0
        registry.force(1)
        assert go_on(buying, trader) == "decided"
        assert conduct(trader) == "ACTIVE"


def test_on_refused_halt_stays_halted_whatever_stands_there(registry: Registry, buying: Floor) -> None:
    with buying.trader(on_refused="halt") as trader:
        outcome(trader)
        version = refusable(registry)
        buying.exchange.advance(bars=1)
        expected = f"not allowed: halted: {MODEL}/Production moved to version {version}, which is refused"
        assert expected in reason(trader)
        assert position(trader) > 0
        registry.force(1)
        assert go_on(buying, trader) == "skipped"
    with buying.trader() as trader:
        registry.empty()
        assert go_on(buying, trader) == "skipped"
        assert conduct(trader) == "HALTED"
        assert position(trader) > 0
    assert [line[:12] for line in buying.told if line.startswith("HALTED")] == ["HALTED since"]


def test_a_registry_that_does_not_answer_keeps_the_last_good_model(registry: Registry, buying: Floor) -> None:
    second = registry.log(always(HOLD))
    with buying.trader() as trader:
        with registry.unreachable():
            outcome(trader)
            for _ in range(3):
                assert go_on(buying, trader) == "decided"
            assert conduct(trader) == "ACTIVE"
        told = [line for line in buying.told if line.endswith(": check the tracking URI and the server")]
        assert len(told) == 1
        registry.promote(second)
        assert go_on(buying, trader) == "decided"
        assert trader.model.version == second


def test_a_swap_that_the_venue_holds_up_is_made_later(registry: Registry, buying: Floor) -> None:
    with buying.trader() as trader:
        outcome(trader)
        registry.promote(registry.log(always(HOLD)))
        buying.exchange.fail("GET /v2/assets")
        assert go_on(buying, trader) == "decided"
        assert outcome(trader) == "idle"
        assert trader.model.version == 1
        told = [line for line in buying.told if "not swapped in yet" in line]
        assert told == [
            f"{MODEL}/Production version 2: not swapped in yet: "
            "broker: GET /v2/assets/MEANREV: server: status 503: come back later"
        ]
        buying.exchange.heal()
        assert outcome(trader) == "idle"
        assert trader.model.version == 2


def test_a_version_that_needs_more_history_than_there_is_is_refused(registry: Registry, buying: Floor) -> None:
    hungry = replace(SPEC, window=100)
    with buying.trader() as trader:
        outcome(trader)
        registry.promote(registry.log(policy_of(hungry), golden_of(policy_of(hungry))))
        assert [go_on(buying, trader) for _ in range(2)] == ["decided"] * 2
        assert trader.model.version == 1
        (event,) = trader.rooms.journal.events("model_refused")
        expected = "[safety] bars: found MEANREV: found 102 complete bars, expected 119"
        assert expected in event.reason


def test_a_version_is_loaded_once_however_often_it_is_seen(registry: Registry) -> None:
    first, second = registry.log(always(HOLD)), registry.log(always(BUY_75))
    registry.promote(second)
    watch = Watch(source_of())
    running = replace(OTHER, version=first)
    seen = [watch.look(running) for _ in range(3)]
    assert isinstance(seen[0].loaded, LoadedModel)
    assert all(sighting.loaded is seen[0].loaded for sighting in seen)
    present = source_of().resolve()
    assert present is not None
    assert (watch.look(present).resolution, watch.look(present).loaded) == (present, None)
    refused = refusable(registry)
    sighting = watch.look(present)
    assert isinstance(sighting.loaded, RefusedModel)
    assert sighting.resolution is not None
    assert (sighting.resolution.version, sighting.loaded.version) == (refused, refused)


class SlowLookout:
    """Looks that end when they are let go, with what they are given."""

    def __init__(self) -> None:
        self.gate, self.running = threading.Event(), []
        self.found: Sighting | BaseException = Sighting(replace(OTHER, version=2), trouble="")

    def look(self, running: Resolution) -> Sighting:
        """Wait, then answer."""
        self.running.append(running)
        self.gate.wait(10)
        if isinstance(self.found, BaseException):
            raise self.found
        return self.found


def until(watch: BackgroundWatch, running: Resolution, expected: object) -> None:
    """Look until something is seen."""
    for _ in range(500):
        if watch.look(running) is expected:
            return
        time.sleep(0.01)
    raise AssertionError(f"never saw {expected}")


def test_a_look_in_the_background_holds_nobody_up() -> None:
    lookout = SlowLookout()
    watch = BackgroundWatch(lookout)
    began = time.monotonic()
    for _ in range(100):
        sighting = watch.look(OTHER)
        assert (sighting.resolution, sighting.loaded, sighting.trouble) == (OTHER, None, "")
    assert time.monotonic() - began < 1
    assert lookout.running == [OTHER]
    lookout.gate.set()
    until(watch, OTHER, lookout.found)
    lookout.found = Sighting(None)
    until(watch, replace(OTHER, version=2), lookout.found)
    assert lookout.running[-1].version == 2


def test_what_goes_wrong_in_the_background_is_raised() -> None:
    lookout = SlowLookout()
    lookout.found = MemoryError("no more")
    lookout.gate.set()
    watch = BackgroundWatch(lookout)
    with pytest.raises(MemoryError, match="no more"):
        until(watch, OTHER, None)


def test_a_sighting_that_is_older_than_the_swap_changes_nothing(registry: Registry, buying: Floor) -> None:
    """The background looked before the trader swapped: it names what runs by now."""
    with buying.trader() as trader:
        stale = trader._watch.look(OTHER)
        assert isinstance(stale.loaded, LoadedModel)
        desks = trader.desks
        assert trader._follow(stale) == ""
        assert trader.desks is desks
