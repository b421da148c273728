"""Which spec a checkpoint is of: by its whole spec, its declared version or its weights' shapes. The weights decide."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, NamedTuple

from packaging.version import Version

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.compatibility import Finding, Kind, Verdict, check_compatibility
from mlflow_ppo_flavor.contract.releases import CURRENT_TRADER_VERSION, MODEL_SPECS
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.errors import CheckpointError, IncompatibleModel

_RESAVE = "save it with save_checkpoint, so that the whole spec travels with the weights"
_DECLARED = ("model_version", "min_trader_version", "n_features", "n_actions", "obs_dim", "action_meanings")
_ACTOR_NAMES = ("actor", "policy", "action", "pi")


class Inspection(NamedTuple):
    """What a checkpoint is: its model version, its spec, and every finding on the way there."""

    version: str
    spec: ModelSpec
    findings: tuple[Finding, ...]


class Shape(NamedTuple):
    """What the weights say of themselves: length of an observation and number of actions; None where they don't."""

    obs_dim: int | None
    n_actions: int | None

    def __str__(self) -> str:
        """`5900 inputs and 7 actions`."""
        inputs, actions = ("unknown" if number is None else str(number) for number in self)
        return f"{inputs} inputs and {actions} actions"

    def fits(self, spec: ModelSpec) -> bool:
        """Whether nothing that is known differs from `spec`."""
        return self.obs_dim in (None, spec.obs_dim) and self.n_actions in (None, spec.n_actions)


def inspect_checkpoint(checkpoint: Mapping[str, Any]) -> Inspection:
    """The version and spec of a checkpoint, with every finding. Reads; warns of nothing.

    A whole spec is taken as it stands. A declared version that is released gives its spec, unless the weights are of
    another shape: they decide. Without either, the weights' shape tells. CheckpointError where the declared version
    isn't known, where nothing fits, and for what is no mapping; SpecError for a whole spec that can't be read.
    """
    if not isinstance(checkpoint, Mapping):
        raise CheckpointError(f"checkpoint: found {type(checkpoint).__name__}, expected a Checkpoint or a dict")
    shape = shape_of_weights(_weights(checkpoint))
    whole, declared = checkpoint.get("spec"), checkpoint.get("model_version")
    if whole is not None:
        spec = ModelSpec.from_dict(whole, "spec")
        findings = _shape_findings(spec, shape)
    elif declared is not None:
        spec, findings = _of_version(declared, shape)
    else:
        spec, findings = _of_shape(shape, checkpoint)
    return Inspection(spec.version, spec, (*findings, *_metadata_findings(checkpoint, spec)))


def detect_version_from_checkpoint(checkpoint: Mapping[str, Any]) -> tuple[str, ModelSpec]:
    """(model version, spec) of a Checkpoint or legacy dict; warns of every finding, raises as `inspect_checkpoint`."""
    version, spec, findings = inspect_checkpoint(checkpoint)
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


def shape_of_weights(weights: Mapping[str, Sequence[int]]) -> Shape:
    """What {name: shape} tells, whatever the layers are called: in a chain of layers, the width that enters and isn't
    made by any is the observation's; those made and not used again are the actions' and the critic's one.

    Where widths coincide, the first matrix takes the observation and the last with an actor's name gives the actions.
    """
    matrices = {name: shape for name, shape in weights.items() if len(shape) == 2}
    made, used = ({shape[i] for shape in matrices.values()} for i in (0, 1))
    enters, leaves = used - made, made - used - {1}
    named = [s[0] for n, s in matrices.items() if any(part in n.lower() for part in _ACTOR_NAMES) and s[0] > 1]
    first = next((shape[1] for shape in matrices.values()), None)
    return Shape(
        obs_dim=enters.pop() if len(enters) == 1 else first,
        n_actions=leaves.pop() if len(leaves) == 1 else (named[-1] if named else None),
    )


def _weights(checkpoint: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """{name: shape} of the policy's weights; empty where there are none."""
    state = checkpoint.get("policy_state_dict")
    if not isinstance(state, Mapping):
        return {}
    # a nested tensor has no shape, and says so by RuntimeError
    shaped = {name: tensor for name, tensor in state.items() if not getattr(tensor, "is_nested", False)}
    return {str(name): tuple(tensor.shape) for name, tensor in shaped.items() if hasattr(tensor, "shape")}


def _of_version(declared: object, shape: Shape) -> tuple[ModelSpec, list[Finding]]:
    if not isinstance(declared, str) or declared not in MODEL_SPECS:
        known = ", ".join(MODEL_SPECS)
        raise CheckpointError(
            f"model_version: found {parsing.show(declared)}, expected one of {known}, or a whole spec beside it: "
            f"it is refused and not guessed: {_RESAVE}"
        )
    spec = MODEL_SPECS[declared]
    fitting = _fitting(shape)
    if shape.fits(spec) or not fitting:
        return spec, _shape_findings(spec, shape)
    finding = _finding(
        "metadata", "safety", "model_version", declared, f"the weights have {shape}, as {fitting[-1].version}"
    )
    return fitting[-1], [finding]


def _of_shape(shape: Shape, checkpoint: Mapping[str, Any]) -> tuple[ModelSpec, list[Finding]]:
    fitting = _fitting(shape) if None not in shape else []
    if not fitting:
        raise CheckpointError(_nothing_fits(shape, checkpoint))
    spec, names = fitting[-1], ", ".join(spec.version for spec in fitting)
    equal = f"{names}, which are equal: it is taken as {spec.version}" if len(fitting) > 1 else names
    expected = f"the weights have {shape}, as {equal}"
    return spec, [_finding("detected", "warning", "model_version", "no version and no spec", expected)]


def _fitting(shape: Shape) -> list[ModelSpec]:
    """The released specs of this shape, by version."""
    specs = sorted(MODEL_SPECS.values(), key=lambda spec: Version(spec.version))
    return [spec for spec in specs if shape.fits(spec)]


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
    if isinstance(own, Mapping):
        whole = isinstance(declared, Mapping) and set(map(type, declared)) <= {int} and declared.keys() == own.keys()
        return whole and all(_says(declared[key], value) for key, value in own.items())  # type: ignore[index]
    kind = Integral if isinstance(own, int) else str
    return isinstance(declared, kind) and declared == own


def _nothing_fits(shape: Shape, checkpoint: Mapping[str, Any]) -> str:
    released = "; ".join(f"{s.version}: {Shape(s.obs_dim, s.n_actions)}" for s in MODEL_SPECS.values())
    weights = "; ".join(f"{name} {list(size)}" for name, size in _weights(checkpoint).items()) or "none"
    declared = "; ".join(f"{key} {parsing.show(checkpoint[key])}" for key in _DECLARED if key in checkpoint) or "none"
    return (
        f"checkpoint: found {shape}, which no released spec has ({released}): {_RESAVE}. "
        f"Weights seen: {weights}. Metadata seen: {declared}"
    )


def _finding(code: str, kind: Kind, place: str, found: str, expected: str) -> Finding:
    return Finding(code, kind, place, found, expected, _RESAVE)


def _warn(findings: Sequence[Finding]) -> None:
    for finding in findings:
        warnings.warn(f"[{finding.kind}] {finding.message}", stacklevel=3)
