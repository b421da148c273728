"""The fact of a ruling: one line whose first 150 characters, which MLflow's page shows, say what is refused and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.trader import Trader
from mlflow_ppo_flavor.registry.resolution import Move, Operation, Rename, Transition, VersionKey

MOST_SHOWN = 150
_LONGEST_MODEL, _LONGEST_LABEL, _LONGEST_TRADER = 30, 20, 20


@lru_cache(maxsize=64)
def released(version: str) -> Trader:
    """The released trader of a version; listing its features takes a while, so it is done once."""
    return Trader.released(version)


def describe(trader: Trader) -> str:
    """`trader live-1 (2.6.0)`, or `released trader 2.7.0` for one that stands for those who didn't announce."""
    if _is_released(trader):
        return f"released trader {trader.version}"
    return f"trader {trader.trader_id} ({trader.version})"


def listed(traders: Sequence[Trader]) -> str:
    """`released traders 2.6.0, 2.7.0`: those that stand for a reference that nobody announced for."""
    return f"released trader{'s' if len(traders) > 1 else ''} {', '.join(trader.version for trader in traders)}"


def refused_for(operation: Operation, move: Move, trader: Trader, why: str) -> str:
    """The fact where a trader can't run what a reference would load.

    Where whole names push the reason out of sight it goes first, and names are cut; the findings keep them whole.
    """
    whole = f"Refused: {_subject(operation, move)}: {describe(trader)} can't run it: {why}"
    if len(whole) <= MOST_SHOWN:
        return whole
    return f"Refused: {_short_subject(operation, move)}: {why}: {_short_trader(trader)} can't run it"


def refused_as(operation: Operation, move: Move, why: str) -> str:
    """The fact where no trader could run what a reference would load."""
    whole = f"Refused: {_subject(operation, move)}: {why}"
    return whole if len(whole) <= MOST_SHOWN else f"Refused: {_short_subject(operation, move)}: {why}"


def refused_announcement(trader: Trader, reference: Reference, present: int, why: str) -> str:
    """The fact where a trader can't run what its reference loads today."""
    whole = f"Refused: {describe(trader)} can't serve {reference}: version {present} stands there: {why}"
    if len(whole) <= MOST_SHOWN:
        return whole
    return (
        f"Refused: {short_reference(reference)} holds version {present}: {why}: {_short_trader(trader)} can't serve it"
    )


def refused_attestation(key: VersionKey, trader_id: str, why: str) -> str:
    """The fact where a trader attests what the version isn't."""
    model, trader = cut(key.model, _LONGEST_MODEL), cut(trader_id, _LONGEST_TRADER)
    return f"Refused: {trader} can't attest {model} version {key.version}: {why}"


def refused_without_effect(operation: Transition, stays: int) -> str:
    """The fact where a version would enter a stage below a higher one."""
    return (
        f"Refused: {cut(operation.model, _LONGEST_MODEL)} version {operation.version} can't become {operation.stage}: "
        f"version {stays} stays there, and MLflow loads the highest"
    )


def refused_owned(trader_id: str, owner: str, doing: str) -> str:
    """The fact where somebody speaks for a trader id that belongs to another user."""
    return f"Refused: trader {cut(trader_id, _LONGEST_TRADER)} belongs to {cut(owner, _LONGEST_MODEL)}: {doing}"


def refused_not_listed(trader: Trader, reference: Reference) -> str:
    """The fact where the policy doesn't let a trader announce itself."""
    short = short_reference(reference)
    return f"Refused: the policy's traders don't list {_short_trader(trader)}, which announced for {short}"


def refused_rollback(reference: Reference, why: str) -> str:
    """The fact where no version that ran at a reference can run there again."""
    return f"Refused: {short_reference(reference)} can't be rolled back: {why}"


@dataclass(frozen=True, slots=True)
class Allowed:
    """A reference that moves: how many traders announced for it, who stands for them, and whose override served."""

    move: Move
    announced: int
    standing: Sequence[Trader]
    overridden_by: str = ""


def allowed(entries: Sequence[Allowed]) -> str:
    """The fact of an allowed operation."""
    if not entries:
        return "Allowed: no protected reference moves"
    return "Allowed: " + "; ".join(map(_moved, entries))


def _moved(entry: Allowed) -> str:
    label, after = entry.move.reference.label, entry.move.after
    if after is None:
        return f"{label} is empty"
    nobody = f"{listed(entry.standing)}, as none announced"
    judged = f"{entry.announced} announced trader(s)" if entry.announced else nobody
    overridden = f", overridden by {entry.overridden_by}" if entry.overridden_by else ""
    return f"{label} loads version {after.version}, judged for {judged}{overridden}"


def _subject(operation: Operation, move: Move) -> str:
    """What would happen, as the start of a refusal."""
    name, label = move.reference.model, move.reference.label
    if _is_direct(operation, move):
        return f"{name} {_version(move)} can't become {label}"
    return f"{operation.doing} would make {name} {_version(move)} {label}"


def _short_subject(operation: Operation, move: Move) -> str:
    name, label = cut(move.reference.model, _LONGEST_MODEL), cut(move.reference.label, _LONGEST_LABEL)
    if isinstance(operation, Rename):
        # two names at once
        old, new = (cut(each, _LONGEST_MODEL * 2 // 3) for each in operation.models)
        return f"renaming {old} to {new} makes {_version(move)} {label}"
    if _is_direct(operation, move):
        return f"{name} {_version(move)} can't become {label}"
    return f"{operation.doing} would make {_version(move)} {label}"


def _is_direct(operation: Operation, move: Move) -> bool:
    """Whether the reference moves to the version that the operation names."""
    return move.after is not None and move.after.version in operation.versions


def _version(move: Move) -> str:
    return "" if move.after is None else f"version {move.after.version}"


def _short_trader(trader: Trader) -> str:
    if _is_released(trader):
        return f"released trader {cut(trader.version, _LONGEST_TRADER)}"
    return f"trader {cut(trader.trader_id, _LONGEST_TRADER)} ({cut(trader.version, _LONGEST_TRADER)})"


def short_reference(reference: Reference) -> Reference:
    """A reference as a fact shows it where whole names would push the reason out of sight."""
    return Reference(cut(reference.model, _LONGEST_MODEL), cut(reference.label, _LONGEST_LABEL))


def _is_released(trader: Trader) -> bool:
    return trader == released(trader.version)


def cut(name: str, longest: int) -> str:
    """A name as it is, or its first characters and an ellipsis."""
    return name if len(name) <= longest else name[: longest - 1] + "…"
