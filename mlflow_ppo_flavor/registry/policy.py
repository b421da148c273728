"""Policy: what the gate asks of each reference, beside the verdict of the traders that load it. Pure values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.errors import SpecError
from mlflow_ppo_flavor.registry.terms import TERM_KEYS, Clause, Terms

_PATTERN = re.compile(r"[A-Za-z0-9._\-*?\[\]!]{1,100}")
_KEYED = "Production, Staging, @alias, or one of them after a model's name, such as ppo-aapl/Production"


@dataclass(frozen=True, slots=True)
class Policy:
    """The gate's policy. `Policy()` is the default: Production blocks, Staging warns until a trader announced for it.

    `protected_aliases`: guarded in every guarded model, announced for or not. `traders`: patterns of the trader ids
    that may announce and attest (`live-*`, as a shell has them; case matters); None: all. `everywhere`: holds for
    Production and aliases; for Staging only its default traders. `references`: by label (`Production`, `@champion`) or
    whole reference (`ppo-aapl/Production`), whose clause goes over its label's.
    """

    protected_aliases: tuple[str, ...] = ()
    traders: tuple[str, ...] | None = None
    everywhere: Clause = field(default_factory=Clause)
    references: Mapping[str, Clause] = field(default_factory=dict)

    def terms(self, reference: Reference) -> Terms:
        """What this reference asks of a version that it is to load."""
        terms = self.everywhere.over(Terms())
        if reference.stage == "Staging":
            terms = Terms(mode="warn-until-announced", default_traders=terms.default_traders)
        for key in (reference.label, str(reference)):
            terms = self.references.get(key, _SILENT).over(terms)
        return terms

    def protects(self, model: str) -> set[Reference]:
        """The aliases of a model that the policy names: listed as protected, or with a clause of their own."""
        labels = {f"@{alias}" for alias in self.protected_aliases} | {key for key in self.references if key[0] == "@"}
        named = {Reference(model, label) for label in labels}
        return named | {each for each in self._whole() if each.model == model and each.is_alias}

    def names(self, model: str) -> bool:
        """Whether a whole reference of this model stands in the policy, which makes the model a guarded one."""
        return any(reference.model == model for reference in self._whole())

    def lets_announce(self, trader_id: str) -> bool:
        """Whether a trader of this id may announce itself, and attest."""
        return self.traders is None or any(fnmatchcase(trader_id, pattern) for pattern in self.traders)

    def to_dict(self) -> dict[str, Any]:
        """The policy as JSON values; what it doesn't say is left out."""
        told: dict[str, Any] = {
            "protected_aliases": list(self.protected_aliases) or None,
            "traders": None if self.traders is None else list(self.traders),
            **self.everywhere.to_dict(),
            "references": {key: clause.to_dict() for key, clause in self.references.items()} or None,
        }
        return {name: value for name, value in told.items() if value is not None}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> Policy:
        """Read a policy; SpecError with its dotted path for anything else."""
        read = parsing.mapping(data, path, ("protected_aliases", "traders", "references", *TERM_KEYS), where="policy")
        return cls(
            protected_aliases=parsing.take(read, "protected_aliases", path, _aliases, default=()),
            traders=parsing.take(read, "traders", path, _patterns, default=None),
            everywhere=Clause.from_dict({key: read[key] for key in TERM_KEYS if key in read}, path),
            references=parsing.take(read, "references", path, _references, default={}),
        )

    def _whole(self) -> list[Reference]:
        return [_whole(key) for key in self.references if key[0] != "@" and ("/" in key or "@" in key)]


_SILENT = Clause()
DEFAULT_POLICY = Policy()


def _whole(key: str) -> Reference:
    """The reference that a key of `references` writes."""
    model, at, alias = key.partition("@")
    if at:
        return Reference(model, f"@{alias}")
    name, _, label = key.rpartition("/")
    return Reference(name, label)


def _references(value: object, path: str) -> dict[str, Clause]:
    if not isinstance(value, Mapping):
        raise SpecError(path, parsing.show(value), f"a mapping of {_KEYED}")
    clauses: dict[str, Clause] = {}
    for written, clause in value.items():
        key, where = _key(written, path), parsing.join(path, parsing.show_key(written))
        if key in clauses:
            raise SpecError(where, f"{key} a second time", "each once")
        clauses[key] = Clause.from_dict(clause, where)
    return clauses


def _key(written: object, path: str) -> str:
    """A key of `references` as Reference writes it: stages are case-insensitive, as in MLflow, aliases aren't."""
    if not isinstance(written, str):
        raise SpecError(path, parsing.show(written), f"keys such as {_KEYED}")
    at = "@" in written
    model, slash, label = written.partition("@") if at else written.rpartition("/")
    try:
        reference = Reference.parse(model if model or (slash and not at) else "any", f"@{label}" if at else label)
    except SpecError:
        raise SpecError(path, parsing.show(written), _KEYED) from None
    return str(reference) if model else reference.label


def _aliases(value: object, path: str) -> tuple[str, ...]:
    return parsing.unique(parsing.sequence(value, path, _alias), path)


def _alias(value: object, path: str) -> str:
    try:
        return Reference.parse("any", f"@{parsing.text(value, path)}").label[1:]
    except SpecError:
        raise SpecError(path, parsing.show(value), "an alias that MLflow allows, without @, such as champion") from None


def _patterns(value: object, path: str) -> tuple[str, ...]:
    expected = {"pattern": _PATTERN, "expected": "a trader id or a pattern of some, such as live-*"}
    return parsing.unique(parsing.sequence(value, path, parsing.name, **expected), path)
