"""A contract's row is believed at the gate as far as its digest binds it; rows of older databases are read again."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from mlflow_ppo_flavor.contract.request import Approve, Reverify, Rollback
from mlflow_ppo_flavor.registry.store import GuardMixin
from tests.registry.model_folders import ppo_flavors, trained, write_mlmodel
from tests.registry.operating import Folders, as_user, ask_model, ask_version, promote, refused, resolved, verdicts

WEAKER = "(SELECT spec FROM ppo_contracts WHERE version = 1)"


def sql(store: GuardMixin, statement: str) -> None:
    with store.engine.begin() as connection:
        assert connection.execute(text(statement)).rowcount == 1


def column(store: GuardMixin, name: str, version: int) -> Any:
    with store.engine.connect() as connection:
        query = f"SELECT {name} FROM ppo_contracts WHERE version = {version}"
        return connection.execute(text(query)).scalar_one()


def codes(error: Any) -> list[str]:
    return [finding["code"] for finding in error.json_kwargs["findings"]]


@pytest.mark.parametrize(
    "edited",
    [
        f"spec = {WEAKER}",
        f"spec = {WEAKER}, flavors = '[]'",
        "flavors = (SELECT flavors FROM ppo_contracts WHERE version = 1)",
        "flavors = 'garbage'",
        "golden = 0",
        "vouched = 'Ann: I say so'",
    ],
)
def test_a_row_that_does_not_belong_together_enters_nothing_until_it_is_read_again(
    edited: str, desk: GuardMixin
) -> None:
    """Version 3 is one that the announced trader 2.6.0 can't run: by version 1's spec it would."""
    sql(desk, f"UPDATE ppo_contracts SET {edited} WHERE version = 3")
    error = refused(lambda: promote(desk, 3))
    assert error.message == (
        "Refused: m version 3 can't become Production: ppo_contracts, m version 3: a contract that isn't its digest's: "
        "reverify it\n[safety] ppo_contracts, m version 3: found a contract that isn't its digest's, spec and flavors "
        "are what the gate read, and the digest is theirs: look who wrote to the database, then run mlflow-ppo "
        "reverify on the version"
    )
    assert codes(error) == ["record_changed"]
    assert codes(refused(lambda: desk.set_registered_model_alias("m", "live", 3))) == ["record_changed"]
    with as_user("ann"):
        assert codes(refused(lambda: ask_version(desk, 3, Approve("Production")))) == ["record_changed"]
    assert (resolved(desk, "Production"), len(verdicts(desk))) == (1, 1)
    ask_version(desk, 3, Reverify())
    assert "trader_version" in codes(refused(lambda: promote(desk, 3)))


def test_a_digest_that_was_changed_is_refused_and_stays_so(desk: GuardMixin) -> None:
    """Nobody can tell with which digest it was registered."""
    sql(desk, f"UPDATE ppo_contracts SET digest = '{'0' * 64}' WHERE version = 2")
    assert codes(refused(lambda: promote(desk, 2))) == ["record_changed"]
    error = refused(lambda: ask_version(desk, 2, Reverify()))
    assert "isn't what was registered" in error.message


def test_a_rollback_passes_it_over(desk: GuardMixin) -> None:
    promote(desk, 2, archive=True)
    sql(desk, "UPDATE ppo_contracts SET golden = 0 WHERE version = 1")
    error = refused(lambda: ask_model(desk, Rollback("Production")))
    assert "ppo_contracts, m version 1" in error.message
    ask_version(desk, 1, Reverify())
    ask_model(desk, Rollback("Production"))
    assert resolved(desk, "Production") == 1


def test_what_leaves_needs_nothing_of_it(desk: GuardMixin) -> None:
    sql(desk, f"UPDATE ppo_contracts SET flavors = 'garbage', spec = {WEAKER} WHERE version = 1")
    promote(desk, 1, "Archived")
    assert resolved(desk, "Production") is None


class TestOlderRows:
    """They have no flavors."""

    def test_are_read_again_where_they_enter_a_reference(self, desk: GuardMixin) -> None:
        flavors = column(desk, "flavors", 2)
        sql(desk, "UPDATE ppo_contracts SET flavors = '', mlmodel = '' WHERE version = 2")
        promote(desk, 2)
        assert resolved(desk, "Production") == 2
        assert column(desk, "flavors", 2) == flavors

    def test_are_no_way_past_the_digest(self, desk: GuardMixin) -> None:
        sql(desk, f"UPDATE ppo_contracts SET flavors = '', spec = {WEAKER} WHERE version = 3")
        assert "trader_version" in codes(refused(lambda: promote(desk, 3)))

    def test_keep_the_digest_that_they_were_registered_with(self, desk: GuardMixin, models: Folders) -> None:
        """Another model lies there by now."""
        digest = column(desk, "digest", 3)
        sql(desk, "UPDATE ppo_contracts SET flavors = '', mlmodel = '' WHERE version = 3")
        write_mlmodel(Path(models["2.7.0"]), ppo_flavors(trained("2.6.0")))
        assert codes(refused(lambda: promote(desk, 3))) == ["record_changed"]
        assert column(desk, "digest", 3) == digest
        assert "isn't what was registered" in refused(lambda: ask_version(desk, 3, Reverify())).message

    def test_where_nothing_lies_they_are_not_known(self, desk: GuardMixin, models: Folders) -> None:
        sql(desk, "UPDATE ppo_contracts SET flavors = '' WHERE version = 2")
        Path(models["2.6.0b"], "MLmodel").unlink()
        assert codes(refused(lambda: promote(desk, 2))) == ["unknown_contract"]
