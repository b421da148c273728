"""The one sentence that says why a file can't be read: place, found, expected, what to do."""

from __future__ import annotations

from mlflow_ppo_flavor.errors import CheckpointError

REMEDY = "give a file that save_checkpoint or a trainer of this protocol wrote"


def unreadable(place: str, found: str, expected: str, remedy: str = REMEDY) -> CheckpointError:
    """`old.pt: data/3: found 12 bytes, expected 16: give a file that …`."""
    return CheckpointError(f"{place}: found {found}, expected {expected}: {remedy}")
