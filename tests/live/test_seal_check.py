"""The trader's check of a verdict's seal: what is accepted, what is a warning, and what is refused with which words."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live.seal_check import VERDICT_CODES, Checked, SealCheck, SealTerms
from mlflow_ppo_flavor.contract.keys import SigningKey, VerifyingKeys
from mlflow_ppo_flavor.contract.seal import SealedVerdict
from mlflow_ppo_flavor.errors import RegistryError, SpecError
from tests.contract.test_seal import verdicts
from tests.live.sealing import REFERENCE, VERDICT, Signatory
from tests.live.trading import MODEL

DIGEST = VERDICT.digest
FORGED = "don't trade it: look who wrote to the registry's database (`mlflow-ppo audit`)"
OTHER_REGISTRY = "00000000-0000-4000-8000-000000000000"


def found(check: SealCheck, version: int = 1, digest: str | None = DIGEST) -> list[tuple[str, str]]:
    """(code, message) of every finding."""
    checked = check.check(REFERENCE, version, digest)
    assert all(finding.code in VERDICT_CODES for finding in checked.findings)
    return [(finding.code, finding.message) for finding in checked.findings]


def test_a_valid_seal_has_no_findings_and_is_told() -> None:
    signatory = Signatory()
    seal = signatory.sign()
    for required in (True, False):
        assert signatory.check(required=required).check(REFERENCE, 1, DIGEST) == Checked((), seal.verdict)


def test_without_keys_nothing_is_asked() -> None:
    signatory = Signatory()
    signatory.unreachable()
    check = SealCheck(SealTerms(VerifyingKeys(), required=False), (), signatory.fetch)
    assert check.check(REFERENCE, 1, None) == Checked()
    assert signatory.asked == 0


def test_a_missing_verdict_is_refused_where_it_is_required_and_a_warning_where_not() -> None:
    signatory = Signatory()
    required, soft = (signatory.check(required=required).check(REFERENCE, 2, DIGEST) for required in (True, False))
    (refusal,), (warning,) = required.findings, soft.findings
    assert (
        refusal.message
        == warning.message
        == (
            f"verdict: found none, expected one that the registry signed for {MODEL}/Production version 2: "
            "move it through the registry's gate (`mlflow-ppo promote`), "
            "or let `mlflow-ppo guard install URI --adopt` sign it"
        )
    )
    assert (refusal.code, refusal.kind, required.refused) == ("no_verdict", "safety", True)
    assert (warning.code, warning.kind, soft.refused) == ("no_verdict", "warning", False)


@pytest.mark.parametrize("required", [True, False])
def test_a_seal_of_an_unknown_key_is_refused_whether_or_not_one_is_required(required: bool) -> None:
    signatory, stranger = Signatory(), SigningKey.generate()
    signatory.seals[REFERENCE] = stranger.seal(replace(VERDICT, version=9))
    assert found(signatory.check(required=required)) == [
        (
            "verdict_key",
            f"verdict: found one signed with key {stranger.public.key_id}, "
            f"this trader knows {signatory.key.public.key_id}: "
            "give the registry's public key with --verdict-key if it has a new one; if not, don't trade it",
        )
    ]


@pytest.mark.parametrize("required", [True, False])
@given(other=verdicts)
def test_a_signature_over_anything_else_is_refused(required: bool, other: SealedVerdict) -> None:
    """Whatever it is transplanted from; what it speaks of isn't even looked at."""
    signatory = Signatory()
    seal = signatory.sign()
    signatory.seals[REFERENCE] = replace(seal, signature=signatory.key.seal(other).signature)
    key_id = signatory.key.public.key_id
    assert found(signatory.check(required=required)) == [
        (
            "verdict_signature",
            f"verdict: found a signature that key {key_id} didn't make, "
            f"expected one over exactly this verdict: {FORGED}",
        )
    ]


def test_a_seal_that_cannot_be_read_is_refused() -> None:
    signatory = Signatory()
    signatory.seals[REFERENCE] = SpecError("ppo.report.Production.format", 2, "1")
    for required in (True, False):
        assert found(signatory.check(required=required)) == [
            (
                "verdict_signature",
                "verdict: found ppo.report.Production.format: found 2, expected 1, "
                f"expected a seal of this trader's format: {FORGED}",
            )
        ]


def test_a_registry_that_cannot_be_asked_says_nothing_about_the_version() -> None:
    signatory = Signatory()
    signatory.unreachable()
    for required in (True, False):
        with pytest.raises(RegistryError, match="no verdict fetched"):
            signatory.check(required=required).check(REFERENCE, 1, DIGEST)


