"""PPOConfig and EpisodeConfig: every number that a training run is made from, checked once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.errors import SpecError


class Seeds(NamedTuple):
    """One seed, below 2**63, for each generator of a run."""

    weights: int
    actions: int
    shuffling: int
    episodes: int
    recording: int


LR_SCHEDULES = ("linear", "constant")
_MOST = 10**12


@dataclass(frozen=True)
class PPOConfig:
    """What PPO is told, in the words of the field (CleanRL, Huang et al. 2022: "The 37 Implementation Details of PPO").

    A batch is `num_envs` × `num_steps` steps; an update uses it for `update_epochs` passes of `num_minibatches`
    each. `learning_rate` falls linearly to 0 over the updates or stays, by `lr_schedule`. `clip_vloss` clips the
    value's change as the ratio's; `target_kl` ends an update after the pass whose mean approximate KL exceeds it
    (None: never). `device` is torch's name of one. SpecError with the dotted path for a value out of range.
    """

    total_timesteps: int = 100_000
    num_envs: int = 16
    num_steps: int = 128
    learning_rate: float = 2.5e-4
    lr_schedule: str = "linear"
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip_coef: float = 0.2
    clip_vloss: bool = False
    ent_coef: float = 0.01
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    update_epochs: int = 4
    num_minibatches: int = 4
    norm_adv: bool = True
    target_kl: float | None = None
    seed: int = 0
    device: str = "cpu"
    hidden_dims: tuple[int, ...] = (512, 256, 128)

    def __post_init__(self) -> None:
        """Read every field, so that no path makes an unchecked config."""
        _read_fields(self, _PPO)
        _check_batch(self)

    @property
    def seeds(self) -> Seeds:
        """The seeds of everything that is random in a run, all from `seed`."""
        return Seeds(*(int(seed) >> 1 for seed in np.random.SeedSequence(self.seed).generate_state(5, np.uint64)))

    @property
    def batch_size(self) -> int:
        """Steps of one update: num_envs × num_steps."""
        return self.num_envs * self.num_steps

    @property
    def minibatch_size(self) -> int:
        """Steps of one gradient step."""
        return self.batch_size // self.num_minibatches

    @property
    def num_updates(self) -> int:
        """Updates of the whole run; a last, incomplete batch is not collected."""
        return self.total_timesteps // self.batch_size

    def learning_rate_at(self, update: int) -> float:
        """The learning rate of `update` (from 0): falling linearly towards 0 at `num_updates`, or constant."""
        share = 1.0 - update / self.num_updates if self.lr_schedule == "linear" else 1.0
        return self.learning_rate * share

    def to_dict(self) -> dict[str, Any]:
        """The config as JSON values; `from_dict` reads it back equal."""
        return asdict(self) | {"hidden_dims": list(self.hidden_dims)}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> PPOConfig:
        """Read a config; a missing key has its default. SpecError with the dotted path for anything else."""
        with _below(path):
            return cls(**parsing.mapping(data, "", tuple(_PPO), where="config"))


@dataclass(frozen=True)
class EpisodeConfig:
    """What an episode of the trading environment is.

    `length` decisions at most, from `initial_equity` (account currency); the reward is `reward_scale` × the
    change of log equity; an account at or below `ruin_fraction` × initial equity ends the episode.
    """

    length: int = 250
    initial_equity: float = 100_000.0
    reward_scale: float = 100.0
    ruin_fraction: float = 0.5

    def __post_init__(self) -> None:
        """Read every field, so that no path makes an unchecked episode."""
        _read_fields(self, _EPISODE)

    def to_dict(self) -> dict[str, Any]:
        """The episode as JSON values; `from_dict` reads it back equal."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> EpisodeConfig:
        """Read an episode; a missing key has its default. SpecError with the dotted path for anything else."""
        with _below(path):
            return cls(**parsing.mapping(data, "", tuple(_EPISODE), where="episode"))


