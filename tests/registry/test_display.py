"""What a version's page shows: tags, and the block in the description beside the user's own text."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.display import (
    LONGEST_DESCRIPTION,
    LONGEST_TAG,
    describe_version,
    is_reserved,
    own_text,
    tags_of,
)
from tests.contract.contracts import specs
from tests.registry.model_folders import VOUCH, trained

CONTRACT = Contract(True, trained("2.7.0"), "d" * 64, golden=True)
FIRST_LINE = "PPO policy 2.7.0, 59 features × 100 bars, 7 actions, requires trader >=2.7.0 (written by mlflow-ppo)"


def test_the_block_as_it_is_written() -> None:
    assert describe_version(None, CONTRACT, "2026-01-31 14:30 UTC Allowed: Production loads version 2") == "\n".join(
        [
            FIRST_LINE,
            "",
            "### Contract",
            "- **Actions** `0 HOLD`, `1 BUY_25%`, `2 BUY_50%`, `3 BUY_75%`, `4 SELL_25%`, `5 SELL_50%`, `6 SELL_75%`",
            "- **Bars** 1Day, all, regular, America/New_York, trained on AAPL",
            "- **Proof** golden decisions recorded",
            f"- **Digest** `{'d' * 64}`",
            "- **Breaking changes** 7 sized actions; 59 features: the position is observed",
            "- **Last verdict** 2026-01-31 14:30 UTC Allowed: Production loads version 2",
            "",
            "*End of what mlflow-ppo wrote.*",
        ]
    )


def test_an_alias_in_the_verdict_is_no_link() -> None:
    told = describe_version(None, CONTRACT, "Allowed: m@canary.v-2 loads version 2, @a is empty")
    assert "- **Last verdict** Allowed: m`@canary.v-2` loads version 2, `@a` is empty" in told


lines = st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from("<>&#;[]()`|*\r\t"), max_size=40)
user_texts = st.lists(lines, max_size=5).map("\n".join)


@given(user_texts, specs, st.booleans(), lines)
def test_the_users_text_survives_any_number_of_rewrites(text: str, spec: ModelSpec, golden: bool, verdict: str) -> None:
    contract = Contract(True, spec, "d" * 64, golden)
    once = describe_version(text, contract, verdict)
    assert own_text(once) == text.strip()
    assert describe_version(once, contract, verdict) == once
    assert describe_version(f"{once}\nmore", contract, verdict).startswith(text.strip())
    assert "more" in describe_version(f"{once}\nmore", contract, verdict)


def test_a_block_that_a_client_changed_or_forged_is_written_anew() -> None:
    forged = describe_version("mine", CONTRACT).replace("d" * 64, "e" * 64).replace(">=2.7.0", ">=2.0.0")
    assert describe_version(forged, CONTRACT) == describe_version("mine", CONTRACT)
    assert describe_version(forged * 3, CONTRACT).count("written by mlflow-ppo") == 1


@pytest.mark.parametrize(("length", "shown"), [(10, FIRST_LINE), (4_800, FIRST_LINE), (4_990, None), (6_000, None)])
def test_a_long_text_of_the_user_is_never_cut(length: int, shown: str | None) -> None:
    described = describe_version("x" * length, CONTRACT)
    assert described.startswith("x" * length)
    assert (FIRST_LINE in described) == (shown is not None)
    assert len(described) <= max(length, LONGEST_DESCRIPTION)


def test_at_most_five_short_tags() -> None:
    wide = replace(trained("2.7.0"), requires_trader=">=2.7.0")
    tags = tags_of(Contract(True, wide, "d" * 64, golden=False), "Refused: " + "very " * 200)
    assert tags == {
        "ppo.spec": "ppo 2.7.0",
        "ppo.requires_trader": ">=2.7.0",
        "ppo.digest": "d" * 64,
        "ppo.proof": "unproven: no golden decisions",
        "ppo.verdict": tags["ppo.verdict"],
    }
    assert len(tags["ppo.verdict"]) == LONGEST_TAG
    assert tags_of(Contract(True, MODEL_SPECS["2.6.0"], "d", golden=True))["ppo.proof"] == "unproven: bars not filled"


@pytest.mark.parametrize(
    ("attested", "proof"),
    [
        (0, "golden decisions recorded"),
        (1, "golden decisions recorded, attested by 1 trader"),
        (2, "golden decisions recorded, attested by 2 traders"),
    ],
)
def test_attestations_are_counted(attested: int, proof: str) -> None:
    assert tags_of(CONTRACT, attested=attested)["ppo.proof"] == proof
    assert f"- **Proof** {proof}\n" in describe_version(None, CONTRACT, attested=attested)


@pytest.mark.parametrize(
    ("golden", "filled", "vouched", "proof"),
    [
        (False, True, VOUCH.text, "vouched by Ann: trained by the old trainer"),
        (False, False, VOUCH.text, "unproven: bars not filled, vouched by Ann: trained by the old trainer"),
        (False, False, "", "unproven: no golden decisions"),
        (True, True, VOUCH.text, "golden decisions recorded"),
        (True, False, "", "unproven: bars not filled"),
        (False, True, "vouched by Ann: " + "x" * 500, "vouched by Ann: " + "x" * 233 + "…"),
    ],
)
def test_who_vouches_is_shown_where_nothing_is_proven(golden: bool, filled: bool, vouched: str, proof: str) -> None:
    spec = trained("2.7.0") if filled else MODEL_SPECS["2.7.0"]
    contract = Contract(True, spec, "d" * 64, golden, vouched=vouched)
    assert tags_of(contract)["ppo.proof"] == proof
    assert f"- **Proof** {proof}\n" in describe_version(None, contract)


def test_long_or_many_lined_values_stay_short_lines() -> None:
    wide = replace(trained("2.7.0"), requires_trader=">=2.7.0,  <3", family="p" * 500, breaking_changes="a\0b")
    contract = Contract(True, wide, "d" * 64, golden=True)
    tags = tags_of(contract)
    assert tags["ppo.requires_trader"] == ">=2.7.0, <3"
    assert len(tags["ppo.spec"]) == LONGEST_TAG
    described = describe_version("mine", contract)
    assert "requires trader >=2.7.0, <3 (written by mlflow-ppo)" in described
    assert "- **Breaking changes** ab" in described
    assert own_text(described) == "mine"


@given(user_texts)
def test_a_text_without_the_block_is_left_as_it_is(text: str) -> None:
    assert own_text(text) == text


def test_a_version_that_cannot_be_read_says_why_and_one_of_another_flavor_says_nothing() -> None:
    unreadable = Contract.unreadable("flavors.ppo.format: found 2, expected one of 1", flavored=True)
    assert tags_of(unreadable) == {"ppo.spec": "unreadable: flavors.ppo.format: found 2, expected one of 1"}
    assert tags_of(Contract.unreadable("MLmodel lists no flavors")) == {}
    assert describe_version("mine", unreadable) == "mine"


@pytest.mark.parametrize("key", ["ppo.digest", "PPO.Digest", " ppo.verdict", "ppo."])
def test_reserved_tags_are_known_however_they_are_spelled(key: str) -> None:
    assert is_reserved(key)
    assert not is_reserved("ppo")
    assert not is_reserved("my.ppo.tag")
