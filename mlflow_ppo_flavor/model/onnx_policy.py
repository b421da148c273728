"""OnnxPolicy: any module's network, run by onnxruntime where the module's class doesn't exist."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import torch

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.errors import ObservationError, SpecError
from mlflow_ppo_flavor.model.inference import Float32, infer
from mlflow_ppo_flavor.model.onnx_file import check_onnx
from mlflow_ppo_flavor.model.policy import kind_of

CLASS = "Onnx"
INPUT, LOGITS, VALUES = "observations", "logits", "values"
_FLOAT = "tensor(float)"
_ERRORS_ONLY = 3


class OnnxPolicy:
    """A policy of `spec` as the bytes of an ONNX model, `content`, that is complete in itself: see `check_onnx`.

    Its input is `observations` float32[n, obs_dim]; its outputs are `logits` float32[n, n_actions] and, with a critic,
    `values` float32[n], for any n from 1. One thread, on the CPU, the same numbers again. SpecError, beginning with
    `path`, for other bytes, inputs or outputs.
    """

    def __init__(self, spec: ModelSpec, content: bytes, path: str = "policy") -> None:
        check_onnx(content, path)
        self.spec, self.content = spec, content
        self._session = _session(content, path)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self._outputs = [output.name for output in outputs]
        owed: dict[str, tuple[int, ...]] = {INPUT: (spec.obs_dim,)}
        _check_ports(f"{path}.inputs", inputs, owed)
        owed = {LOGITS: (spec.n_actions,), **({VALUES: ()} if VALUES in self._outputs else {})}
        _check_ports(f"{path}.outputs", outputs, owed)

    @property
    def architecture(self) -> dict[str, Any]:
        """How it is built, as JSON values: the file says it all."""
        return {"class": CLASS}

    @property
    def has_critic(self) -> bool:
        """Whether it has the output `values`; otherwise values are NaN."""
        return VALUES in self._outputs

    def infer(self, observations: Float32) -> tuple[Float32, Float32]:
        """(logits, values) of observations float32[n, obs_dim]: see `infer`. SpecError where a shape is another."""
        n = len(observations)
        if n == 0:
            return np.empty((0, self.spec.n_actions), np.float32), np.empty(0, np.float32)
        found = dict(zip(self._outputs, self._session.run(None, {INPUT: observations}), strict=True))
        logits, values = found[LOGITS], found.get(VALUES, np.full(n, np.nan, dtype=np.float32))
        if logits.shape != (n, self.spec.n_actions) or values.shape != (n,):
            shapes = f"logits {list(logits.shape)} and values {list(values.shape)} of {n} observations"
            raise SpecError("policy", shapes, f"[{n}, {self.spec.n_actions}] and [{n}]")
        return logits, values

    def __call__(self, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(logits [n, n_actions], values [n]) as tensors, as an ActorCritic gives them. ObservationError."""
        given: object = observations
        if not isinstance(given, torch.Tensor):
            raise ObservationError(
                f"observations: found {kind_of(given)}, expected a torch.Tensor: give torch.from_numpy(array)"
            )
        logits, values = infer(self, observations.detach().cpu().numpy())
        return torch.from_numpy(logits), torch.from_numpy(values)


def read_architecture(data: object, path: str) -> None:
    """Refuse what isn't an OnnxPolicy's architecture: SpecError with its dotted path."""
    read = parsing.mapping(data, path, ("class",))
    parsing.take(read, "class", path, parsing.choice, of=(CLASS,))


def _session(content: bytes, path: str) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = _ERRORS_ONLY
    # its other format isn't what was checked
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 (onnxruntime raises kinds of its own, and RuntimeError)
        reason = str(error).splitlines()[0][:300]
        raise SpecError(path, f"a model that onnxruntime doesn't take ({reason})", "a whole ONNX model") from None


def _check_ports(path: str, found: list[Any], owed: dict[str, tuple[int, ...]]) -> None:
    """Refuse inputs or outputs other than `owed`: {name: its shape behind the number of observations}."""
    expected = ", ".join(f"{name} float32[{', '.join(['n', *map(str, rest)])}]" for name, rest in owed.items())
    shown = ", ".join(f"{port.name} {port.type}{port.shape}" for port in found)
    ports = {port.name: port for port in found}
    fits = len(ports) == len(found) and ports.keys() == owed.keys()
    for name, rest in owed.items() if fits else ():
        shape = ports[name].shape
        # a number in the first place would be the only number of observations that it takes
        fits = fits and ports[name].type == _FLOAT and tuple(shape[1:]) == rest and not isinstance(shape[0], int)
    if not fits:
        raise SpecError(path, shown or "none", expected)
