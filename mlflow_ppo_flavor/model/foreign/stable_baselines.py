"""A PPO model of stable-baselines3, read from its weights and its readable text: nothing of it is unpickled."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.model.foreign.activation import Mention, of_text
from mlflow_ppo_flavor.model.foreign.fault import ONNX, fault
from mlflow_ppo_flavor.model.foreign.layer_map import linear_layers
from mlflow_ppo_flavor.model.foreign.layer_names import series_of
from mlflow_ppo_flavor.model.foreign.layers import PLACE, Layer, Layers
from mlflow_ppo_flavor.model.foreign.members import read_members
from mlflow_ppo_flavor.model.inert import read_torch
from mlflow_ppo_flavor.model.pickled.refusal import unreadable
from mlflow_ppo_flavor.model.policy import kind_of

DATA, POLICY, VERSION = "data", "policy.pth", "_stable_baselines3_version"
_POLICIES, _EXTRACTORS = "stable_baselines3.common.policies", "stable_baselines3.common.torch_layers"
_POLICY_CLASS = "ActorCriticPolicy"
_FLATTEN = f"<class '{_EXTRACTORS}.FlattenExtractor'>"
# what PPO keeps of its parameters, and A2C, DQN, SAC, TD3, TRPO don't all
_PPO = ("clip_range", "n_epochs", "gae_lambda", "vf_coef")
_INIT = re.compile(r"<function (\w+)\.__init__ at .*>")
_SPACE = re.compile(r"<class 'gym(?:nasium)?\.spaces\.\w+\.(\w+)'>")
_FLOATS = ("float32", "float64")
_SAVE = "give the file that PPO.save wrote"
_NETS = {
    "trunk": "mlp_extractor.shared_net.",
    "actor": "mlp_extractor.policy_net.",
    "critic": "mlp_extractor.value_net.",
}
_HEADS = {"actor": "action_net", "critic": "value_net"}


@dataclass(frozen=True, eq=False)
class StableBaselines:
    """What a model's archive readably says: weights by name, the text of `data`, the version that wrote it."""

    source: str
    weights: Mapping[str, Any]
    data: Mapping[str, Any]
    version: str

    @property
    def mentions(self) -> tuple[Mention, ...]:
        """What its text says of the activation: policy_kwargs, or the policy class's own default, Tanh."""
        given = self.data.get("policy_kwargs")
        if isinstance(given, Mapping) and "activation_fn" in given:
            return (of_text("data.policy_kwargs.activation_fn", str(given["activation_fn"])),)
        if isinstance(given, Mapping) and _policy_class(self.data) == f"{_POLICIES}.{_POLICY_CLASS}":
            return (Mention("data.policy_class", f"{_POLICY_CLASS}'s default", "tanh"),)
        return ()

    def findings(self, spec: ModelSpec | None) -> Iterator[Finding]:
        """Whatever in its text isn't a PPO of discrete actions and plain layers, or isn't of `spec` (where known)."""
        absent = [key for key in _PPO if key not in self.data]
        if absent:
            found = f"no {', '.join(absent)} among {', '.join(self.data) or 'nothing'}"
            yield fault("data", found, "the parameters of PPO", "another algorithm's policy means something else")
        policy = _policy_class(self.data)
        if policy != f"{_POLICIES}.{_POLICY_CLASS}":
            yield fault("data.policy_class", policy, f"{_POLICIES}.{_POLICY_CLASS} itself", ONNX)
        yield from self._option_findings()
        yield from self._action_findings(spec)
        yield from self._observation_findings(spec)

    def layers(self) -> tuple[Layers | None, list[Finding]]:
        """Its layers by the names that stable-baselines3 gives them, and a finding for each weight of another name."""
        linear, findings = linear_layers(self.weights)
        parts: dict[str, list[Layer]] = {part: [] for part in _NETS}
        heads = {name: part for part, name in _HEADS.items()}
        for layer in sorted(linear, key=lambda layer: series_of(layer.name)[1]):
            part = next((part for part, prefix in _NETS.items() if layer.name.startswith(prefix)), "")
            if part:
                parts[part].append(layer)
            elif layer.name not in heads:
                findings.append(fault(f"{PLACE}.{layer.name}", str(layer), "the layers of MlpExtractor alone", ONNX))
        for name, part in heads.items():
            parts[part] += [layer for layer in linear if layer.name == name]
        read = Layers(**{part: tuple(layers) for part, layers in parts.items()})
        findings += read.breaks()
        return (None if findings else read), findings

    def _option_findings(self) -> Iterator[Finding]:
        """Options that change what the network computes."""
        given = self.data.get("policy_kwargs")
        options = given if isinstance(given, Mapping) else {}
        if not isinstance(given, Mapping):
            yield fault("data.policy_kwargs", parsing.show(given), "the options of the policy", _SAVE)
        for place, value in (("use_sde", self.data.get("use_sde")), ("policy_kwargs.use_sde", options.get("use_sde"))):
            if value not in (None, False, "False"):
                yield fault(f"data.{place}", parsing.show(value), "false: gSDE is for continuous actions", ONNX)
        if options.get("squash_output") not in (None, False, "False"):
            yield fault("data.policy_kwargs.squash_output", parsing.show(options["squash_output"]), "false", ONNX)
        extractor = options.get("features_extractor_class", _FLATTEN)
        if extractor != _FLATTEN:
            yield fault("data.policy_kwargs.features_extractor_class", str(extractor), _FLATTEN, ONNX)

    def _action_findings(self, spec: ModelSpec | None) -> Iterator[Finding]:
        space = self.data.get("action_space")
        count = _number(space, "n")
        if _space(space) != "Discrete" or count is None or _number(space, "start") not in (None, 0):
            remedy = "a spec's actions are a table of discrete ones"
            yield fault("data.action_space", _show_space(space), "a Discrete of actions from 0", remedy)
        elif spec is not None and count != spec.n_actions:
            expected = f"the {spec.n_actions} actions of spec {spec.version}"
            yield fault("data.action_space", f"{count} actions", expected, "give its own spec: --spec FILE")

    def _observation_findings(self, spec: ModelSpec | None) -> Iterator[Finding]:
        space = self.data.get("observation_space")
        shape = _shape(space)
        kind = str(space.get("dtype")) if isinstance(space, Mapping) else ""
        if _space(space) != "Box" or shape is None or kind not in _FLOATS:
            expected = f"a Box of {' or '.join(_FLOATS)}"
            yield fault("data.observation_space", _show_space(space), expected, "a spec's observations are float32")
        elif spec is not None and shape not in ((spec.obs_dim,), (spec.window, spec.n_features)):
            expected = f"[{spec.obs_dim}] or [{spec.window}, {spec.n_features}] of spec {spec.version}"
            remedy = "observations are time-major, oldest bar first; give its own spec: --spec FILE"
            yield fault("data.observation_space", f"shape {list(shape)}", expected, remedy)


