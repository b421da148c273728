"""Kept: what stands in the guard's own rows, read back. A row that can't be read is told as a finding, never raised: it
mustn't stand in the way of what needs others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import RowMapping

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.contract.trader import Announcement, Attestation, Trader
from mlflow_ppo_flavor.errors import SpecError
from mlflow_ppo_flavor.registry.contracts import Contract, parse_kept

Row = Mapping[str, Any] | RowMapping
RECORD_UNREADABLE = "record_unreadable"
UNREADABLE_OPERATION = {"kind": "unreadable"}
_EXPECTED = "the JSON that the gate wrote"
_NAMES = ("reference", "label", "stage", "alias", "new_name", "trader_id")
_LONGEST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class LostTrader(Trader):
    """Stands in the fleet for a trader whose announcement can't be read: nobody knows what it can run."""

    damage: Finding = field(kw_only=True)

    @classmethod
    def of(cls, trader_id: str, damage: Finding) -> LostTrader:
        """The stand-in: weaker than every release, and with real money."""
        return cls(trader_id, "0", (), paper=False, damage=damage)


def contract(model: str, version: int, spec: object, read: Mapping[str, Any]) -> Contract:
    """The contract in a row: `spec` its JSON, null where there is none; `read` the other fields as they are."""
    if spec is None:
        return Contract(**read)
    try:
        return Contract(spec=_spec(spec), **read)
    except SpecError as error:
        place, remedy = f"ppo_contracts, {model} version {version}", "run mlflow-ppo reverify on the version"
        damage = _damage(place, "a contract", error, remedy)
        reason = f"{damage.place}: {damage.found}"
        return Contract(**{**read, "reason": reason}, damage=damage)


def bound(model: str, version: int, contract: Contract, flavors: object) -> Contract:
    """The contract of a row, as long as it is the one in the row's flavors, of which its digest is the sha256. Else one
    that nobody can rely on, which reading MLmodel again makes good.
    """
    try:
        if parse_kept(parsing.text(flavors, "flavors")) == contract:
            return contract
    except Exception:  # noqa: BLE001, S110 whatever was written there isn't what the gate wrote
        pass
    found = "a contract that isn't its digest's"
    damage = Finding(
        "record_changed",
        "safety",
        f"ppo_contracts, {model} version {version}",
        found,
        "spec and flavors are what the gate read, and the digest is theirs",
        "look who wrote to the database, then run mlflow-ppo reverify on the version",
    )
    return replace(contract, spec=None, reason=f"{damage.place}: {found}: reverify it", damage=damage)


def announcement(row: Row) -> Announcement:
    """The announcement in a row; one that can't be read is a LostTrader's."""
    try:
        return parse_announcement(row["announcement"])
    except SpecError as error:
        reference, trader_id = Reference(row["model"], row["label"]), row["trader_id"]
        remedy = "let the trader start again, or retire it"
        damage = _damage(
            f"ppo_announcements, {reference}, {trader_id}", f"an announcement of {trader_id}", error, remedy
        )
        received = datetime.fromtimestamp(row["received_at"] / 1000, UTC).isoformat(timespec="seconds")
        return Announcement(LostTrader.of(trader_id, damage), reference, received)


@lru_cache(maxsize=1_024)
def parse_announcement(text: object) -> Announcement:
    """The announcement in a row's text; SpecError for anything else."""
    return Announcement.from_dict(parsing.json_text(text, "announcement", expected=_EXPECTED), "announcement")


def attestation(row: Row) -> Attestation | Finding:
    """The attestation in a row; the finding where it can't be read: then it attests nothing."""
    try:
        data = parsing.json_text(row["attestation"], "attestation", expected=_EXPECTED)
        return Attestation.from_dict(data, "attestation")
    except SpecError as error:
        place = f"ppo_attestations, {row['model']} version {row['version']}, {row['trader_id']}"
        return _damage(place, f"an attestation of {row['trader_id']}", error, "let the trader attest the version again")


