"""Which spec a checkpoint is of: by its whole spec, its declared version or its weights' shapes. The weights decide."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import torch
from packaging.version import Version

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.compatibility import Finding, Kind, Verdict, check_compatibility
from mlflow_ppo_flavor.contract.releases import CURRENT_TRADER_VERSION, MODEL_SPECS
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.errors import CheckpointError, IncompatibleModel
from mlflow_ppo_flavor.model.shape import Shape, shape_of_weights, shapes_of

_RESAVE = "save it with save_checkpoint, so that the whole spec travels with the weights"
_DECLARED = ("model_version", "min_trader_version", "n_features", "n_actions", "obs_dim", "action_meanings")
_MOST_SEEN = 200


class Inspection(NamedTuple):
    """What a checkpoint is: its model version, its spec, and every finding on the way there."""

    version: str
    spec: ModelSpec
    findings: tuple[Finding, ...]


def inspect_checkpoint(checkpoint: Mapping[str, Any], as_version: str | None = None) -> Inspection:
    """The version and spec of a checkpoint, with every finding. Reads; warns of nothing.

    A whole spec is taken as it stands. A declared version that is released gives its spec, unless the weights are of
    another shape: they decide. Without either, the weights' shape tells. `as_version` chooses among the released specs
    of the weights' shape. CheckpointError where the declared version isn't known, `as_version` isn't one that fits,
    nothing fits, and for what is no mapping; SpecError for a whole spec that can't be read.
    """
    if not isinstance(checkpoint, Mapping):
        raise CheckpointError(f"checkpoint: found {type(checkpoint).__name__}, expected a Checkpoint or a dict")
    shape = shape_of_weights(shapes_of(checkpoint.get("policy_state_dict")))
    whole, declared = checkpoint.get("spec"), checkpoint.get("model_version")
    if whole is not None:
        spec = ModelSpec.from_dict(whole, "spec")
        _check_needless(as_version, spec)
        findings = _shape_findings(spec, shape)
    else:
        if declared is not None:
            _check_known(declared)
        fitting = _fitting(shape, checkpoint)
        if as_version is not None:
            spec, findings = _of_choice(as_version, declared, fitting, shape)
        elif declared is not None:
            spec, findings = _of_version(str(declared), fitting, shape)
        else:
            spec, findings = _of_shape(fitting, shape, checkpoint)
    return Inspection(spec.version, spec, (*findings, *_metadata_findings(checkpoint, spec)))


def detect_version_from_checkpoint(
    checkpoint: Mapping[str, Any], as_version: str | None = None
) -> tuple[str, ModelSpec]:
    """(model version, spec) of a Checkpoint or legacy dict; warns of every finding, raises as `inspect_checkpoint`."""
    version, spec, findings = inspect_checkpoint(checkpoint, as_version)
    _warn(findings)
    return version, spec


def assert_compatibility(
    checkpoint: Mapping[str, Any], strict: bool = False, trader_version: str = CURRENT_TRADER_VERSION
) -> ModelSpec:
    """The spec of a checkpoint that the released trader of this version may run; what doesn't block is warned of.

    Raises IncompatibleModel with the whole verdict for safety findings and, when `strict`, for version findings; and as
    `inspect_checkpoint` where there is no spec to judge.
    """
    _, spec, findings = inspect_checkpoint(checkpoint)
    verdict = Verdict((*findings, *check_compatibility(spec, trader_version).findings), strict)
    if not verdict.allowed:
        raise IncompatibleModel(verdict)
    _warn(verdict.findings)
    return spec


def _check_needless(as_version: str | None, spec: ModelSpec) -> None:
    """Refuse to choose where a whole spec travels with the weights."""
    if as_version is not None and as_version != spec.version:
        raise CheckpointError(
            f"as_version: found {parsing.show(as_version)}, expected {spec.version}, the whole spec that it was saved "
            "with: leave as_version out"
        )


def _check_known(declared: object) -> None:
    if not isinstance(declared, str) or declared not in MODEL_SPECS:
        known = ", ".join(MODEL_SPECS)
        raise CheckpointError(
            f"model_version: found {parsing.show(declared)}, expected one of {known}, or a whole spec beside it: "
            f"it is refused and not guessed: {_RESAVE}"
        )


def _of_version(declared: str, fitting: Sequence[ModelSpec], shape: Shape) -> tuple[ModelSpec, list[Finding]]:
    spec = MODEL_SPECS[declared]
    if spec in fitting:
        return spec, _shape_findings(spec, shape)
    return fitting[-1], [_overruled(declared, shape, fitting[-1])]


def _of_choice(
    as_version: str, declared: object, fitting: Sequence[ModelSpec], shape: Shape
) -> tuple[ModelSpec, list[Finding]]:
    """The spec of `as_version`, where the weights fit it; a declared version that differs is told."""
    chosen = {spec.version: spec for spec in fitting}
    spec = chosen.get(as_version)
    if spec is None:
        raise CheckpointError(
            f"as_version: found {parsing.show(as_version)}, expected {_either(fitting)}: the weights have {shape}"
        )
    if declared is None or declared == as_version:
        return spec, _shape_findings(spec, shape)
    if declared not in chosen:
        return spec, [_overruled(str(declared), shape, spec)]
    remedy = "ask those who trained it: the weights fit both"
    told = Finding("metadata", "warning", "model_version", str(declared), f"as_version says {as_version}", remedy)
    return spec, [told, *_shape_findings(spec, shape)]


def _overruled(declared: str, shape: Shape, spec: ModelSpec) -> Finding:
    """A declared version that the weights contradict."""
    expected = f"the weights have {shape}, as {spec.version}"
    return _finding("metadata", "safety", "model_version", declared, expected)


def _of_shape(
    fitting: Sequence[ModelSpec], shape: Shape, checkpoint: Mapping[str, Any]
) -> tuple[ModelSpec, list[Finding]]:
    if None in shape:
        raise CheckpointError(_nothing_fits(shape, checkpoint))
    spec, names = fitting[-1], ", ".join(spec.version for spec in fitting)
    equal = f"{names}, which are equal: it is taken as {spec.version}" if len(fitting) > 1 else names
    expected = f"the weights have {shape}, as {equal}"
    return spec, [_finding("detected", "warning", "model_version", "no version and no spec", expected)]


def _fitting(shape: Shape, checkpoint: Mapping[str, Any]) -> list[ModelSpec]:
    """The released specs of this shape, by version; CheckpointError with all that was seen where there is none."""
    specs = sorted(MODEL_SPECS.values(), key=lambda spec: Version(spec.version))
    fitting = [spec for spec in specs if shape.fits(spec)]
    if not fitting:
        raise CheckpointError(_nothing_fits(shape, checkpoint))
    return fitting


def _either(specs: Sequence[ModelSpec]) -> str:
    names = [spec.version for spec in specs]
    return names[0] if len(names) == 1 else f"one of {', '.join(names)}"


def _shape_findings(spec: ModelSpec, shape: Shape) -> list[Finding]:
    if shape == Shape(None, None):
        return [_finding("weights", "warning", "policy_state_dict", "no weights", "nothing confirms the spec")]
    if shape.fits(spec):
        return []
    expected = f"spec {spec.version} has {Shape(spec.obs_dim, spec.n_actions)}"
    return [_finding("weights", "safety", "policy_state_dict", str(shape), expected)]


def _metadata_findings(checkpoint: Mapping[str, Any], spec: ModelSpec) -> list[Finding]:
    """Declared keys that contradict the spec; a version that the weights overruled has been told already."""
    findings = []
    for key in _DECLARED:
        if checkpoint.get(key) is None or (key == "model_version" and checkpoint.get("spec") is None):
            continue
        found, own = checkpoint[key], "version" if key == "model_version" else key
        if not _says(found, getattr(spec, own)):
            expected = f"spec {spec.version} says {parsing.show(getattr(spec, own))}"
            findings.append(_finding("metadata", "safety", key, parsing.show(found), expected))
    return findings


def _says(declared: object, own: object) -> bool:
    """Whether a declared value is the spec's own; of another kind it isn't, and comparing arrays wouldn't tell."""
    declared = _number(declared)
    if isinstance(own, Mapping):
        if not isinstance(declared, Mapping) or not all(_is_index(key) for key in declared):
            return False
        return declared.keys() == own.keys() and all(_says(declared[key], value) for key, value in own.items())
    kind = Integral if isinstance(own, int) else str
    return isinstance(declared, kind) and declared == own


