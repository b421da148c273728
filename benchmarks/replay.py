"""How fast golden decisions are replayed, on one thread. Run: python -m benchmarks.replay

The paired base is what the network alone takes for the recorded observations, in one batch.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.models import BARS, SPEC, released_policy
from benchmarks.turns import by_turns, one_thread
from mlflow_ppo_flavor.model import stages
from mlflow_ppo_flavor.model.golden import record_golden
from mlflow_ppo_flavor.model.inference import infer
from mlflow_ppo_flavor.model.replay import replay

LIMIT_MILLISECONDS = 150.0


@dataclass(frozen=True)
class Replay:
    """Least seconds of the whole replay, and of the network in it; how many decisions it has."""

    replay: float
    network: float
    decisions: int


def time_replay(rounds: int = 25) -> Replay:
    """The released network's 24 cases, compiled code warm."""
    policy = released_policy()
    golden = record_golden(policy, BARS)
    observations = stages.observations_of(golden.segments, golden.cases, SPEC)
    with one_thread():
        if replay(golden, policy, SPEC):
            raise AssertionError("the benchmark's golden decisions aren't reproduced")
        taken = by_turns(
            {"replay": lambda: replay(golden, policy, SPEC), "network": lambda: infer(policy, observations)},
            rounds=rounds,
        )
    return Replay(**taken, decisions=len(golden.cases))


def main() -> None:
    """Print the figures."""
    found = time_replay()
    print(f"{found.decisions} golden decisions of the released network, one thread, least of 25 (ms):")
    print(f"  {found.replay * 1e3:7.2f}   the whole replay   limit {LIMIT_MILLISECONDS:.0f}")
    print(f"  {found.network * 1e3:7.2f}   of it the network")


if __name__ == "__main__":
    main()