def seal(text: object) -> Any:
    """The JSON of a seal; the text itself, cut, where it is none: whoever asked for the seal sees why it isn't one."""
    try:
        return _value(text, "seal")
    except SpecError:
        return text[:_LONGEST_SHOWN] if isinstance(text, str) else parsing.show(text)


def operation(text: object) -> dict[str, Any]:
    """What a row of the history says was asked; SpecError where it can't be read."""
    return _operation(_value(text, "operation"))


def moves(text: object) -> list[Any]:
    """The moves in a row of the history; SpecError where they can't be read."""
    return _moves(_value(text, "moves"))


def digests(text: object) -> dict[str, Any]:
    """The digests in a row of the history; SpecError where they can't be read."""
    return _mapping(_value(text, "digests"), "digests")


def entry(row: Row) -> tuple[dict[str, Any], list[Finding]]:
    """The JSON columns of a row of the history, and what is wrong with those that can't be read: they are empty."""
    read: dict[str, Any] = {}
    damages = []
    for name, (check, empty) in COLUMNS.items():
        try:
            read[name] = check(_value(row[name], name))
        except SpecError as error:
            read[name] = empty
            damages.append(entry_damage(row["id"], error))
    return read, damages


def told_entry(row: Row) -> dict[str, Any]:
    """The same as a report tells it: what can't be read is among the findings."""
    read, damages = entry(row)
    return {**read, "findings": [*read["findings"], *(damage.to_dict() for damage in damages)]}


def entry_damage(number: int, error: SpecError) -> Finding:
    """The finding of a row of the history."""
    remedy = "look who wrote to the database, and take the row from a backup"
    return _damage(f"ppo_history, id {number}", "a row", error, remedy)


def _damage(place: str, what: str, error: SpecError, remedy: str) -> Finding:
    said = str(error)
    short = said if len(said) <= _LONGEST_SHOWN else f"{said[: _LONGEST_SHOWN - 1]}…"
    return Finding(RECORD_UNREADABLE, "safety", place, f"{what} that can't be read", short, remedy)


@lru_cache(maxsize=1_024)
def _spec(text: object) -> ModelSpec:
    return ModelSpec.from_dict(parsing.json_text(text, "spec", expected=_EXPECTED), "spec")


def _value(text: object, name: str) -> Any:
    """A JSON value that can be told on; SpecError for anything else."""
    found = parsing.json_text(text, name, expected=_EXPECTED)
    try:
        canonical_json(found)
    except (ValueError, RecursionError) as error:
        raise SpecError(name, f"no JSON ({type(error).__name__})", _EXPECTED) from None
    return found


def _operation(value: object) -> dict[str, Any]:
    found = _mapping(value, "operation")
    kind = parsing.take(found, "kind", "operation", parsing.text)
    if kind in ("announce", "retire"):
        parsing.take(found, "trader_id", "operation", parsing.text)
    if kind == "announce":
        parsing.take(found, "version", "operation", parsing.text)
        parsing.take(found, "paper", "operation", parsing.flag)
    for name in _NAMES:
        if found.get(name) is not None:
            parsing.text(found[name], f"operation.{name}")
    parsing.sequence(found.get("references", []), "operation.references", parsing.text)
    return found


def _findings(value: object) -> list[Any]:
    return [Finding.from_dict(each, "findings").to_dict() for each in _list(value, "findings")]


def _moves(value: object) -> list[Any]:
    moves = _list(value, "moves")
    for each in moves:
        parsing.take(_mapping(each, "moves"), "reference", "moves", parsing.text)
    return moves


def _list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise SpecError(name, parsing.show(value), "a list")
    return value


def _mapping(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SpecError(name, parsing.show(value), "a mapping")
    return value


COLUMNS: Mapping[str, tuple[Callable[[object], Any], Any]] = {
    "operation": (_operation, UNREADABLE_OPERATION),
    "moves": (_moves, []),
    "fleet": (lambda value: _list(value, "fleet"), []),
    "findings": (_findings, []),
    "digests": (lambda value: _mapping(value, "digests"), {}),
}
"""The JSON columns of the history: how each is read, and what stands for one that can't be."""
