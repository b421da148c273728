"""Checkpoints: the protocol's keys, the spec, the golden decisions. Written atomically, read without running code."""

from __future__ import annotations

import os
import re
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import torch

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.releases import get_checkpoint_metadata
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.errors import CheckpointError, SpecError
from mlflow_ppo_flavor.model.detection import inspect_checkpoint
from mlflow_ppo_flavor.model.policy import ActorCritic, agreed_spec, check_same, kind_of
from mlflow_ppo_flavor.model.proof import Golden

_PLAIN = (type(None), bool, int, float, str, list, tuple, dict, torch.Tensor)
_REMEDY = "give a file that save_checkpoint or a trainer of this protocol wrote"
# the deepest of this protocol, an optimizer's state, nests 4 deep and has some thousand values
_DEEPEST, _MOST_VALUES = 32, 4_000_000
_GLOBAL = re.compile(r"GLOBAL:? (\S+)")


@dataclass(frozen=True, eq=False)
class Checkpoint(Mapping[str, Any]):
    """A checkpoint as read: a mapping over the protocol's keys, and what they mean. `source` is where it came from."""

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
    """Read a checkpoint onto the CPU; no code of the file runs.

    CheckpointError for a file that isn't there, isn't a checkpoint, is truncated, holds pickled classes, or unfolds to
    more than its bytes.
    """
    try:
        with Path(path).open("rb") as file:
            data = _read(file, path)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}: expected a checkpoint file") from error
    if not isinstance(data, dict) or not isinstance(data.get("policy_state_dict"), Mapping):
        found = (
            f"a dict with {', '.join(map(str, data)) or 'nothing'}" if isinstance(data, dict) else type(data).__name__
        )
        raise CheckpointError(f"{path}: found {found}, expected a dict with policy_state_dict: {_REMEDY}")
    _check_contents(data, path)
    return Checkpoint(str(path), data)


def _read(file: BinaryIO, path: str | os.PathLike[str]) -> Any:
    try:
        _check_archive(file, path)
        return torch.load(file, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # noqa: BLE001 (torch's readers raise a dozen kinds for bytes that aren't a checkpoint)
        raise CheckpointError(f"{path}: {_reason(error)}") from None


def _check_archive(file: BinaryIO, path: str | os.PathLike[str]) -> None:
    """Refuse an archive whose members unfold to more than it holds: torch stores them as they are."""
    size = os.fstat(file.fileno()).st_size
    if zipfile.is_zipfile(file):
        unfolded = sum(member.file_size for member in zipfile.ZipFile(file).infolist())
        if unfolded > size:
            found = f"{unfolded} bytes packed into {size}, expected members stored as they are"
            raise CheckpointError(f"{path}: found {found}: {_REMEDY}")
    file.seek(0)


def _check_contents(data: Mapping[Any, Any], path: str | os.PathLike[str]) -> None:
    """Refuse containers that nest too deep or unfold without end, and tensors with more numbers than are stored."""
    waiting: list[tuple[str, Any, int]] = [("", data, 0)]
    room = _MOST_VALUES
    while waiting:
        place, value, depth = waiting.pop()
        if isinstance(value, torch.Tensor):
            _check_stored(value, f"{path}: {place}")
            continue
        room -= len(value)
        if depth > _DEEPEST or room < 0:
            found = f"more than {_DEEPEST} levels" if room >= 0 else f"more than {_MOST_VALUES} values"
            raise CheckpointError(f"{path}: {place[:80]}: found {found}, expected a checkpoint's few: {_REMEDY}")
        named = isinstance(value, Mapping)
        members = value.items() if named else enumerate(value)
        for key, member in members:
            if isinstance(member, Mapping | list | tuple | torch.Tensor):
                waiting.append((parsing.join(place, str(key)) if named else f"{place}[{key}]", member, depth + 1))


def _check_stored(tensor: torch.Tensor, place: str) -> None:
    """Refuse a tensor without numbers of its own: a small file may claim an enormous one."""
    dense = not tensor.is_nested and not tensor.is_meta and tensor.layout == torch.strided
    if not dense or tensor.nbytes > tensor.untyped_storage().nbytes():
        raise CheckpointError(f"{place}: found a tensor that isn't stored whole, expected a dense one: {_REMEDY}")


def _reason(error: Exception) -> str:
    """Why torch couldn't read a file, without its advice to switch the protection off."""
    refused = _GLOBAL.search(str(error))
    if refused:
        return (
            f"found a pickled {refused[1]}, expected plain types and tensors alone: nothing of the file was run; "
            "save it again without objects of other classes (its config as a plain dict, for instance)"
        )
    return f"found no whole checkpoint ({type(error).__name__}), it is truncated or another kind of file: {_REMEDY}"


def _plain(value: Any, path: str, deeper: int = _DEEPEST) -> Any:
    """The value with containers copied and tensors detached on the CPU; refused by its path if its type isn't plain or
    it nests more than `deeper` deep.
    """
    if deeper < 0:
        remedy = "flatten it, or look whether it holds itself"
        raise CheckpointError(f"{path[:80]}…: found more than {_DEEPEST} levels, expected at most that: {remedy}")
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
