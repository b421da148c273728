"""What `predict` adds to the network and to MLflow, and how fast the network is. Run: python -m benchmarks.prediction

MLflow's own share is what the same call takes on a model that gives back its input, with the same signature. The
network is measured against one reading of its weights: the largest number of each weight array, in NumPy, the fastest
that reads all of them on one thread (their sum takes three times as long, as copying does). All on one thread.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np

from benchmarks.models import SPEC, save_pair
from benchmarks.turns import by_turns, one_thread
from mlflow_ppo_flavor.model.inference import infer
from mlflow_ppo_flavor.model.storage import read_model

ADDED_LIMIT_MICROSECONDS = 200.0
ADDED_LIMIT_SHARE = 0.05
NETWORK_LIMIT = 1.7


@dataclass(frozen=True)
class Prediction:
    """Least seconds of a call with one batch."""

    pyfunc: float
    mlflow: float
    network: float

    @property
    def added(self) -> float:
        """What is neither the network's nor MLflow's: checks, probabilities, the table."""
        return self.pyfunc - self.mlflow - self.network

    @property
    def share(self) -> float:
        """Added / what it is added to."""
        return self.added / (self.mlflow + self.network)


@dataclass(frozen=True)
class Network:
    """Least seconds of one observation, and of one reading of the weights."""

    infer: float
    read: float

    @property
    def ratio(self) -> float:
        """Inference / reading."""
        return self.infer / self.read


def time_prediction(batch: int, *, rounds: int) -> Prediction:
    """The three by turns, with the same observations."""
    seen = np.random.default_rng(0).standard_normal((batch, SPEC.obs_dim), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder, one_thread():
        ours, identity = (mlflow.pyfunc.load_model(str(root)) for root in save_pair(Path(folder)))
        policy = ours.get_raw_model()
        taken = by_turns(
            {
                "pyfunc": lambda: ours.predict(seen),
                "mlflow": lambda: identity.predict(seen),
                "network": lambda: infer(policy, seen),
            },
            rounds=rounds,
        )
    return Prediction(**taken)


def time_network(rounds: int = 500) -> Network:
    """One observation through the network as it is loaded, beside one reading of its weights."""
    seen = np.random.default_rng(0).standard_normal((1, SPEC.obs_dim), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder, one_thread():
        policy = read_model(save_pair(Path(folder))[0]).policy
        weights = [tensor.numpy() for tensor in policy.state_dict().values()]
        taken = by_turns(
            {
                "read": lambda: [weight.max() for weight in weights],
                "infer": lambda: infer(policy, seen),
            },
            rounds=rounds,
        )
    return Network(**taken)


def main() -> None:
    """Print every figure."""
    print("mlflow.pyfunc.PyFuncModel.predict, the released network, one thread, least of many (µs):")
    for batch, rounds in ((1, 1_000), (1_000, 25)):
        found = time_prediction(batch, rounds=rounds)
        limit = f"limit {ADDED_LIMIT_MICROSECONDS:.0f}" if batch == 1 else f"limit {ADDED_LIMIT_SHARE:.0%}"
        print(f"  batch {batch:,}: {found.pyfunc * 1e6:.0f}")
        print(f"    MLflow's own share {found.mlflow * 1e6:.0f}, the network {found.network * 1e6:.0f}")
        print(f"    added {found.added * 1e6:.0f}, {found.share:.1%} of those   {limit}")
    network = time_network()
    print(f"one observation through the network: {network.infer * 1e6:.0f}")
    print(f"  {network.ratio:.2f} × one reading of its weights ({network.read * 1e6:.0f})   limit {NETWORK_LIMIT}")


if __name__ == "__main__":
    main()
