"""spec × spec → what breaks, and who moves first: the question that a schema registry asks of two schemas."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.spec import Action, BarSpec, ModelSpec, feature_name

Mover = Literal["traders", "models", "either"]
MOVERS: tuple[Mover, ...] = ("traders", "models", "either")
KINDS: tuple[str, ...] = (
    "format",
    "feature_revised",
    "feature_added",
    "feature_removed",
    "features_reordered",
    "actions_permuted",
    "action_changed",
    "action_renamed",
    "action_added",
    "action_removed",
    "window",
    "bars",
    "sizing",
    "requires_trader",
)
"""Every kind of breakage. All but the last are of behaviour: they are what the fingerprint sees."""
_MANY = 10**9
_UNBROKEN = ("family", "version", "requires_trader", "symbols", "breaking_changes", "notes")


@dataclass(frozen=True, slots=True)
class Breakage:
    """One difference that breaks: its kind (of KINDS), its place, old and new value, and who must move first."""

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
        return cls(**parsing.texts(data, path, [member.name for member in fields(cls)], first=MOVERS))


@dataclass(frozen=True, slots=True)
class Change:
    """One difference that breaks nothing: its place, old and new value."""

    place: str
    old: str
    new: str

    @property
    def message(self) -> str:
        """`version: 2.5.0 becomes 2.6.0`."""
        return f"{self.place}: {self.old} becomes {self.new}"

    def to_dict(self) -> dict[str, str]:
        """The change as JSON values."""
        return {member.name: getattr(self, member.name) for member in fields(self)}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> Change:
        """Read a change; SpecError with its dotted path for anything else."""
        names = [member.name for member in fields(cls)]
        read = parsing.mapping(data, path, names)
        return cls(**{name: parsing.take(read, name, path, parsing.text) for name in names})


def breakages(old: ModelSpec, new: ModelSpec) -> tuple[Breakage, ...]:
    """Every difference of behaviour that breaks when models of `old` are replaced by models of `new`.

    Empty exactly where the fingerprints are equal. Traders move first where a trader that runs the old model may not be
    able to run the new one: a format, a feature or a revision that it doesn't know. Models, where traders may drop
    something only once no model uses it any more. Either, where the stored spec alone carries the change: a trader
    takes window, bars, actions and sizing from the spec of the model that it runs.
    """
    return (
        *_format_breakages(old, new),
        *_feature_breakages(old, new),
        *_action_breakages(old, new),
        *_value_breakages(old, new),
    )


def requirement_breakages(old: ModelSpec, new: ModelSpec) -> tuple[Breakage, ...]:
    """What shuts out traders that run the old model: a `requires_trader` that has no room for them any more.

    The fingerprint doesn't see it: a model that behaves the same may still require another trader.
    """
    packages_old, packages_new = _packages(old), _packages(new)
    shut_out = _narrowed(old.trader_specifier, new.trader_specifier) or any(
        _narrowed(packages_old.get(name, SpecifierSet()), required) or name not in packages_old
        for name, required in packages_new.items()
    )
    if not shut_out:
        return ()
    return (Breakage("requires_trader", "requires_trader", old.requires_trader, new.requires_trader, "traders"),)


def changes(old: ModelSpec, new: ModelSpec) -> tuple[Change, ...]:
    """What differs and breaks nothing: family, version, symbols, texts, a `requires_trader` that shuts nobody out."""
    broken = {breakage.place for breakage in requirement_breakages(old, new)}
    before, after = old.to_dict(), new.to_dict()
    return tuple(
        Change(key, _told(before[key]), _told(after[key]))
        for key in _UNBROKEN
        if before[key] != after[key] and key not in broken
    )


def _format_breakages(old: ModelSpec, new: ModelSpec) -> list[Breakage]:
    if old.format == new.format:
        return []
    return [Breakage("format", "format", str(old.format), str(new.format), "traders")]


def _feature_breakages(old: ModelSpec, new: ModelSpec) -> Iterator[Breakage]:
    before = {feature_name(reference): reference for reference in old.features}
    after = {feature_name(reference): reference for reference in new.features}
    for i, reference in enumerate(new.features):
        known = before.get(feature_name(reference))
        if known != reference:
            kind = "feature_revised" if known else "feature_added"
            yield Breakage(kind, f"features[{i}]", known or "nothing", reference, "traders")
    for i, reference in enumerate(old.features):
        if feature_name(reference) not in after:
            yield Breakage("feature_removed", f"features[{i}]", reference, "nothing", "models")
    kept, now = [name for name in before if name in after], [name for name in after if name in before]
    moved = [i for i, (one, other) in enumerate(zip(kept, now, strict=True)) if one != other]
    if moved:
        part = slice(moved[0], moved[-1] + 1)
        yield Breakage("features_reordered", "features", _listed(kept[part]), _listed(now[part]), "either")


def _action_breakages(old: ModelSpec, new: ModelSpec) -> list[Breakage]:
    if old.actions != new.actions and set(old.actions) == set(new.actions):
        before, after = (_listed([action.name for action in spec.actions]) for spec in (old, new))
        return [Breakage("actions_permuted", "actions", before, after, "either")]
    pairs = [(_at(old, i), _at(new, i)) for i in range(max(old.n_actions, new.n_actions))]
    return [
        Breakage(_action_kind(one, other), f"actions[{i}]", _shown(one), _shown(other), "either")
        for i, (one, other) in enumerate(pairs)
        if one != other
    ]


def _at(spec: ModelSpec, i: int) -> Action | None:
    return spec.actions[i] if i < spec.n_actions else None


def _action_kind(old: Action | None, new: Action | None) -> str:
    if old is None or new is None:
        return "action_added" if old is None else "action_removed"
    same = (old.direction, old.size) == (new.direction, new.size)
    return "action_renamed" if same else "action_changed"


def _shown(action: Action | None) -> str:
    if action is None:
        return "nothing"
    return f"{action.name} ({action.direction:+d}, {repr(action.size).removesuffix('.0')})"


def _value_breakages(old: ModelSpec, new: ModelSpec) -> Iterator[Breakage]:
    if old.window != new.window:
        yield Breakage("window", "window", str(old.window), str(new.window), "either")
    yield from _bar_breakages(old.bars, new.bars)
    yield from _member_breakages("sizing", old.sizing.to_dict(), new.sizing.to_dict())


def _bar_breakages(old: BarSpec | None, new: BarSpec | None) -> Iterator[Breakage]:
    """Member by member; as one where the one spec is a template, whose bars are not filled."""
    if old is not None and new is not None:
        yield from _member_breakages("bars", old.to_dict(), new.to_dict())
    elif old != new:
        before, after = ("not filled" if bars is None else _listed(bars.to_dict().values()) for bars in (old, new))
        yield Breakage("bars", "bars", before, after, "either")


def _member_breakages(kind: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Breakage]:
    for key, value in old.items():
        if value != new[key]:
            yield Breakage(kind, f"{kind}.{key}", str(value), str(new[key]), "either")


def _packages(spec: ModelSpec) -> dict[str, SpecifierSet]:
    return {canonicalize_name(each.name): each.specifier for each in spec.package_requirements}


def _narrowed(old: SpecifierSet, new: SpecifierSet) -> bool:
    """Whether a version that `old` contains isn't in `new`; asked of each version at which either may change."""
    return any(
        old.contains(version, prereleases=True) and not new.contains(version, prereleases=True)
        for version in {*_edges(old), *_edges(new)}
    )


def _edges(specifiers: SpecifierSet) -> Iterator[Version]:
    """Each version that a specifier set names, the ones right below it, prereleases or not, and the next above it."""
    for specifier in specifiers:
        try:
            named = Version(specifier.version.removesuffix(".*"))
        except InvalidVersion:  # `===` takes any text
            continue
        release = named.release
        above = [(*release[:i], release[i] + 1) for i in range(len(release))]
        below = [(*release[:i], release[i] - 1, _MANY) for i in range(len(release)) if release[i]][-1:]
        yield named
        yield _version(named.epoch, release, ".dev0")
        yield from (_version(named.epoch, parts) for parts in (*below, *above, (*release, 1)))


def _version(epoch: int, release: Collection[int], suffix: str = "") -> Version:
    return Version(f"{epoch}!{'.'.join(map(str, release))}{suffix}")


def _listed(names: Collection[str]) -> str:
    return ", ".join(names)


def _told(value: object) -> str:
    """A value of `_UNBROKEN` in words."""
    text = _listed(value) if isinstance(value, list) else str(value)
    return text or "nothing"
