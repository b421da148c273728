"""Judgement: may the traders of a reference run a version with this contract? Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from packaging.version import Version

from mlflow_ppo_flavor.contract.compatibility import Finding, Verdict, judge
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.trader import Announcement, Trader
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.fact import describe, listed, released
from mlflow_ppo_flavor.registry.kept import LostTrader
from mlflow_ppo_flavor.registry.policy import DEFAULT_POLICY
from mlflow_ppo_flavor.registry.terms import Terms

Fleet = Sequence[Announcement]


def judge_fleet(
    reference: Reference, contract: Contract, fleet: Fleet, terms: Terms | None = None
) -> list[tuple[Trader, Verdict]]:
    """The verdict of every trader that announced for a reference on a version with this contract, the weakest first.

    `terms`: the reference's, of the policy; None: of the default policy. Where nobody announced, the terms' default
    traders stand for them, with a warning that says so. Version findings are warnings where the terms say so.
    """
    terms = terms or DEFAULT_POLICY.terms(reference)
    announced = weakest_first(reference, fleet)
    judged = [
        (trader, judge_trader(contract, trader, reference.label)) for trader in announced or default_traders(terms)
    ]
    if terms.warns(announced=bool(announced)):
        judged = [(trader, softened(verdict)) for trader, verdict in judged]
    if announced:
        return judged
    nobody = _nobody(reference, terms)
    return [(trader, replace(verdict, findings=(nobody, *verdict.findings))) for trader, verdict in judged]


def judge_trader(contract: Contract, trader: Trader, place: str = "") -> Verdict:
    """May this trader run a version with this contract? `place` goes before the findings' own places."""
    if contract.spec is None:
        return Verdict((judge_contract(contract, place),), strict=True)
    if isinstance(trader, LostTrader):
        return Verdict((trader.damage,), strict=True)
    verdict = judge(contract.spec, trader, proven=contract.golden, strict=True, vouched=contract.vouched)
    where = f"{place}, {describe(trader)}, " if place else ""
    return replace(verdict, findings=tuple(replace(f, place=f"{where}{f.place}") for f in verdict.findings))


def judge_contract(contract: Contract, place: str) -> Finding:
    """The finding of a contract that can't be read."""
    if contract.damage is not None:
        return contract.damage
    code, remedy = "no_contract", "log it with mlflow_ppo_flavor.log_model and register that"
    if not contract.known:
        code, remedy = "unknown_contract", f"try again once it can be read, or {remedy}"
    expected = "a trader needs a contract that can be read"
    return Finding(code, "safety", place or "model", contract.reason, expected, remedy)


def weakest_first(reference: Reference, fleet: Fleet) -> list[Trader]:
    """The traders announced for a reference, the lowest version first: the weakest member decides."""
    traders = [a.trader for a in fleet if a.reference == reference]
    return sorted(traders, key=lambda trader: (Version(trader.version), trader.trader_id))


def default_traders(terms: Terms) -> list[Trader]:
    """The released traders that stand for a reference that nobody announced for, the lowest version first."""
    return [released(version) for version in sorted(terms.default_traders, key=Version)]


def softened(verdict: Verdict) -> Verdict:
    """The verdict with its version findings as warnings."""
    findings = tuple(replace(f, kind="warning") if f.kind == "version" else f for f in verdict.findings)
    return replace(verdict, findings=findings)


def _nobody(reference: Reference, terms: Terms) -> Finding:
    stand = "stand" if len(terms.default_traders) > 1 else "stands"
    expected = f"so the {listed(default_traders(terms))} {stand} for it"
    remedy = "let each trader announce itself before it loads"
    return Finding("nobody_announced", "warning", reference.label, "no trader announced", expected, remedy)
