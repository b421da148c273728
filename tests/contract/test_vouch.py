"""Vouch: written and read, shown in one line, and what it changes for traders."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_ppo_flavor.contract.compatibility import judge
from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from mlflow_ppo_flavor.contract.trader import Trader
from mlflow_ppo_flavor.contract.vouch import LONGEST_NAME, LONGEST_REASON, Vouch
from mlflow_ppo_flavor.errors import SpecError

AT = "2026-01-31T12:00:00+00:00"
VOUCH = Vouch("trained by the old trainer", "Ann", AT)
SPEC = MODEL_SPECS["2.7.0"].for_bars(timeframe="1Day", adjustment="all")
lines = st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=LONGEST_NAME)


@given(lines, lines, st.datetimes(timezones=st.just(UTC)))
def test_it_survives_a_round_trip(reason: str, by: str, at: datetime) -> None:
    vouch = Vouch(reason, by, at.isoformat())
    assert Vouch.from_dict(json.loads(json.dumps(vouch.to_dict()))) == vouch


def test_it_is_shown_in_one_line() -> None:
    assert VOUCH.text == "vouched by Ann: trained by the old trainer"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reason": ""}, "vouched.reason: found '', expected one line of text"),
        ({"reason": "a\nb"}, "vouched.reason: found 'a\\nb', expected one line of text"),
        ({"reason": "x" * (LONGEST_REASON + 1)}, "vouched.reason: found 501 characters, expected at most 500"),
        ({"by": "  "}, "vouched.by: found '  ', expected one line of text"),
        ({"by": "x" * 101}, "vouched.by: found 101 characters, expected at most 100"),
        ({"by": 7}, "vouched.by: found 7, expected a string"),
        ({"at": "today"}, "vouched.at: found 'today', expected a time with its zone, such as 2026-01-31T14:30:00"),
        ({"more": 1}, "vouched.more: found an unknown key, expected one of reason, by, at"),
    ],
)
def test_what_is_no_vouch_is_told_by_its_path(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}"):
        Vouch.from_dict(VOUCH.to_dict() | change, "vouched")


@pytest.mark.parametrize("paper", [True, False])
def test_it_makes_the_missing_proof_a_warning_also_for_real_money(paper: bool) -> None:
    trader = Trader.released("2.7.0", paper=paper)
    verdict = judge(SPEC, trader, proven=False, strict=True, vouched=VOUCH.text)
    assert verdict.allowed
    (finding,) = verdict.findings
    assert (finding.code, finding.kind, finding.message) == (
        "vouched",
        "warning",
        "golden: found no golden decisions, vouched by Ann: trained by the old trainer: "
        "record golden decisions with the code that trained it",
    )
    assert judge(SPEC, trader, proven=False, strict=True).allowed == paper
    assert judge(SPEC, trader, proven=True, strict=True, vouched=VOUCH.text).findings == ()


def test_it_does_not_stand_for_bars_that_were_never_filled() -> None:
    trader = Trader.released("2.7.0", paper=False)
    verdict = judge(MODEL_SPECS["2.7.0"], trader, proven=False, strict=True, vouched=VOUCH.text)
    assert [(finding.code, finding.kind, finding.place) for finding in verdict.findings] == [
        ("vouched", "warning", "golden"),
        ("unproven", "safety", "bars"),
    ]
