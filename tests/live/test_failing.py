"""A model that was verified and can't decide all the same: the trader goes on, and sells what it holds."""

import torch

import mlflow_ppo_flavor as ppo
from live.trader import LiveTrader
from mlflow_ppo_flavor.model.policy import ActorCritic
from tests.live.trading import MODEL, SPEC, Floor, Registry, outcome
from tests.model.policies import policy_of


def go_on(floor: Floor) -> None:
    floor.exchange.advance(bars=1)


def fragile() -> ActorCritic:
    """A policy that decides on zeros, and on nothing else: its weights are finite, its logits then aren't."""
    policy = policy_of(SPEC)
    with torch.no_grad():
        for weights in policy.parameters():
            weights.zero_()
        for layer in (layer for layer in policy.trunk.modules() if isinstance(layer, torch.nn.Linear)):
            layer.weight.fill_(1.0)
        policy.actor.weight.fill_(3e38)
    return policy


def conduct(trader: LiveTrader) -> str:
    return trader.rooms.journal.conduct().state


CANNOT = "version 2 can't decide: IntegrityError: policy: found logits or values that aren't finite"


def test_a_decision_that_fails_ends_no_trader_and_sells_at_the_next_bar(registry: Registry, buying: Floor) -> None:
    """Until the reference names another version; looking at the same one again changes nothing."""
    with buying.trader() as trader:
        outcome(trader)
        ppo.log_model(fragile(), name="policy", registered_model_name=MODEL)
        registry.force(2)
        go_on(buying)
        (turn,) = trader.cycle()
        assert turn.outcome == "failed"
        assert turn.reason.endswith(f"{CANNOT}: don't use these weights")
        (event,) = trader.rooms.journal.events("bar_passed")
        assert event.reason.startswith(CANNOT)
        assert [trader.model.version, outcome(trader), conduct(trader)] == [2, "idle", "REDUCING"]
        assert trader.rooms.journal.conduct().reason == f"{MODEL}/Production: {turn.reason}: promote another version"
        assert trader.desks[0].standing.state.quantity > 0
        go_on(buying)
        assert outcome(trader) == "exiting"
        go_on(buying)
        assert [outcome(trader), conduct(trader)] == ["skipped", "REDUCING"]
        assert trader.desks[0].standing.state.quantity == 0
        registry.force(1)
        go_on(buying)
        assert [outcome(trader), conduct(trader)] == ["decided", "ACTIVE"]


def test_after_a_restart_a_model_that_cannot_decide_reduces_again(registry: Registry, buying: Floor) -> None:
    with buying.trader() as trader:
        outcome(trader)
    ppo.log_model(fragile(), name="policy", registered_model_name=MODEL)
    registry.force(2)
    for _ in range(2):
        go_on(buying)
        with buying.trader() as trader:
            assert [outcome(trader), conduct(trader)] == ["failed", "REDUCING"]
            go_on(buying)
            assert outcome(trader) in ("exiting", "skipped")
    assert trader.desks[0].standing.state.quantity == 0
