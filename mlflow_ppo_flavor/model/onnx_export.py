"""Exporting any torch module to ONNX, and the proof that what came out computes the same."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.errors import SpecError
from mlflow_ppo_flavor.extras import needing
from mlflow_ppo_flavor.model.inference import Float32, infer
from mlflow_ppo_flavor.model.onnx_policy import INPUT, LOGITS, VALUES, OnnxPolicy
from mlflow_ppo_flavor.model.policy import check_spec, kind_of

TOLERANCE = 1e-5
"""Outputs agree with the module's own within this × max(1, |output|)."""
BATCHES = (1, 2, 5, 64)
_EXAMPLES = 3
_SEED = 0


class _Named(nn.Module):
    """A module behind the names and kinds of our format: float32, values [n]."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, observations: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        found = self.module(observations)
        if isinstance(found, torch.Tensor):
            return found.float()
        logits, values = found
        return logits.float(), values.float().reshape(-1)


def export_module(module: nn.Module, spec: ModelSpec | None) -> OnnxPolicy:
    """The policy of `spec` that a module computes: observations float32[n, obs_dim] → logits, or (logits, values).

    Exported as in eval mode; the module itself stays as it was. SpecError without a spec, for outputs of other shapes,
    for a module that torch can't export, and where what was exported differs from the module on random observations,
    telling the largest difference; MissingExtra without the packages of the extra `onnx`.
    """
    if spec is None:
        raise SpecError("spec", "nothing", "a ModelSpec", f"a {kind_of(module)} doesn't know what it was trained for")
    check_spec(spec, "spec")
    with needing("onnx", f"storing a {kind_of(module)}"):
        import onnx  # noqa: F401 (torch would say it in its own words, later)
        import onnxscript  # noqa: F401
    with _as_evaluated(module), torch.no_grad(), torch.autocast(_device(module).type, enabled=False):
        names = _outputs(module, spec)
        policy = OnnxPolicy(spec, _exported(module, spec, names))
        _check_equal(module, policy)
    return policy


@contextmanager
def _as_evaluated(module: nn.Module) -> Iterator[None]:
    """Eval mode inside, and each part's own mode again outside."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def _outputs(module: nn.Module, spec: ModelSpec) -> list[str]:
    """The names of what the module gives. SpecError for another number of outputs, or other shapes."""
    n = _EXAMPLES
    try:
        found: object = module(_random(module, spec, n))
    except Exception as error:
        given = f"a {kind_of(module)} that raises {type(error).__name__} ({_reason(error)})"
        raise SpecError(
            "policy", given, f"one that takes float32[{n}, {spec.obs_dim}] (spec {spec.version})"
        ) from error
    parts = list(found) if isinstance(found, tuple | list) else [found]
    shapes = [list(part.shape) if isinstance(part, torch.Tensor) else kind_of(part) for part in parts]
    if len(parts) > 2 or shapes[:1] != [[n, spec.n_actions]] or shapes[1:] not in ([], [[n]], [[n, 1]]):
        given = f"{' and '.join(map(str, shapes)) or 'nothing'} for {n} observations"
        expected = f"logits [{n}, {spec.n_actions}] alone, or with values [{n}]"
        raise SpecError("policy", given, expected, f"they are what spec {spec.version} decides by")
    return [LOGITS, VALUES][: len(parts)]


def _exported(module: nn.Module, spec: ModelSpec, names: list[str]) -> bytes:
    """The ONNX model's bytes, without the exporter's notes: those tell paths of this machine."""
    example = torch.zeros((_EXAMPLES, spec.obs_dim), device=_device(module))
    try:
        with _quiet():
            program: Any = torch.onnx.export(
                _Named(module).eval(),
                (example,),
                dynamo=True,
                verbose=False,
                external_data=False,
                input_names=[INPUT],
                output_names=names,
                dynamic_shapes=({0: torch.export.Dim("n")},),
            )
    except Exception as error:
        given, remedy = f"a {kind_of(module)} that torch can't export ({_reason(error)})", "see torch.onnx.export"
        raise SpecError("policy", given, "one that it can", remedy) from error
    model = program.model_proto
    for message in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output):
        message.ClearField("metadata_props")
        message.ClearField("doc_string")
    model.graph.ClearField("value_info")
    content: bytes = model.SerializeToString()
    return content


def _reason(error: BaseException) -> str:
    """The first line of what went wrong first: the exporter wraps it in its own advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what the exporter says of packages and of its own code."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _check_equal(module: nn.Module, policy: OnnxPolicy) -> None:
    """Refuse an export that computes something else: SpecError with the largest difference."""
    largest = 0.0
    for n in BATCHES:
        seen = _random(module, policy.spec, n)
        found: Any = module(seen)
        parts = list(found) if isinstance(found, tuple | list) else [found]
        logits, values = infer(policy, seen.cpu().numpy())
        for own, ours in zip(parts, (logits, values), strict=False):
            largest = max(largest, _difference(own.float().cpu().numpy(), ours))
    if not largest <= TOLERANCE:
        found = f"outputs that differ by {largest:.2g} × max(1, |output|) once exported"
        remedy = "does it draw random numbers, or decide by its input in Python?"
        raise SpecError("policy", found, f"at most {TOLERANCE:g}", remedy)


def _difference(own: Float32, ours: Float32) -> float:
    """The largest difference, in units of max(1, |own|); infinite where a number isn't finite."""
    own = own.reshape(ours.shape).astype(np.float64)
    found = float(np.max(np.abs(ours - own) / np.maximum(1.0, np.abs(own))))
    return found if np.isfinite(found) else np.inf


def _random(module: nn.Module, spec: ModelSpec, n: int) -> torch.Tensor:
    drawn = np.random.default_rng(_SEED + n).standard_normal((n, spec.obs_dim), dtype=np.float32)
    return torch.from_numpy(drawn).to(_device(module))


def _device(module: nn.Module) -> torch.device:
    tensor = next(module.parameters(), next(module.buffers(), None))
    return torch.device("cpu") if tensor is None else tensor.device