def read_stable_baselines(path: str | os.PathLike[str]) -> StableBaselines:
    """Read what `PPO.save` wrote; nothing of it is run. CheckpointError for an archive that can't be read as that."""
    members = read_members(path, (DATA, POLICY, VERSION))
    for name in (DATA, POLICY):
        if name not in members:
            raise unreadable(str(path), f"an archive without {name}", f"{DATA} and {POLICY} in it", _SAVE)
    try:
        data = json.loads(members[DATA])
    except (ValueError, RecursionError) as error:
        raise unreadable(f"{path}: {DATA}", f"no JSON ({error})", "that of stable-baselines3", _SAVE) from None
    weights = read_torch(io.BytesIO(members[POLICY]), f"{path}: {POLICY}")
    if not isinstance(data, dict) or not isinstance(weights, Mapping):
        found = f"{kind_of(data)} and {kind_of(weights)}"
        raise unreadable(str(path), found, "a mapping of parameters and one of weights", _SAVE)
    version = members[VERSION][:40].decode("utf-8", "replace").strip() if VERSION in members else "unknown"
    return StableBaselines(str(path), {str(name): tensor for name, tensor in weights.items()}, data, version)


def _policy_class(data: Mapping[str, Any]) -> str:
    """Module and name of the policy's class, as the text beside the pickled class says."""
    told = data.get("policy_class")
    if not isinstance(told, Mapping):
        return parsing.show(told)
    module, init = told.get("__module__"), _INIT.fullmatch(str(told.get("__init__")))
    return f"{module}.{init[1] if init else '(a class without __init__)'}"


def _space(space: object) -> str:
    """The name of a space's class: `Discrete`."""
    match = _SPACE.fullmatch(str(space.get(":type:"))) if isinstance(space, Mapping) else None
    return match[1] if match else ""


def _show_space(space: object) -> str:
    """A space as its text tells it, without the pickled bytes."""
    if not isinstance(space, Mapping):
        return parsing.show(space)
    told = ((key, value) for key, value in space.items() if key != ":serialized:" and not str(key).startswith("_np"))
    return ", ".join(f"{key.strip(':')} {parsing.show(value)}" for key, value in told)


def _number(space: object, key: str) -> int | None:
    """A whole number in a space's text: JSON's, or numpy's written out."""
    text = str(space.get(key)) if isinstance(space, Mapping) else ""
    return int(text) if re.fullmatch(r"\d{1,9}", text) else None


def _shape(space: object) -> tuple[int, ...] | None:
    """A space's shape: a list, or a tuple written out; older versions of gym called it `shape`."""
    told = space.get("_shape", space.get("shape")) if isinstance(space, Mapping) else None
    text = str(told) if isinstance(told, list | str) else ""
    return tuple(map(int, re.findall(r"\d{1,9}", text))) if re.fullmatch(r"[\[(][\d, ]*[\])]", text) else None