@pytest.mark.parametrize(
    ("name", "sealed", "loaded"),
    [
        ("model", "ppo-goog", MODEL),
        ("label", "@champion", "Production"),
        ("version", 2, 1),
        ("digest", "1e" * 32, DIGEST),
        ("workspace", "team-b", "team-a"),
    ],
)
def test_a_verdict_on_something_else_is_refused(name: str, sealed: Any, loaded: Any) -> None:
    signatory = Signatory()
    signatory.seals[REFERENCE] = signatory.key.seal(replace(VERDICT, **{"workspace": "team-a", name: sealed}))
    assert found(signatory.check(workspace="team-a")) == [
        ("verdict_mismatch", f"verdict.{name}: found {sealed}, what is loaded has {loaded}: {FORGED}")
    ]


def test_every_mismatch_is_told_at_once() -> None:
    signatory = Signatory()
    signatory.sign(version=3, digest="1e" * 32)
    assert [message.split(":")[0] for _, message in found(signatory.check())] == ["verdict.version", "verdict.digest"]


def test_a_version_without_a_registered_digest_is_refused_where_a_verdict_is_required() -> None:
    signatory = Signatory()
    signatory.sign()
    assert found(signatory.check(), digest=None) == [
        (
            "no_digest",
            "digest: found no tag ppo.digest on the version, expected the one that the registry's gate writes: "
            "start the server with its gate, then `mlflow-ppo reverify`",
        )
    ]
    assert found(signatory.check(required=False), digest=None) == []


def test_another_registry_is_refused_also_for_another_reference() -> None:
    """The first one that this trader's journal saw is its registry."""
    signatory = Signatory()
    signatory.sign(registry=OTHER_REGISTRY, sequence=100)
    for seen in (VERDICT, replace(VERDICT, label="@champion")):
        assert found(signatory.check(seen)) == [
            (
                "verdict_registry",
                f"verdict.registry: found {OTHER_REGISTRY}, this trader's journal knows {VERDICT.registry}: "
                "trade another registry's models from another --state-dir",
            )
        ]


def test_another_workspace_is_refused() -> None:
    signatory = Signatory()
    signatory.sign(workspace="team-b", sequence=100)
    assert found(signatory.check(VERDICT)) == [
        (
            "verdict_mismatch",
            "verdict.workspace: found team-b, this trader's journal knows default: "
            "trade another workspace's models from another --state-dir",
        )
    ]


def test_an_older_verdict_is_refused_the_same_one_is_not() -> None:
    signatory = Signatory()
    seen = replace(VERDICT, version=2, sequence=5)
    signatory.sign(sequence=4)
    older = f"verdict.sequence: found 4 (version 1), this trader has seen 5 (version 2): {FORGED}"
    assert found(signatory.check(seen)) == [("verdict_sequence", older)]
    signatory.sign(version=2, sequence=5)
    assert found(signatory.check(seen), version=2) == []
    signatory.sign(version=1, sequence=6)
    assert found(signatory.check(seen)) == []


def test_one_number_is_never_given_twice() -> None:
    """A database that was put back and went on from there gives the numbers after it anew."""
    signatory = Signatory()
    signatory.sign(sequence=5)
    for seen in (replace(VERDICT, version=2, sequence=5), replace(VERDICT, digest="1e" * 32, sequence=5)):
        assert [code for code, _ in found(signatory.check(seen))] == ["verdict_sequence"]


def test_each_reference_has_its_own_sequence() -> None:
    signatory = Signatory()
    signatory.sign(sequence=1)
    assert found(signatory.check(replace(VERDICT, label="@champion", sequence=50))) == []


def test_the_newest_valid_verdict_is_remembered_and_an_invalid_one_is_not() -> None:
    signatory = Signatory()
    check = signatory.check()
    signatory.sign(sequence=9, version=4)
    assert [code for code, _ in found(check, version=3)] == ["verdict_mismatch"]
    signatory.sign(sequence=2)
    assert found(check) == []
    signatory.sign(sequence=1)
    assert [code for code, _ in found(check)] == ["verdict_sequence"]


def test_keys_are_replaced_one_after_the_other() -> None:
    signatory, new = Signatory(), SigningKey.generate()
    old_seal = signatory.sign()
    for key in (signatory.key, new):
        for keys in ((key.public,), (signatory.key.public, new.public), (new.public, signatory.key.public)):
            signatory.seals[REFERENCE] = key.seal(VERDICT)
            assert found(SealCheck(SealTerms(VerifyingKeys(keys), required=True), (), signatory.fetch)) == []
    signatory.seals[REFERENCE] = old_seal
    only_new = SealCheck(SealTerms(VerifyingKeys((new.public,)), required=False), (), signatory.fetch)
    assert [code for code, _ in found(only_new)] == ["verdict_key"]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=12))
def test_in_any_order_of_answers_no_number_lower_than_one_accepted_is_accepted(sequences: list[int]) -> None:
    signatory, accepted = Signatory(), 0
    check = signatory.check()
    for sequence in sequences:
        signatory.sign(sequence=sequence)
        refused = check.check(REFERENCE, 1, DIGEST).refused
        assert refused == (sequence < accepted)
        accepted = max(accepted, sequence)
