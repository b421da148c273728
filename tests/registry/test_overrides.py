"""Overrides: what they cover, whose count, and when one is used up."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_ppo_flavor.registry.evidence import Evidence, Override
from mlflow_ppo_flavor.registry.resolution import (
    VersionKey,
)
from tests.registry.asking import (
    EVERYTHING,
    PRODUCTION,
    STAGING,
    TOO_OLD,
    ask,
    policy,
    promote,
    told,
)
from tests.registry.model_folders import announcement


class TestOverrides:
    ANN = Override(7, "ann", "the desk needs it today", 0)

    def test_it_covers_version_and_policy_findings_and_is_used_up(self) -> None:
        ruling = ask(promote(3), announcement("m"), by=EVERYTHING, evidence=Evidence(override=self.ANN))
        assert ruling.allowed
        assert ruling.overrides == (7,)
        assert ruling.fact == "Allowed: Production loads version 3, judged for 1 announced trader(s), overridden by ann"
        assert told(ruling) == [("overridden", "warning")] * 5
        assert ruling.verdict.findings[0].message == (
            "Production: found Production, trader live-1 (2.7.0), requires_trader: found trader 2.7.0, "
            f"{TOO_OLD}: upgrade the trader to >=2.8.0 or choose a model that 2.7.0 runs, "
            "overridden by ann: the desk needs it today: an override serves once"
        )

    @pytest.mark.parametrize(("version", "trader"), [(2, "2.6.0"), (4, "2.7.0")])
    def test_it_never_covers_safety_findings_and_then_is_not_used(self, version: int, trader: str) -> None:
        evidence = Evidence(override=self.ANN)
        ruling = ask(promote(version), announcement("m", version=trader), by=EVERYTHING, evidence=evidence)
        assert not ruling.allowed
        assert ruling.overrides == ()
        assert {finding.kind for finding in ruling.verdict.blocking} == {"safety"}
        assert "can't become Production" in ruling.fact

    @pytest.mark.parametrize(
        ("who", "requester", "allowed"),
        [
            ("ann", "bob", True),
            ("ann", "unauthenticated", True),
            ("ann", "ann", False),
            ("unauthenticated", "bob", False),
            ("unauthenticated", "unauthenticated", False),
            ("", "bob", False),
        ],
    )
    def test_it_stands_for_approvals_only_as_another_user_s_word(self, who: str, requester: str, allowed: bool) -> None:
        evidence = Evidence(override=replace(self.ANN, who=who))
        ruling = ask(promote(3), announcement("m"), by=policy(approvals=2), evidence=evidence, requester=requester)
        assert ruling.allowed is allowed
        assert ruling.overrides == ((7,) if allowed else ())
        codes = [("overridden", "warning"), ("overridden", "warning") if allowed else ("approvals", "policy")]
        assert told(ruling) == codes

    def test_one_that_is_not_needed_is_not_used(self) -> None:
        evidence = Evidence(override=self.ANN)
        for ruling in (
            ask(promote(2), announcement("m"), evidence=evidence),
            ask(promote(3), announcement("m"), evidence=evidence, by=policy(mode="warn")),
            ask(promote(2), stages={2: "Production"}, evidence=evidence, by=EVERYTHING),
        ):
            assert ruling.allowed
            assert ruling.overrides == ()
            assert "overridden" not in ruling.fact

    def test_one_of_another_reference_or_version_does_not_serve(self) -> None:
        for key in ((STAGING, VersionKey("m", 3)), (PRODUCTION, VersionKey("m", 2))):
            assert not ask(promote(3), announcement("m"), evidence={key: Evidence(override=self.ANN)}).allowed

    def test_it_is_not_used_where_another_reference_refuses(self) -> None:
        """Rolling out of Staging surfaces what Staging's own trader can't run."""
        fleet = [announcement("m"), announcement("m", "Staging", "s", "2.6.0")]
        evidence = {(PRODUCTION, VersionKey("m", 3)): Evidence(override=self.ANN)}
        ruling = ask(promote(3), *fleet, evidence=evidence, stages={2: "Staging", 3: "Staging"})
        assert not ruling.allowed
        assert ruling.overrides == ()
        assert "version 2 Staging" in ruling.fact


@given(
    approvals=st.integers(0, 2),
    approved=st.sets(st.sampled_from(("ann", "bob", "eve", "unauthenticated"))),
    sharpe=st.none() | st.sampled_from((0.4, 0.5, math.nan)),
    tagged=st.booleans(),
    attested=st.booleans(),
    author=st.none() | st.sampled_from(("ann", "bob", "unauthenticated")),
    version=st.sampled_from((2, 3, 4)),
    requester=st.sampled_from(("bob", "unauthenticated")),
)
def test_the_ruling_is_that_of_an_oracle(
    approvals: int,
    approved: set[str],
    sharpe: float | None,
    tagged: bool,
    attested: bool,
    author: str | None,
    version: int,
    requester: str,
) -> None:
    """Whatever is asked and known: allowed means no safety finding, and everything met or overridden by whom may."""
    by = policy(approvals=approvals, metrics={"sharpe": ">=0.5"}, required_tags=["ok"], require_attestation=True)
    evidence = Evidence(
        metrics={} if sharpe is None else {"sharpe": sharpe},
        tags={"ok": "1"} if tagged else {},
        attested=frozenset({"2.7.0"} if attested else ()),
        approved_by=frozenset(approved),
        override=None if author is None else Override(1, author, "why", 0),
    )
    ruling = ask(promote(version), announcement("m"), by=by, evidence=evidence, requester=requester)
    lacking = approvals > len([user for user in approved if user not in (requester, "unauthenticated")])
    other = version == 3 or not (sharpe == 0.5 and tagged and attested)
    covers_approvals = author not in (None, requester, "unauthenticated")
    expected = version != 4 and (not other or author is not None) and (not lacking or covers_approvals)
    assert ruling.allowed == expected
    assert (ruling.overrides == (1,)) == (expected and (other or lacking))
