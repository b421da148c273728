"""The fact of a ruling: one line whose first 150 characters, which MLflow's page shows, say what is refused and why."""

from __future__ import annotations

from collections.abc import Sequence

from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.releases import CURRENT_TRADER_VERSION
from mlflow_ppo_flavor.contract.trader import Trader
from mlflow_ppo_flavor.registry.resolution import Move, Operation, Rename, Transition, VersionKey

MOST_SHOWN = 150
DEFAULT_TRADER = Trader.released(CURRENT_TRADER_VERSION)
_LONGEST_MODEL, _LONGEST_LABEL, _LONGEST_TRADER = 30, 20, 20


def describe(trader: Trader) -> str:
    """`trader live-1 (2.6.0)`, or `released trader 2.7.0` for the default one."""
    if trader == DEFAULT_TRADER:
        return f"released trader {trader.version}"
    return f"trader {trader.trader_id} ({trader.version})"


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
    short = str(Reference(_cut(reference.model, _LONGEST_MODEL), _cut(reference.label, _LONGEST_LABEL)))
    return f"Refused: {short} holds version {present}: {why}: {_short_trader(trader)} can't serve it"


def refused_attestation(key: VersionKey, trader_id: str, why: str) -> str:
    """The fact where a trader attests what the version isn't."""
    model, trader = _cut(key.model, _LONGEST_MODEL), _cut(trader_id, _LONGEST_TRADER)
    return f"Refused: {trader} can't attest {model} version {key.version}: {why}"


def refused_without_effect(operation: Transition, stays: int) -> str:
    """The fact where a version would enter a stage below a higher one."""
    return (
        f"Refused: {_cut(operation.model, _LONGEST_MODEL)} version {operation.version} can't become {operation.stage}: "
        f"version {stays} stays there, and MLflow loads the highest"
    )


def allowed(moves: Sequence[tuple[Move, int]]) -> str:
    """The fact of an allowed operation, from the moved references and how many traders announced for each."""
    if not moves:
        return "Allowed: no protected reference moves"
    return "Allowed: " + "; ".join(_moved(move, traders) for move, traders in moves)


def _moved(move: Move, traders: int) -> str:
    if move.after is None:
        return f"{move.reference.label} is empty"
    nobody = f"released trader {CURRENT_TRADER_VERSION}, as none announced"
    judged = f"{traders} announced trader(s)" if traders else nobody
    return f"{move.reference.label} loads version {move.after.version}, judged for {judged}"


def _subject(operation: Operation, move: Move) -> str:
    """What would happen, as the start of a refusal."""
    name, label = move.reference.model, move.reference.label
    if _is_direct(operation, move):
        return f"{name} {_version(move)} can't become {label}"
    return f"{operation.doing} would make {name} {_version(move)} {label}"


def _short_subject(operation: Operation, move: Move) -> str:
    name, label = _cut(move.reference.model, _LONGEST_MODEL), _cut(move.reference.label, _LONGEST_LABEL)
    if isinstance(operation, Rename):
        # two names at once
        old, new = (_cut(each, _LONGEST_MODEL * 2 // 3) for each in operation.models)
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
    if trader == DEFAULT_TRADER:
        return describe(trader)
    return f"trader {_cut(trader.trader_id, _LONGEST_TRADER)} ({_cut(trader.version, _LONGEST_TRADER)})"


def _cut(name: str, longest: int) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"
