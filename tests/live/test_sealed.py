"""Traders that trade nothing without a valid verdict: at the start, at every swap, and over restarts."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

import mlflow_ppo_flavor as ppo
from live.journal import Journal
from live.model_source import LoadedModel, RefusedModel
from live.trader import LiveTrader
from live.watch import Watch
from mlflow_ppo_flavor.contract.seal import SealedVerdict
from mlflow_ppo_flavor.errors import NotTrading, RegistryError
from tests.live.sealing import REFERENCE, VERDICT, Signatory
from tests.live.trading import (
    MODEL,
    OTHER,
    SPEC,
    Floor,
    Registry,
    always,
    lively,
    orders_of,
    outcome,
    source_of,
)
from tests.model.policies import policy_of
from tests.training.markets import HOLD

NO_VERDICT = (
    "[safety] verdict: found none, expected one that the registry signed for {}: "
    "move it through the registry's gate (`mlflow-ppo promote`), or let `mlflow-ppo guard install URI --adopt` sign it"
)


def digest_of(version: int) -> str:
    return MlflowClient().get_model_version(MODEL, str(version)).tags["ppo.digest"]


@pytest.fixture
def signatory() -> Signatory:
    return Signatory()


@pytest.fixture
def sealed(buying: Floor, signatory: Signatory) -> Floor:
    """A floor whose traders want verdicts; that on version 1 is signed, as number 1."""
    signatory.sign(digest=digest_of(1))
    buying.seals = lambda journal: signatory.check(*journal.verdicts())
    return buying


def remembered(floor: Floor) -> list[tuple[int, int]]:
    """(sequence, version) of every verdict that the journal remembers."""
    with floor.journal() as journal:
        return [(verdict.sequence, verdict.version) for verdict in journal.verdicts()]


def go_on(floor: Floor, trader: LiveTrader) -> str:
    """The next bar, and what came of it."""
    floor.exchange.advance(bars=1)
    return outcome(trader)


def test_a_sealed_version_trades_and_its_verdict_is_remembered(sealed: Floor) -> None:
    with sealed.trader() as trader:
        assert outcome(trader) == "decided"
        assert trader.model.sealed is not None
    assert len(orders_of(sealed)) == 1
    assert remembered(sealed) == [(1, 1)]


def test_without_a_verdict_it_does_not_start_and_orders_nothing(sealed: Floor, signatory: Signatory) -> None:
    signatory.seals.clear()
    with pytest.raises(NotTrading) as caught, sealed.trader():
        pass
    place = f"{MODEL}/Production version 1"
    assert str(caught.value) == f"{place}: refused, 1 finding(s)\n  {NO_VERDICT.format(place)}"
    assert orders_of(sealed) == ()


def test_a_swap_without_a_verdict_is_refused_once_and_made_when_the_verdict_comes(
    registry: Registry, sealed: Floor, signatory: Signatory
) -> None:
    """The last good model goes on meanwhile, and nobody has to start the trader again."""
    second = registry.log(always(HOLD))
    with sealed.trader() as trader:
        outcome(trader)
        registry.force(second)
        signatory.seals.clear()
        for _ in range(3):
            assert go_on(sealed, trader) == "decided"
        (event,) = trader.rooms.journal.events("model_refused")
        place = f"{MODEL}/Production version {second}"
        expected = f"{place}: refused, 1 finding(s)\n  {NO_VERDICT.format(place)}\n  version 1 goes on"
        assert event.reason == expected
        assert sealed.told.count(expected) == 1
        signatory.sign(digest=digest_of(1))
        go_on(sealed, trader)
        assert trader.model.version == 1
        refusals = [event.reason.splitlines()[1] for event in trader.rooms.journal.events("model_refused")]
        assert ["verdict.version: found 1, what is loaded has 2" in line for line in refusals] == [False, True]
        signatory.sign(version=second, digest=digest_of(second), sequence=2)
        assert go_on(sealed, trader) == "decided"
        assert trader.model.version == second
    assert remembered(sealed) == [(2, second)]


@pytest.mark.parametrize(("on_refused", "state"), [("reduce", "REDUCING"), ("halt", "HALTED")])
def test_a_swap_without_a_verdict_is_as_any_refused_one(
    on_refused: Any, state: str, registry: Registry, sealed: Floor
) -> None:
    second = registry.log(always(HOLD))
    with sealed.trader(on_refused=on_refused) as trader:
        outcome(trader)
        registry.force(second)
        go_on(sealed, trader)
        assert trader.rooms.journal.conduct().state == state


def test_an_older_verdict_is_refused_also_after_a_restart(
    registry: Registry, sealed: Floor, signatory: Signatory
) -> None:
    """Somebody puts back the database's row of an earlier verdict, and its version with it."""
    old_seal, second = signatory.seals[REFERENCE], registry.log(always(HOLD))
    registry.promote(second)
    signatory.sign(version=second, digest=digest_of(second), sequence=2)
    with sealed.trader() as trader:
        outcome(trader)
    registry.force(1)
    signatory.seals[REFERENCE] = old_seal
    told = (
        "[safety] verdict.sequence: found 1 (version 1), this trader has seen 2 (version 2): "
        "don't trade it: look who wrote to the registry's database (`mlflow-ppo audit`)"
    )
    with pytest.raises(NotTrading) as caught, sealed.trader():
        pass
    assert told in str(caught.value)
    # what a journal without the memory would have done
    sealed.seals = lambda journal: signatory.check()
    with sealed.trader() as trader:
        assert trader.model.version == 1