def _check_batch(config: PPOConfig) -> None:
    """The batch splits evenly into minibatches of two or more (one has no spread); the run holds a batch."""
    if config.batch_size % config.num_minibatches or config.minibatch_size < 2:
        expected = (
            f"a divisor of the batch, {config.batch_size} (num_envs × num_steps), that leaves 2 steps or more each"
        )
        raise SpecError("num_minibatches", config.num_minibatches, expected)
    if config.total_timesteps < config.batch_size:
        expected = f"at least one batch, {config.batch_size} (num_envs × num_steps)"
        raise SpecError("total_timesteps", config.total_timesteps, expected)


def _optional_number(value: object, path: str, *, low: float, high: float) -> float | None:
    return None if value is None else parsing.number(value, path, low=low, high=high)


def _device(value: object, path: str) -> str:
    name = parsing.text(value, path, empty=False)
    try:
        return str(torch.device(name))
    except RuntimeError:
        raise SpecError(path, parsing.show(value), "a device as torch names it, such as cpu or cuda:0") from None


def _dims(value: object, path: str) -> tuple[int, ...]:
    dims = parsing.sequence(value, path, parsing.integer, low=1, high=65_536)
    if not 1 <= len(dims) <= 16:
        raise SpecError(path, f"{len(dims)} layers", "1 to 16 layers")
    return dims


Reader = tuple[Callable[..., Any], dict[str, Any]]

_PPO: dict[str, Reader] = {
    "total_timesteps": (parsing.integer, {"low": 1, "high": _MOST}),
    "num_envs": (parsing.integer, {"low": 1, "high": 65_536}),
    "num_steps": (parsing.integer, {"low": 1, "high": 10**6}),
    "learning_rate": (parsing.number, {"low": 1e-9, "high": 1.0}),
    "lr_schedule": (parsing.choice, {"of": LR_SCHEDULES}),
    "gamma": (parsing.number, {"low": 0.0, "high": 1.0}),
    "gae_lambda": (parsing.number, {"low": 0.0, "high": 1.0}),
    "clip_coef": (parsing.number, {"low": 1e-6, "high": 1.0}),
    "clip_vloss": (parsing.flag, {}),
    "ent_coef": (parsing.number, {"low": 0.0, "high": 10.0}),
    "vf_coef": (parsing.number, {"low": 0.0, "high": 100.0}),
    "max_grad_norm": (parsing.number, {"low": 1e-9, "high": 1e9}),
    "update_epochs": (parsing.integer, {"low": 1, "high": 1000}),
    "num_minibatches": (parsing.integer, {"low": 1, "high": 10**6}),
    "norm_adv": (parsing.flag, {}),
    "target_kl": (_optional_number, {"low": 1e-9, "high": 100.0}),
    "seed": (parsing.integer, {"low": 0, "high": 2**63 - 1}),
    "device": (_device, {}),
    "hidden_dims": (_dims, {}),
}

_EPISODE: dict[str, Reader] = {
    "length": (parsing.integer, {"low": 1, "high": 10**9}),
    "initial_equity": (parsing.number, {"low": 1e-6, "high": 1e15}),
    "reward_scale": (parsing.number, {"low": 1e-9, "high": 1e9}),
    "ruin_fraction": (parsing.number, {"low": 0.0, "high": 0.999}),
}


def _read_fields(config: PPOConfig | EpisodeConfig, readers: Mapping[str, Reader]) -> None:
    """Put each field through its reader, in place: the one moment at which a frozen config is still being made."""
    for key, (read, options) in readers.items():
        object.__setattr__(config, key, read(getattr(config, key), key, **options))


@contextmanager
def _below(path: str) -> Iterator[None]:
    """Name the faults of a config that stands below `path` by their whole dotted path."""
    try:
        yield
    except SpecError as error:
        raise SpecError(parsing.join(path, error.path), error.found, error.expected) from None
