"""A version's number comes again when its model is deleted or another one renamed: then it is another version."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from mlflow import MlflowClient

import mlflow_ppo_flavor as ppo
from live.attestor import Attestor
from live.model_source import LoadedModel
from mlflow_ppo_flavor.errors import RegistryError
from mlflow_ppo_flavor.model.policy import ActorCritic
from tests.live.trading import MODEL, SPEC, SYMBOL, Floor, Registry, always, outcome, reason, source_of
from tests.model.policies import policy_of
from tests.training.markets import HOLD, SELL_75


def go_on(floor: Floor) -> None:
    floor.exchange.advance(bars=1)


def logged_anew(registry: Registry, policy: ActorCritic) -> None:
    MlflowClient().delete_registered_model(MODEL)
    assert registry.log(policy) == 1


def renamed(registry: Registry, policy: ActorCritic) -> None:
    assert registry.log(policy, model="other") == 1
    MlflowClient().rename_registered_model(MODEL, "before")
    MlflowClient().rename_registered_model("other", MODEL)


@pytest.mark.parametrize("label", ["Production", "@champion"])
@pytest.mark.parametrize("replace_by", [logged_anew, renamed])
def test_another_version_of_the_same_number_takes_over(
    replace_by: Callable[[Registry, ActorCritic], None], label: str, registry: Registry, buying: Floor
) -> None:
    registry.promote(1, label)
    buying.label = label
    with buying.trader() as trader:
        assert outcome(trader) == "decided"
        first = trader.model.digest
        replace_by(registry, always(SELL_75))
        registry.promote(1, label)
        go_on(buying)
        assert "SELL_75%: order of -" in reason(trader)
        assert (trader.model.version, trader.model.digest == first) == (1, False)
        (event,) = trader.rooms.journal.events("model_swapped")
        assert event.reason == f"{trader.source.reference}: version 1 → another version 1"
        assert [each.model_digest == first for each in trader.rooms.journal.decisions(SYMBOL)] == [True, False]


def test_a_refused_version_does_not_keep_its_successor_of_the_same_number_out(
    registry: Registry, buying: Floor
) -> None:
    strange = policy_of(replace(SPEC, features=("return_1@9", *SPEC.features[1:])))
    with buying.trader() as trader:
        outcome(trader)
        for _ in range(2):
            MlflowClient().delete_registered_model(MODEL)
            ppo.log_model(strange, name="policy", registered_model_name=MODEL)
            registry.force(1)
            outcome(trader)
            outcome(trader)
        assert len(trader.rooms.journal.events("model_refused")) == 2
        logged_anew(registry, always(HOLD))
        registry.promote(1)
        go_on(buying)
        assert "HOLD: nothing to order" in reason(trader)


def test_a_version_that_is_replaced_while_it_is_loaded_is_not_taken_for_it(registry: Registry, buying: Floor) -> None:
    source = source_of()
    found = source.resolve()
    assert found is not None
    loaded = source.load_resolved(found)
    assert isinstance(loaded, LoadedModel)
    assert loaded.resolution == found
    logged_anew(registry, always(HOLD))
    told = f"^{MODEL}/Production version 1: another version took its place while it was loaded$"
    with pytest.raises(RegistryError, match=told):
        source.load_resolved(found)


def test_another_version_of_the_same_number_is_attested_too(registry: Registry, buying: Floor) -> None:
    buying.attesting = Attestor
    with buying.trader() as trader:
        logged_anew(registry, always(HOLD))
        registry.promote(1)
        outcome(trader)
        outcome(trader)
    assert [line.partition(": ")[2][:8] for line in buying.told if ": attested" in line] == ["attested"] * 2
