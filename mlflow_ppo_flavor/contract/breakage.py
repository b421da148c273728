"""spec × spec → what breaks, and who moves first: the question that a schema registry asks of two schemas."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.spec import ModelSpec, feature_name

Mover = Literal["traders", "models", "either"]
MOVERS: tuple[Mover, ...] = ("traders", "models", "either")


@dataclass(frozen=True, slots=True)
class Breakage:
    """One difference that breaks: its kind, its place, old and new value, and who must move first."""

    kind: str
    place: str
    old: str
    new: str
    first: Mover

    @property
    def message(self) -> str:
        """`features[3]: rsi_14@1 becomes rsi_14@2: traders move first`."""
        return f"{self.place}: {self.old} becomes {self.new}: {self.first} move{'s' * (self.first == 'either')} first"

    def to_dict(self) -> dict[str, str]:
        """The breakage as JSON values."""
        return {member.name: getattr(self, member.name) for member in fields(self)}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> Breakage:
        """Read a breakage; SpecError with its dotted path for anything else."""
        read = parsing.mapping(data, path, [member.name for member in fields(cls)])
        texts = {m.name: parsing.take(read, m.name, path, parsing.text) for m in fields(cls) if m.name != "first"}
        return cls(first=parsing.take(read, "first", path, parsing.choice, of=MOVERS), **texts)


def breakages(old: ModelSpec, new: ModelSpec) -> tuple[Breakage, ...]:
    """Everything that breaks when models of `old` are replaced by models of `new`; empty when behaviour is the same.

    Traders move first where the new model asks for what old traders lack; models, where a thing is taken away that
    running models still use; either, where the stored spec alone carries the change.
    """
    return (
        *_feature_breakages(old, new),
        *_action_breakages(old, new),
        *_value_breakages(old, new),
    )


def _feature_breakages(old: ModelSpec, new: ModelSpec) -> list[Breakage]:
    before = {feature_name(f): f for f in old.features}
    after = {feature_name(f): f for f in new.features}
    found = []
    for i, reference in enumerate(new.features):
        known = before.get(feature_name(reference))
        if known != reference:
            kind = "feature_revised" if known else "feature_added"
            found.append(Breakage(kind, f"features[{i}]", known or "nothing", reference, "traders"))
    for i, reference in enumerate(old.features):
        if feature_name(reference) not in after:
            found.append(Breakage("feature_removed", f"features[{i}]", reference, "nothing", "models"))
    kept = [name for name in before if name in after]
    if kept != [name for name in after if name in before]:
        found.append(Breakage("features_reordered", "features", "the old order", "another order", "either"))
    return found


def _action_breakages(old: ModelSpec, new: ModelSpec) -> list[Breakage]:
    def shown(spec: ModelSpec, i: int) -> str:
        action: Any = spec.actions[i] if i < spec.n_actions else None
        return f"{action.name} ({action.direction:+d}, {action.size:g})" if action else "nothing"

    return [
        Breakage("action", f"actions[{i}]", shown(old, i), shown(new, i), "traders")
        for i in range(max(old.n_actions, new.n_actions))
        if old.actions[i : i + 1] != new.actions[i : i + 1]
    ]


def _value_breakages(old: ModelSpec, new: ModelSpec) -> list[Breakage]:
    before, after = old.to_dict(), new.to_dict()
    flat_before = {
        "window": before["window"],
        "format": before["format"],
        **_flat(before, "bars"),
        **_flat(before, "sizing"),
    }
    flat_after = {
        "window": after["window"],
        "format": after["format"],
        **_flat(after, "bars"),
        **_flat(after, "sizing"),
    }
    return [
        Breakage(key.partition(".")[0], key, str(flat_before.get(key)), str(flat_after.get(key)), _mover(key))
        for key in dict.fromkeys([*flat_before, *flat_after])
        if flat_before.get(key) != flat_after.get(key)
    ]


def _flat(data: dict[str, Any], key: str) -> dict[str, Any]:
    return {f"{key}.{name}": value for name, value in (data[key] or {}).items()}


def _mover(key: str) -> Mover:
    return "traders" if key == "format" else "either"
