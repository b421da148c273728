"""Conditions: what a policy's terms find wrong with a version that is to enter a reference, and overrides. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from packaging.version import Version

from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.trader import Trader
from mlflow_ppo_flavor.registry.evidence import UNAUTHENTICATED, Evidence, Override
from mlflow_ppo_flavor.registry.fact import cut
from mlflow_ppo_flavor.registry.terms import Terms
from mlflow_ppo_flavor.registry.threshold import Threshold

_LONGEST_NAME = 40


def judge_terms(
    reference: Reference, terms: Terms, evidence: Evidence, traders: Sequence[Trader], requester: str
) -> list[Finding]:
    """Every term that a version doesn't meet. `traders`: those of the reference, announced or by default."""
    return [
        *_approvals(reference, terms, evidence, requester),
        *(
            _metric(reference, name, threshold, evidence)
            for name, threshold in terms.metrics.items()
            if not threshold.admits(evidence.metrics.get(name))
        ),
        *(
            _tag(reference, name, value, evidence)
            for name, value in terms.required_tags.items()
            if name not in evidence.tags or value not in (None, evidence.tags[name])
        ),
        *(_attestation(reference, version) for version in _unattested(terms, evidence, traders)),
    ]


def overridden(finding: Finding, override: Override | None, requester: str) -> Finding:
    """The finding as a warning where the override covers it; as it is where not, and always where it is of safety.

    Approvals are another user's word: an override stands for them only where it is one too.
    """
    if override is None or finding.kind not in ("version", "policy"):
        return finding
    if finding.code == "approvals" and override.who in (requester, UNAUTHENTICATED, ""):
        return finding
    said = f"overridden by {override.who}: {override.reason}"
    place, _, _ = finding.place.partition(",")
    return Finding("overridden", "warning", place, finding.message, said, "an override serves once")


def _approvals(reference: Reference, terms: Terms, evidence: Evidence, requester: str) -> list[Finding]:
    count = len(evidence.approvals(requester))
    if count >= terms.approvals:
        return []
    others = (
        "authenticated users" if requester == UNAUTHENTICATED else f"users other than {cut(requester, _LONGEST_NAME)}"
    )
    wanted = f"{count} of {terms.approvals} approval{'' if terms.approvals == 1 else 's'}"
    remedy = "let one of them approve it (mlflow-ppo approve)"
    return [Finding("approvals", "policy", f"{reference.label}, approvals", wanted, f"by {others}", remedy)]


def _metric(reference: Reference, name: str, threshold: Threshold, evidence: Evidence) -> Finding:
    short = cut(name, _LONGEST_NAME)
    found = f"{short} {evidence.metrics[name]!r}" if name in evidence.metrics else f"no metric {short}"
    expected, remedy = f"the policy asks for {threshold}", "promote a version whose run logged such a value"
    return Finding("metric", "policy", f"{reference.label}, metrics.{name}", found, expected, remedy)


def _tag(reference: Reference, name: str, value: str | None, evidence: Evidence) -> Finding:
    short = cut(name, _LONGEST_NAME)
    found = f"no tag {short}"
    if name in evidence.tags:
        found = f"tag {short} {cut(evidence.tags[name], _LONGEST_NAME)!r}"
    expected = "the policy asks for it" if value is None else f"the policy asks for {cut(value, _LONGEST_NAME)!r}"
    return Finding(
        "tag", "policy", f"{reference.label}, required_tags.{name}", found, expected, "set it on the version"
    )


def _attestation(reference: Reference, version: str) -> Finding:
    return Finding(
        "attestation",
        "policy",
        f"{reference.label}, require_attestation",
        f"no attestation by a trader {version}",
        "the policy asks for one of each trader version",
        "run mlflow-ppo verify --attest where that trader is installed",
    )


def _unattested(terms: Terms, evidence: Evidence, traders: Iterable[Trader]) -> list[str]:
    """The trader versions of which no trader attested, each once, the lowest first."""
    if not terms.require_attestation:
        return []
    attested = {Version(version) for version in evidence.attested}
    missing = {Version(trader.version): trader.version for trader in traders}
    return [missing[version] for version in sorted(missing) if version not in attested]