def test_a_valid_verdict_is_remembered_also_where_the_model_is_refused(
    registry: Registry, sealed: Floor, signatory: Signatory
) -> None:
    strange = policy_of(replace(SPEC, features=("return_1@9", *SPEC.features[1:])))
    second = int(ppo.log_model(strange, name="policy", registered_model_name=MODEL).registered_model_version)
    with sealed.trader() as trader:
        outcome(trader)
        registry.force(second)
        signatory.sign(version=second, digest=digest_of(second), sequence=7)
        go_on(sealed, trader)
        assert trader.model.version == 1
    assert remembered(sealed) == [(7, second)]


def test_where_none_is_required_a_missing_verdict_is_an_event_and_an_invalid_one_refused(
    registry: Registry, sealed: Floor, signatory: Signatory
) -> None:
    signatory.seals.clear()
    sealed.seals = lambda journal: signatory.check(*journal.verdicts(), required=False)
    second = registry.log(always(HOLD))
    with sealed.trader() as trader:
        warning = NO_VERDICT.format(f"{MODEL}/Production version 1").replace("safety", "warning")
        assert sealed.told.count(warning) == 1
        registry.promote(second)
        outcome(trader)
        assert trader.model.version == second
        reasons = [event.reason for event in trader.rooms.journal.events("no_verdict")]
        assert [reason.partition(": [warning] ")[0] for reason in reasons] == [
            f"{MODEL}/Production version {version}" for version in (1, second)
        ]
        stranger = Signatory()
        signatory.seals[REFERENCE] = stranger.sign()
        registry.promote(1)
        outcome(trader)
        assert trader.model.version == second
        (event,) = trader.rooms.journal.events("model_refused")
        assert "[safety] verdict: found one signed with key " in event.reason
    assert remembered(sealed) == []


class MovingSignatory(Signatory):
    """The gate moves the reference while the trader asks: `before` a verdict is answered, and `after`."""

    before: Callable[[], None] | None = None
    after: Callable[[], None] | None = None

    def fetch(self, reference: Any) -> Any:
        """The answer, between two moves, which are made once."""
        before, self.before = self.before, None
        after, self.after = self.after, None
        if before is not None:
            before()
        found = super().fetch(reference)
        if after is not None:
            after()
        return found


def test_a_reference_that_moves_between_the_questions_is_looked_at_again(registry: Registry) -> None:
    """Neither version is refused: that would halt a trader with `--on-refused halt` over a race."""
    first, second = registry.log(always(HOLD)), registry.log(lively())
    signed: list[SealedVerdict] = []

    def move(version: int) -> None:
        registry.promote(version)
        sequence = len(signed) + 1
        signed.append(signatory.sign(version=version, digest=digest_of(version), sequence=sequence).verdict)

    signatory = MovingSignatory()
    move(first)
    signatory.before = lambda: move(second)
    source = source_of(seals=signatory.check())
    told = f"{MODEL}/Production version {first}: the reference moved on while its verdict was checked"
    with pytest.raises(RegistryError, match=f"^{told}$"):
        source.load(first)
    assert isinstance(source.load(second), LoadedModel)
    # there and back: the first answer speaks of the version in between
    signatory.before, signatory.after = lambda: move(first), lambda: move(second)
    assert isinstance(source.load(second), LoadedModel)
    assert [verdict.version for verdict in signed] == [first, second, first, second]


def test_a_refused_verdict_costs_no_download(registry: Registry, tmp_path: Path) -> None:
    """Nothing of the model is touched before the verdict is checked; and it is asked for again at every look."""
    signatory, version = Signatory(), registry.log(always(HOLD))
    registry.promote(version)
    artifacts = tmp_path / "artifacts"
    artifacts.rename(tmp_path / "away")
    watch = Watch(source_of(seals=signatory.check()))
    for _ in range(3):
        sighting = watch.look(OTHER)
        assert isinstance(sighting.loaded, RefusedModel)
        assert sighting.loaded.for_its_verdict
    (tmp_path / "away").rename(artifacts)
    signatory.sign(version=version, digest=digest_of(version))
    loaded = watch.look(OTHER).loaded
    assert isinstance(loaded, LoadedModel)
    assert watch.look(OTHER).loaded is loaded
    # what a trader without keys does
    assert isinstance(source_of().load(version), LoadedModel)


def test_the_journal_keeps_the_newest_verdict_of_each_reference(tmp_path: Path) -> None:
    other = replace(VERDICT, label="@champion", sequence=4)
    with Journal.open(tmp_path, "live-1") as journal:
        assert journal.verdicts() == ()
        for verdict in (VERDICT, other, replace(VERDICT, sequence=2, version=3)):
            journal.remember_verdict(verdict)
    with Journal.open(tmp_path, "live-1") as journal:
        assert journal.verdicts() == (replace(VERDICT, sequence=2, version=3), other)
