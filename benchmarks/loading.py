"""How fast a model of 12 MB is loaded from a folder, digest and shapes checked. Run: python -m benchmarks.loading

Each load is the first of its process, as a trader's is. MLflow's own share is what loading the same folder takes with a
loader that does nothing. What is left is compared with reading the weights and building the network plainly:
safetensors' `load` of the file's bytes, layers whose weights aren't initialised, `load_state_dict`. Two more rows tell
what that leaves out: the same with `load_file`, which maps the file instead of reading it, so that it may still be
altered after it was checked; and sha256 by itself, of bytes in memory, which bounds whatever checks a digest.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import mlflow
import torch
from safetensors.torch import load, load_file
from torch import nn

from benchmarks.models import SPEC, save_pair
from benchmarks.turns import by_turns_of_processes, one_thread
from mlflow_ppo_flavor.model.architecture import HIDDEN_DIMS

LIMIT = 1.5


class PlainNetwork(nn.Module):
    """The same layers without a contract, their weights not initialised."""

    def __init__(self) -> None:
        super().__init__()
        linear = partial(nn.utils.skip_init, nn.Linear)
        first, second, third = HIDDEN_DIMS
        self.trunk = nn.Sequential(
            *(
                linear(SPEC.obs_dim, first),
                nn.Tanh(),
                linear(first, second),
                nn.Tanh(),
                linear(second, third),
                nn.Tanh(),
            )
        )
        self.actor, self.critic = linear(third, SPEC.n_actions), linear(third, 1)


def build(weights: Mapping[str, torch.Tensor]) -> nn.Module:
    """The plain network with these weights."""
    network = PlainNetwork()
    network.load_state_dict(dict(weights))
    return network.eval()


@dataclass(frozen=True)
class Loading:
    """Least seconds of each way."""

    pyfunc: float
    mlflow: float
    plain: float
    mapped: float
    sha256: float

    @property
    def ours(self) -> float:
        """What is ours of loading through mlflow.pyfunc."""
        return self.pyfunc - self.mlflow

    @property
    def ratio(self) -> float:
        """Ours / reading and building plainly."""
        return self.ours / self.plain


def time_loading(rounds: int = 25) -> Loading:
    """Every way by turns, on one thread."""
    with tempfile.TemporaryDirectory() as folder, one_thread():
        ours, identity = save_pair(Path(folder))
        file = ours / "policy.safetensors"
        content = file.read_bytes()
        taken = by_turns_of_processes(
            {
                "pyfunc": lambda: mlflow.pyfunc.load_model(str(ours)),
                "mlflow": lambda: mlflow.pyfunc.load_model(str(identity)),
                "plain": lambda: build(load(file.read_bytes())),
                "mapped": lambda: build(load_file(file)),
                "sha256": lambda: hashlib.sha256(content).digest(),
            },
            rounds=rounds,
        )
    return Loading(**taken)


def main() -> None:
    """Print every figure."""
    found = time_loading()
    print("a policy of 12 MB, from a folder, least of 25 (ms):")
    for name, seconds, note in (
        ("mlflow.pyfunc.load_model", found.pyfunc, ""),
        ("MLflow's own share", found.mlflow, "the same folder, its loader does nothing"),
        ("ours: what is left", found.ours, f"{found.ratio:.2f} × the next line   limit {LIMIT}"),
        ("read and build plainly", found.plain, "safetensors.torch.load, layers, load_state_dict"),
        (
            "map and build plainly",
            found.mapped,
            f"safetensors.torch.load_file; ours is {found.ours / found.mapped:.2f} ×",
        ),
        ("sha256 of the weights", found.sha256, f"alone {found.sha256 / found.mapped:.2f} × mapping and building"),
    ):
        print(f"  {name:26}{seconds * 1e3:7.2f}   {note}".rstrip())


if __name__ == "__main__":
    main()
