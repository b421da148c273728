"""spec × trader → Verdict. One function judges for the gate and for the trader itself, so they can't disagree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.releases import CURRENT_TRADER_VERSION
from mlflow_ppo_flavor.contract.spec import ModelSpec, feature_name, lowest_version
from mlflow_ppo_flavor.contract.trader import Trader

Kind = Literal["version", "safety", "policy", "warning"]
KINDS: tuple[Kind, ...] = ("version", "safety", "policy", "warning")


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: its code, its kind and what to do. Safety and policy always fail, version when strict, warning never.

    A policy finding is a term that the gate's policy sets and a version doesn't meet.
    `expected` is a phrase that follows a comma, such as `this trader computes rsi_14@1`.
    """

    code: str
    kind: Kind
    place: str
    found: str
    expected: str
    remedy: str

    @property
    def message(self) -> str:
        """`features[3]: found rsi_14@2, this trader computes rsi_14@1: upgrade the trader`."""
        return f"{self.place}: found {self.found}, {self.expected}: {self.remedy}"

    def to_dict(self) -> dict[str, str]:
        """The finding as JSON values."""
        return {member.name: getattr(self, member.name) for member in fields(self)}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> Finding:
        """Read a finding; SpecError with its dotted path for anything else."""
        return cls(**parsing.texts(data, path, [member.name for member in fields(cls)], kind=KINDS))


