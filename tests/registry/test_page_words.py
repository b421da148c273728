"""The page's words: what was asked, what the policy asks, and how long ago."""

from datetime import UTC, datetime
from typing import Any

import pytest

from mlflow_ppo_flavor.registry.page.sheet import event_words, terms_words
from mlflow_ppo_flavor.registry.page.words import age, counted, utc
from mlflow_ppo_flavor.registry.terms import Terms
from mlflow_ppo_flavor.registry.threshold import Threshold

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ({"kind": "transition", "version": 3, "stage": "Staging"}, "moving version 3 to Staging"),
        ({"kind": "rollback", "label": "@live", "version": 1}, "rolling @live back to version 1"),
        ({"kind": "retire", "trader_id": "t", "reference": None}, "retiring trader t of every reference"),
        ({"kind": "approve", "version": 2, "reference": "Production"}, "approving version 2 for Production"),
        (
            {"kind": "override", "version": 2, "reference": "@a", "reason": "tried", "expires_seconds": 60},
            "overriding for version 2 at @a: tried",
        ),
        ({"kind": "of a later version", "model": "m", "speed": 9}, "of a later version: speed 9"),
        ({"kind": "transition"}, "transition"),
        ({}, "unknown"),
    ],
)
def test_what_was_asked_is_told_in_words(operation: dict[str, Any], words: str) -> None:
    assert event_words(operation) == words


def test_what_the_policy_asks_is_told_in_words() -> None:
    terms = Terms(
        "warn",
        metrics={"sharpe": Threshold.parse(">=0.5")},
        required_tags={"seen": None, "by": "ann"},
        require_attestation=True,
        approvals=2,
    )
    assert terms_words(terms) == [
        "version findings warn",
        "metric sharpe >=0.5",
        "tag seen",
        "tag by = ann",
        "an attestation for each trader version",
        "2 approvals by other users",
    ]


@pytest.mark.parametrize(
    ("at", "told"),
    [
        ("2026-01-31T12:00:30+00:00", "just now"),
        ("2026-01-31T11:59:01+00:00", "just now"),
        ("2026-01-31T11:59:00+00:00", "1 minute ago"),
        ("2026-01-31T09:00:00-01:00", "2 hours ago"),
        ("2026-01-01T00:00:00", "30 days ago"),
    ],
)
def test_ages(at: str, told: str) -> None:
    assert age(at, NOW) == told


def test_times_and_counts() -> None:
    assert utc("2026-01-31T09:00:00-01:00") == "2026-01-31 10:00:00 UTC"
    assert counted([{"kind": "warning"}]) == "1 warning"
    assert counted([{"kind": "warning"}, {"kind": "version"}]) == "2 findings"
