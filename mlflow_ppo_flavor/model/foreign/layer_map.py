"""Reading foreign weights as a network: only a reading that is the only one is taken."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.model.foreign.fault import ONNX, fault
from mlflow_ppo_flavor.model.foreign.layer_names import ACTOR, CRITIC, TRUNK, parts_of, series_of
from mlflow_ppo_flavor.model.foreign.layers import PLACE, Layer, Layers
from mlflow_ppo_flavor.model.policy import kind_of

_MOST_LAYERS, _MOST_STEPS, _ENOUGH, _SHOWN = 64, 20_000, 50, 4
_MAP = "say which layer is which with --map OLD=NEW, NEW being trunk.0, trunk.2, …, actor.0, … or critic.0, …"
_Groups = Mapping[str, list[Layer]]


def linear_layers(weights: Mapping[str, Any]) -> tuple[list[Layer], list[Finding]]:
    """The linear layers among weights by name, and a finding for each weight that belongs to none, or isn't finite."""
    layers, findings = [], []
    matrices = {name for name, tensor in weights.items() if name.endswith(".weight") and _is_dense(tensor, 2)}
    for name, tensor in weights.items():
        layer, _, kind = name.rpartition(".")
        is_bias = kind == "bias" and f"{layer}.weight" in matrices and _is_dense(tensor, 1)
        if name not in matrices and not is_bias:
            findings.append(fault(f"{PLACE}.{name}", _describe(name, tensor), "linear layers alone", ONNX))
        elif not torch.isfinite(tensor.float()).all():
            wanted = "finite weights of float32"
            findings.append(fault(f"{PLACE}.{name}", "NaN or infinity", wanted, "its training has diverged"))
        elif is_bias and len(tensor) != len(weights[f"{layer}.weight"]):
            wanted = f"[{len(weights[f'{layer}.weight'])}], as {layer}.weight has outputs"
            findings.append(fault(f"{PLACE}.{name}", str(list(tensor.shape)), wanted, "it isn't a linear layer's"))
        elif name in matrices:
            layers.append(Layer(layer, tensor, weights.get(f"{layer}.bias")))
    return layers, findings


def read_layers(layers: Sequence[Layer], obs_dim: int, n_actions: int) -> tuple[Layers | None, list[Finding]]:
    """The one reading of linear layers as a network from `obs_dim` numbers to `n_actions` logits and a value.

    Names tell which head a layer belongs to; one that speaks of none belongs to the trunk, or to a head that no name
    speaks of. Shapes and the numbers in names tell the order. None, and a finding with all layers, where no reading
    fits or several do.
    """
    spoken = parts_of([layer.name for layer in layers])
    torn = [name for name, parts in spoken.items() if len(parts) > 1]
    if torn or len(layers) > _MOST_LAYERS:
        found = f"{torn[0]}, which speaks of both heads" if torn else f"{len(layers)} layers"
        return None, [_refusal(found, f"names of one head each and at most {_MOST_LAYERS} layers", layers)]
    search = _Search(obs_dim, n_actions)
    parts = {name: next(iter(parts), "") for name, parts in spoken.items()}
    readings = list(islice(search.readings(layers, parts), _ENOUGH))
    distinct = {str(reading): reading for reading in readings}
    if len(distinct) == 1 and not search.exhausted:
        return readings[0], []
    if distinct:
        shown = " — or ".join(list(distinct)[:_SHOWN])
        return None, [_refusal(f"{len(distinct)} readings: {shown}", "one reading", layers)]
    wanted = f"a way from {obs_dim} numbers to {n_actions} logits and another to 1 value, through every layer"
    return None, [_refusal("too many orders to try" if search.exhausted else "no such way", wanted, layers)]