@dataclass(frozen=True, slots=True)
class Verdict:
    """All findings of one question, and whether they allow it."""

    findings: tuple[Finding, ...]
    strict: bool

    @property
    def allowed(self) -> bool:
        """No safety or policy finding and, when strict, no version finding."""
        return not self.blocking

    @property
    def blocking(self) -> tuple[Finding, ...]:
        """The findings that don't allow it: safety ones first."""
        kinds = ("safety", "policy", "version") if self.strict else ("safety", "policy")
        return tuple(f for kind in kinds for f in self.findings if f.kind == kind)

    @property
    def text(self) -> str:
        """The verdict in words: its outcome, then one finding a line."""
        outcome = "allowed" if self.allowed else f"refused, {len(self.blocking)} finding(s)"
        return "\n".join([outcome, *(f"  [{f.kind}] {f.message}" for f in self.findings)])

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON values."""
        return {
            "allowed": self.allowed,
            "strict": self.strict,
            "findings": [f.to_dict() for f in self.findings],
        }

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> Verdict:
        """Read a verdict; `allowed` is derived again, never believed. SpecError for anything else."""
        read = parsing.mapping(data, path, ("allowed", "strict", "findings"))
        findings = parsing.take(read, "findings", path, lambda v, at: parsing.sequence(v, at, Finding.from_dict))
        return cls(findings, parsing.take(read, "strict", path, parsing.flag))


def judge(
    spec: ModelSpec,
    trader: Trader,
    *,
    proven: bool,
    strict: bool,
    timeframe: str | None = None,
    adjustment: str | None = None,
    symbols: Sequence[str] = (),
    vouched: str = "",
) -> Verdict:
    """May this trader run a model of this spec? Every finding, none left out.

    `proven`: the model carries golden decisions. `vouched`: who takes responsibility for it where it doesn't, and why,
    as `Vouch.text` says it; empty where nobody does. `timeframe`, `adjustment`, `symbols`: what the trader was told to
    trade; None or empty takes the spec's own.
    """
    findings = (
        *_format_findings(spec, trader),
        *_version_findings(spec, trader),
        *_feature_findings(spec, trader),
        *_bar_findings(spec, timeframe, adjustment),
        *_proof_findings(spec, trader, proven, vouched),
        *_symbol_findings(spec, symbols),
    )
    return Verdict(findings, strict)


def check_compatibility(spec: ModelSpec, trader_version: str = CURRENT_TRADER_VERSION, strict: bool = False) -> Verdict:
    """May the released trader of this version run a model of this spec, golden decisions aside?

    SpecError where `trader_version` is no PEP 440 version.
    """
    return judge(spec, Trader.released(trader_version), proven=True, strict=strict)


def _format_findings(spec: ModelSpec, trader: Trader) -> list[Finding]:
    if spec.format in trader.spec_formats:
        return []
    reads = f"this trader reads {', '.join(map(str, trader.spec_formats))}"
    return [Finding("spec_format", "safety", "format", str(spec.format), reads, "upgrade the trader")]


def _version_findings(spec: ModelSpec, trader: Trader) -> list[Finding]:
    findings = []
    # prereleases of a trader count as what they are: 2.7.0rc1 is not 2.7.0
    if not spec.trader_specifier.contains(trader.version, prereleases=True):
        required = spec.requires_trader.partition(";")[0].strip()
        expected = f"model {spec.label} requires trader {required}"
        remedy = f"upgrade the trader to {required} or choose a model that {trader.version} runs"
        found = f"trader {trader.version}"
        findings.append(Finding("trader_version", "version", "requires_trader", found, expected, remedy))
    return findings + [
        _package_finding(spec, required, trader.packages.get(canonicalize_name(required.name)))
        for required in spec.package_requirements
        if not _has(trader, required)
    ]


def _has(trader: Trader, required: Requirement) -> bool:
    version = trader.packages.get(canonicalize_name(required.name))
    return version is not None and required.specifier.contains(version, prereleases=True)


def _package_finding(spec: ModelSpec, required: Requirement, version: str | None) -> Finding:
    found = f"no {required.name}" if version is None else f"{required.name} {version}"
    expected = f"model {spec.label} requires {required}"
    lowest = lowest_version(required.specifier)
    later = version is not None and lowest is not None and Version(version) <= Version(lowest)
    remedy = f"upgrade {required.name}" if later else f"install {required}"
    return Finding("package_version", "version", "requires_trader", found, expected, remedy)


def _feature_findings(spec: ModelSpec, trader: Trader) -> list[Finding]:
    computed = {feature_name(reference): reference for reference in trader.features}
    findings = []
    for i, reference in enumerate(spec.features):
        if reference in trader.features:
            continue
        own = computed.get(feature_name(reference))
        expected = f"this trader computes {own}" if own else f"this trader doesn't compute {feature_name(reference)}"
        remedy = "install the package that brings it" if "/" in reference else "upgrade the trader"
        findings.append(Finding("feature", "safety", f"features[{i}]", reference, expected, remedy))
    return findings


def _bar_findings(spec: ModelSpec, timeframe: str | None, adjustment: str | None) -> list[Finding]:
    if spec.bars is None:
        return []
    findings = []
    for place, told, trained in (
        ("timeframe", timeframe, spec.bars.timeframe),
        ("adjustment", adjustment, spec.bars.adjustment),
    ):
        if told is not None and told != trained:
            expected = f"the model was trained on {trained}"
            findings.append(
                Finding(place, "safety", f"bars.{place}", told, expected, f"leave the flag out or give {trained}")
            )
    return findings


def _proof_findings(spec: ModelSpec, trader: Trader, proven: bool, vouched: str) -> list[Finding]:
    kind: Kind = "warning" if trader.paper else "safety"
    money = "on paper this is a warning" if trader.paper else "real money needs proof"
    findings = []
    if not proven:
        remedy, found = "record golden decisions with the code that trained it", "no golden decisions"
        unproven = Finding("unproven", kind, "golden", found, money, remedy)
        findings.append(Finding("vouched", "warning", "golden", found, vouched, remedy) if vouched else unproven)
    if spec.bars is None:
        remedy = "fill them at training with spec.for_bars(...)"
        findings.append(Finding("unproven", kind, "bars", "no timeframe and adjustment", money, remedy))
    return findings


def _symbol_findings(spec: ModelSpec, symbols: Sequence[str]) -> list[Finding]:
    trained = ", ".join(spec.symbols)
    return [
        Finding(
            "symbol",
            "warning",
            "symbols",
            symbol,
            f"the model was trained on {trained}",
            "check that this is wanted",
        )
        for symbol in symbols
        if spec.symbols and symbol not in spec.symbols
    ]
