"""Judging again: may those who load a reference run a version? By today's fleet and policy, without any operation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from mlflow_ppo_flavor.contract.compatibility import Finding, Verdict
from mlflow_ppo_flavor.contract.trader import Trader
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.judgement import judge_fleet
from mlflow_ppo_flavor.registry.policy import Policy
from mlflow_ppo_flavor.registry.snapshot import Held, Version
from mlflow_ppo_flavor.registry.unmet import Known, unmet

_UNREAD = Contract.unknown("its contract hasn't been read yet")


@dataclass(frozen=True, slots=True)
class Judged:
    """One trader's verdict on a version; `default`: a released trader that stands for those that never announced."""

    trader: Trader
    default: bool
    verdict: Verdict


def judge_held(held: Held, version: Version, policy: Policy) -> list[Judged]:
    """The verdict of each trader of a reference on a version, the weakest trader first."""
    judged = judge_fleet(held.reference, version.contract or _UNREAD, held.fleet, policy.terms(held.reference))
    return [Judged(trader, not held.said, verdict) for trader, verdict in judged]


def findings_of(held: Held, version: Version, policy: Policy, known: Known) -> tuple[Finding, ...]:
    """What is wrong with a reference loading a version, each once; what a used override let pass is a warning."""
    judged = judge_held(held, version, policy)
    found = dict.fromkeys(finding for each in judged for finding in each.verdict.findings)
    terms = unmet(held, version, policy, known, [each.trader for each in judged])
    return tuple(_let_pass([*found, *terms], held, version))


def _let_pass(found: Iterable[Finding], held: Held, version: Version) -> Iterator[Finding]:
    digest = "" if version.contract is None else version.contract.digest
    for finding in found:
        if digest in held.overridden and finding.kind in ("version", "policy"):
            said = {
                "found": finding.message,
                "expected": "an override let it pass",
                "remedy": "see the history",
            }
            yield replace(finding, code="overridden", kind="warning", **said)
        else:
            yield finding