@dataclass
class _Search:
    """Looks for every reading, with a bound on its steps."""

    obs_dim: int
    n_actions: int
    steps: int = 0

    @property
    def exhausted(self) -> bool:
        return self.steps > _MOST_STEPS

    def readings(self, layers: Sequence[Layer], parts: Mapping[str, str]) -> Iterator[Layers]:
        for groups in self._assignments(layers, parts):
            for trunk in self._orders(groups[TRUNK], self.obs_dim, None):
                width = trunk[-1].leaving if trunk else self.obs_dim
                for actor in self._orders(groups[ACTOR], width, self.n_actions):
                    for critic in self._orders(groups[CRITIC], width, 1):
                        yield Layers(trunk, actor, critic)

    def _assignments(self, layers: Sequence[Layer], parts: Mapping[str, str]) -> Iterator[_Groups]:
        """Every way to give the layers that speak of no part to one."""
        spoken: _Groups = {part: [x for x in layers if parts[x.name] == part] for part in (TRUNK, ACTOR, CRITIC)}
        silent = [layer for layer in layers if not parts[layer.name]]
        for part in (ACTOR, CRITIC):
            if silent and not spoken[part]:
                yield {**spoken, part: silent}
        for actor in self._outputs(silent, self.n_actions):
            for critic in self._outputs(silent, 1):
                if not actor or actor != critic:
                    rest = [layer for layer in silent if layer not in (*actor, *critic)]
                    heads = {ACTOR: [*spoken[ACTOR], *actor], CRITIC: [*spoken[CRITIC], *critic]}
                    yield {TRUNK: [*spoken[TRUNK], *rest], **heads}

    def _outputs(self, silent: Collection[Layer], leaving: int) -> Iterator[list[Layer]]:
        """None, or any one of the silent layers that makes as many numbers as a head's output."""
        yield []
        yield from ([layer] for layer in silent if layer.leaving == leaving)

    def _orders(self, layers: Sequence[Layer], entering: int, leaving: int | None) -> Iterator[tuple[Layer, ...]]:
        """Every order in which each layer takes what the one before makes, and each series keeps its own order.

        A trunk may end with any number (`leaving` None) and be empty; a head may not.
        """
        if not layers:
            if leaving is None:
                yield ()
            return
        self.steps += 1
        if self.exhausted:
            return
        for layer in layers:
            if layer.entering != entering or not _is_next(layer, layers):
                continue
            rest = [other for other in layers if other is not layer]
            if rest or leaving in (None, layer.leaving):
                after = self._orders(rest, layer.leaving, leaving) if rest else [()]
                yield from ((layer, *tail) for tail in after)


def _is_next(layer: Layer, layers: Sequence[Layer]) -> bool:
    """Whether no layer of the same series stands before this one."""
    series, place = series_of(layer.name)
    return all(place <= other for kind, other in (series_of(x.name) for x in layers) if kind == series)


def _refusal(found: str, expected: str, layers: Sequence[Layer]) -> Finding:
    seen = ", ".join(map(str, layers)) or "no linear layer"
    return fault(PLACE, found, expected, f"{_MAP}; or {ONNX}. Layers seen: {seen}")


def _is_dense(tensor: object, dimensions: int) -> bool:
    """Whether it is a dense tensor of real floating-point numbers in memory, of so many dimensions."""
    if not isinstance(tensor, torch.Tensor) or tensor.is_nested or tensor.is_meta or tensor.layout != torch.strided:
        return False
    return tensor.is_floating_point() and tensor.ndim == dimensions and tensor.numel() > 0


def _describe(name: str, tensor: object) -> str:
    """What a weight that isn't a linear layer's looks like, and what it probably is."""
    if not isinstance(tensor, torch.Tensor) or tensor.is_nested:
        return parsing.show(tensor) if not isinstance(tensor, torch.Tensor) else kind_of(tensor)
    kind = name.rpartition(".")[2]
    guesses = {
        "a recurrent layer's": kind.startswith(("weight_ih", "weight_hh", "bias_ih", "bias_hh")),
        "a continuous action's spread": "log_std" in kind or "logstd" in kind,
        "running statistics": kind.startswith("running_") or kind == "num_batches_tracked",
        "a convolution's": kind == "weight" and tensor.ndim > 2,
        "PReLU's": kind == "weight" and tensor.shape == (1,),
        "a normalisation layer's": kind == "weight" and tensor.ndim == 1,
    }
    guess = next((guess for guess, fits in guesses.items() if fits), "no linear layer's")
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}, {guess}"
