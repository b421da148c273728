"""Retreat: which version a reference goes back to, and which ones leave it. Pure.

A rollback or a withdrawal needs the fleet's verdict and the digest alone: no approvals, attestations or thresholds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mlflow_ppo_flavor.contract.compatibility import Finding, Verdict
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.registry import fact
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.gate import Contracts, Ruling, moved_references, rule, why
from mlflow_ppo_flavor.registry.judgement import Fleet
from mlflow_ppo_flavor.registry.policy import DEFAULT_POLICY, Policy
from mlflow_ppo_flavor.registry.resolution import Models, Operation, Rollback, VersionKey, Withdraw

MOST_TRIED = 100
_UNREAD = Contract.unknown("its contract hasn't been read")


@dataclass(frozen=True, slots=True)
class Ran:
    """A version that a reference has loaded, with the digest that it then had; None where it was emptied.

    `gone`: it was deleted since, also where another version has its number by now. `doubt`: why what says that it ran
    there isn't believed.
    """

    version: int | None
    digest: str = ""
    gone: bool = False
    doubt: Finding | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be done, None where nothing can be, and the ruling on it. What came first and was passed over stands
    among its findings.
    """

    operation: Operation | None
    ruling: Ruling


def rollbacks(reference: Reference, ran: Sequence[Ran], models: Models) -> list[Rollback]:
    """The rollbacks that may be tried, in order: to what the reference loaded before it first loaded what it loads now,
    the latest first, 100 at most. So a second rollback goes further back, never forth again. `ran`: oldest first.
    """
    return [operation for operation, _ in _tried(reference, ran, models)]


def withdrawal(reference: Reference, models: Models) -> Withdraw:
    """The withdrawal of all that a reference could load: of a stage every version in it, of an alias the one."""
    model = models.get(reference.model)
    if model is None:
        return Withdraw(reference.model, reference.label, ())
    if reference.is_alias:
        present = model.resolve(reference)
        return Withdraw(reference.model, reference.label, () if present is None else (present,))
    inside = sorted((v for v, stage in model.stages.items() if stage == reference.label), reverse=True)
    return Withdraw(reference.model, reference.label, tuple(inside))


def needed(
    operations: Iterable[Operation], models: Models, fleet: Fleet, policy: Policy = DEFAULT_POLICY
) -> set[VersionKey]:
    """The versions whose contracts a choice among these operations needs."""
    named = {VersionKey(each.model, version) for each in operations for version in each.versions}
    moved = (moved_references(each, models, fleet, policy) for each in operations)
    return named | {move.after for found in moved for move in found if move.after is not None}


def choose_rollback(
    reference: Reference,
    ran: Sequence[Ran],
    models: Models,
    contracts: Contracts,
    fleet: Fleet,
    policy: Policy = DEFAULT_POLICY,
) -> Choice:
    """The rollback to the last version that the reference loaded before (`rollbacks`), that still has its digest and
    that today's fleet can run; all above it in the stage are archived.

    `models` has the versions that ran, in whatever stage they are; `contracts` those of `needed(rollbacks(…), …)`.
    """
    passed: list[Finding] = []
    reasons: list[str] = []
    contracts = _filled(contracts, needed(rollbacks(reference, ran, models), models, fleet, policy))
    for operation, before in _tried(reference, ran, models):
        key = VersionKey(reference.model, operation.version)
        ruling = _changed(key, before, reference, models, contracts) or rule(
            operation, models, contracts, fleet, policy=policy
        )
        if ruling.allowed:
            return Choice(operation, _with(ruling, passed))
        passed.extend(_of_version(operation.version, ruling.verdict.blocking))
        reasons.append(f"version {operation.version}: {why(ruling.verdict)}")
    if not reasons:
        passed, reasons = [_never(reference)], ["no other version is known to have run there before"]
    return Choice(None, Ruling(fact.refused_rollback(reference, reasons[0]), Verdict(tuple(passed), strict=True)))


