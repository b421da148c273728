"""Checkpoints: the protocol's keys, the spec, the golden decisions. Written atomically, read inertly."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.releases import get_checkpoint_metadata
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.errors import CheckpointError, SpecError
from mlflow_ppo_flavor.model.detection import inspect_checkpoint
from mlflow_ppo_flavor.model.inert import read_torch_file
from mlflow_ppo_flavor.model.pickled.contents import DEEPEST
from mlflow_ppo_flavor.model.pickled.holder import shown_kind
from mlflow_ppo_flavor.model.pickled.refusal import unreadable
from mlflow_ppo_flavor.model.policy import ActorCritic, agreed_spec, check_same, kind_of
from mlflow_ppo_flavor.model.proof import Golden

_PLAIN = (type(None), bool, int, float, str, list, tuple, dict, torch.Tensor)


@dataclass(frozen=True, eq=False)
class Checkpoint(Mapping[str, Any]):
    """A checkpoint as read: a mapping over the protocol's keys, and what they mean. `source` is where it came from.

    Values may be Holders where other code wrote it, its `config` for one; weights are tensors.
    """

    source: str
    data: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        """The value of one of the protocol's keys; KeyError where it is absent."""
        return self.data[key]

    def __iter__(self) -> Iterator[str]:
        """The keys present."""
        return iter(self.data)

    def __len__(self) -> int:
        """How many keys are present."""
        return len(self.data)

    @cached_property
    def spec(self) -> ModelSpec:
        """The stored spec, or the released one that version or weights tell. Raises as `inspect_checkpoint`."""
        return inspect_checkpoint(self).spec

    @cached_property
    def golden(self) -> Golden | None:
        """The golden decisions that the trainer recorded; None in an unproven checkpoint. SpecError if unreadable."""
        stored = self.get("golden")
        return None if stored is None else Golden.from_tensors(stored, "golden")

    def policy(self) -> ActorCritic:
        """The network with these weights, for inference.

        CheckpointError for a checkpoint that doesn't say how its network is built; SpecError where its weights aren't
        those of its spec and architecture.
        """
        architecture = self.get("architecture")
        if architecture is None:
            raise CheckpointError(
                f"{self.source}: architecture: found nothing, expected class, hidden_dims and activation: "
                "an activation can't be told from weights: build an ActorCritic, load the weights and save it again"
            )
        return ActorCritic.from_architecture(self.spec, architecture, self["policy_state_dict"])


def save_checkpoint(
    path: str | os.PathLike[str],
    policy: ActorCritic,
    optimizer: torch.optim.Optimizer | None = None,
    global_step: int = 0,
    config: Mapping[str, Any] | None = None,
    spec: ModelSpec | None = None,
    golden: Golden | None = None,
) -> None:
    """Write a checkpoint of plain types and CPU tensors; `path` has the old file or the whole new one at any time.

    `spec` may add to the policy's own what is outside its fingerprint, and bars where it has none. CheckpointError for
    a config value of another type than None, bool, int, float, str, list, tuple, dict, tensor (told by its path), one
    that nests more than 32 deep, or a file that can't be written; SpecError for what isn't an ActorCritic, and where
    policy, spec and golden decisions contradict each other.
    """
    if not isinstance(policy, ActorCritic):
        raise SpecError("policy", kind_of(policy), "an ActorCritic")
    whole = agreed_spec(policy.spec, spec)
    if golden is not None:
        check_same(whole, golden.spec, "golden.spec")
    content = {
        "policy_state_dict": policy.state_dict(),
        "optimizer_state_dict": None if optimizer is None else optimizer.state_dict(),
        "global_step": parsing.integer(global_step, "global_step", low=0, high=2**63 - 1),
        "config": dict(config or {}),
        **get_checkpoint_metadata(whole),
        "architecture": policy.architecture,
        "golden": None if golden is None else golden.to_tensors(),
    }
    _write(Path(path), {key: _plain(value, key) for key, value in content.items()})


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint onto the CPU, inertly: in the zip format of torch.save or the one before, from any device.

    No code of the file runs, and the modules of its classes needn't exist: objects of other classes than plain types,
    tensors and numpy arrays are Holders with their state (`plain_state` tells it by name). CheckpointError for a file
    that isn't there, isn't a checkpoint, is truncated, broken or unfolds to more than its bytes, and by its name for a
    weight that is no tensor.
    """
    data = read_torch_file(path)
    if not isinstance(data, dict) or "policy_state_dict" not in data:
        found = f"a dict with {_keys(data)}" if isinstance(data, dict) else shown_kind(data)
        raise unreadable(str(path), found, "a dict with policy_state_dict")
    _check_weights(data["policy_state_dict"], f"{path}: policy_state_dict")
    return Checkpoint(str(path), data)


def _keys(data: Mapping[Any, Any]) -> str:
    names = [str(key)[:40] if isinstance(key, str | int) else shown_kind(key) for key in islice(data, 20)]
    return ", ".join(names) + (", …" if len(data) > len(names) else "") or "nothing"


def _check_weights(weights: Any, place: str) -> None:
    """Refuse weights that are anything but tensors by name, in mappings that may nest."""
    if not isinstance(weights, Mapping):
        raise unreadable(place, shown_kind(weights), "a mapping of names to tensors")
    for name, weight in weights.items():
        path = f"{place}.{str(name)[:80] if isinstance(name, str | int) else shown_kind(name)}"
        if isinstance(weight, Mapping):
            _check_weights(weight, path)
        elif not isinstance(weight, torch.Tensor):
            remedy = "nothing of it was run: save the weights themselves, as policy.state_dict() gives them"
            raise unreadable(path, shown_kind(weight), "a tensor", remedy)


def _plain(value: Any, path: str, deeper: int = DEEPEST) -> Any:
    """The value with containers copied and tensors detached on the CPU; refused by its path if its type isn't plain or
    it nests more than `deeper` deep.
    """
    if deeper < 0:
        remedy = "flatten it, or look whether it holds itself"
        raise CheckpointError(f"{path[:80]}…: found more than {DEEPEST} levels, expected at most that: {remedy}")
    if isinstance(value, torch.Tensor):
        # a view would drag its whole storage into the file
        return value.detach().to("cpu", copy=value.untyped_storage().nbytes() != value.nbytes).contiguous()
    if isinstance(value, Mapping):
        for key in value:
            if type(key) not in (str, int):
                raise CheckpointError(f"{path}: found the key {parsing.show(key)}, expected str or int keys")
        return {key: _plain(member, f"{path}.{key}", deeper - 1) for key, member in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_plain(member, f"{path}[{i}]", deeper - 1) for i, member in enumerate(value))
    if type(value) not in _PLAIN:
        raise CheckpointError(
            f"{path}: found {parsing.show(value)} ({type(value).__module__}.{type(value).__qualname__}), expected "
            f"{', '.join(kind.__name__ for kind in _PLAIN)}: convert it, so that no code runs when it is loaded"
        )
    return value


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write beside the target, flush to disk, then rename over it: a crash leaves the old file whole."""
    # not tempfile's: nobody else could read the checkpoint then
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}: expected a place to write a checkpoint") from error
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