def _is_index(key: object) -> bool:
    return isinstance(key, Integral) and not isinstance(key, bool)


def _number(value: object) -> object:
    """A tensor's or array's one whole number, as Python counts it; anything else as it is."""
    if isinstance(value, torch.Tensor):
        single = not value.is_nested and not value.is_meta and value.dim() == 0 and value.layout == torch.strided
    else:
        single = isinstance(value, np.ndarray) and value.shape == ()
    number = value.item() if single else None  # type: ignore[attr-defined]
    return number if type(number) is int else value


def _nothing_fits(shape: Shape, checkpoint: Mapping[str, Any]) -> str:
    released = "; ".join(f"{s.version}: {Shape(s.obs_dim, s.n_actions)}" for s in MODEL_SPECS.values())
    seen = [f"{name[:80]} {list(size)}" for name, size in shapes_of(checkpoint.get("policy_state_dict")).items()]
    weights = "; ".join(seen[:_MOST_SEEN]) + (f"; and {len(seen) - _MOST_SEEN} more" if seen[_MOST_SEEN:] else "")
    declared = "; ".join(f"{key} {parsing.show(checkpoint[key])}" for key in _DECLARED if key in checkpoint) or "none"
    return (
        f"checkpoint: found {shape}, which no released spec has ({released}): {_RESAVE}. "
        f"Weights seen: {weights or 'none'}. Metadata seen: {declared}"
    )


def _finding(code: str, kind: Kind, place: str, found: str, expected: str) -> Finding:
    return Finding(code, kind, place, found, expected, _RESAVE)


def _warn(findings: Sequence[Finding]) -> None:
    for finding in findings:
        warnings.warn(f"[{finding.kind}] {finding.message}", stacklevel=3)