def choose_withdrawal(
    reference: Reference,
    models: Models,
    contracts: Contracts,
    fleet: Fleet,
    policy: Policy = DEFAULT_POLICY,
) -> Choice:
    """The withdrawal of what the reference loads, and of every version that would surface and that the fleet can't run,
    until one can be run or the stage is empty: so it is always allowed.

    A version whose contract isn't in `contracts` counts as one that can't be run.
    """
    whole = withdrawal(reference, models)
    contracts = _filled(contracts, [VersionKey(reference.model, version) for version in whole.versions])
    passed: list[Finding] = []
    for count in range(1, len(whole.versions)):
        operation = replace(whole, versions=whole.versions[:count])
        ruling = rule(operation, models, contracts, fleet, policy=policy)
        if ruling.allowed:
            return Choice(operation, _with(ruling, passed))
        passed.extend(_of_version(whole.versions[count], ruling.verdict.blocking))
    return Choice(whole, _with(rule(whole, models, contracts, fleet, policy=policy), passed))


def _tried(reference: Reference, ran: Sequence[Ran], models: Models) -> list[tuple[Rollback, Ran]]:
    """The rollbacks that may be tried, each with what then ran: for each version the last time that it did."""
    model = models.get(reference.model)
    present = None if model is None else model.resolve(reference)
    loaded = [each for each in ran if each.version is not None]
    running = (present, False, False)
    first = next((i for i, each in enumerate(loaded) if _kind(each) == running), len(loaded))
    latest = {_kind(each): each for each in loaded[:first]}
    order = dict.fromkeys(_kind(each) for each in reversed(loaded[:first]))
    tried = [latest[key] for key in order][:MOST_TRIED]
    return [
        (Rollback(reference.model, reference.label, each.version), each) for each in tried if each.version is not None
    ]


def _kind(ran: Ran) -> tuple[int | None, bool, bool]:
    """What makes two of what ran the same."""
    return ran.version, ran.gone, ran.doubt is not None


def _changed(key: VersionKey, ran: Ran, reference: Reference, models: Models, contracts: Contracts) -> Ruling | None:
    """The refusal of a version that isn't known to have run, isn't there any more, or isn't what ran; else None."""
    if ran.doubt is not None:
        return Ruling(ran.doubt.message, Verdict((ran.doubt,), strict=True))
    place, remedy = reference.label, "promote a version that is there"
    found = expected = ""
    there = key.version in models[key.model].stages
    if ran.gone or not there:
        found = f"{'another' if there else 'no'} version {key.version}"
        code, expected = "gone", "it ran there and was deleted since"
    elif contracts[key].digest != ran.digest and contracts[key].spec is not None:
        code, found = "digest", f"digest {contracts[key].digest[:12]}…"
        expected = f"what ran there as version {key.version} had {ran.digest[:12]}…"
    if not found:
        return None
    finding = Finding(code, "safety", place, found, expected, remedy)
    return Ruling(finding.message, Verdict((finding,), strict=True))


def _filled(contracts: Contracts, keys: Iterable[VersionKey]) -> Contracts:
    return dict.fromkeys(keys, _UNREAD) | dict(contracts)


def _with(ruling: Ruling, passed: Iterable[Finding]) -> Ruling:
    """The ruling, with what was passed over among its findings as warnings."""
    warnings = tuple(replace(finding, kind="warning") for finding in passed)
    return replace(ruling, verdict=replace(ruling.verdict, findings=(*ruling.verdict.findings, *warnings)))


def _of_version(version: int, findings: Iterable[Finding]) -> list[Finding]:
    return [replace(finding, place=f"version {version}, {finding.place}") for finding in findings]


def _never(reference: Reference) -> Finding:
    return Finding(
        "no_rollback",
        "safety",
        reference.label,
        "no other version that ran there before",
        "a rollback goes to the last that did",
        "promote a version, or withdraw what stands",
    )
