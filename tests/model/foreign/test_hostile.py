"""Hostile and broken files: an error of ours, in bounded time, whatever the bytes are."""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflow_ppo_flavor.errors import CheckpointError, PPOFlavorError
from mlflow_ppo_flavor.model.foreign.candidate import Options, read_candidate
from mlflow_ppo_flavor.model.foreign.golden_file import read_golden_file
from mlflow_ppo_flavor.model.foreign.golden_record import golden_of
from mlflow_ppo_flavor.model.foreign.vec_normalize import read_statistics
from tests import tiers
from tests.model.foreign.baselines import SPEC, model, normalised, saved

Changes = list[tuple[float, int]]
changes = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4)
hostile = settings(max_examples=tiers.SLOW_EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def files(elsewhere: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A whole file of each kind."""
    folder = tmp_path_factory.mktemp("whole")
    saved(model(net_arch=[8]), folder / "ppo.zip")
    normalised().save(str(folder / "v.pkl"))
    kinds = {
        "zip": folder / "ppo.zip",
        "pkl": folder / "v.pkl",
        "npz": elsewhere / "golden.npz",
        "pt": elsewhere / "legacy.pt",
    }
    return {kind: path.read_bytes() for kind, path in kinds.items()}


def broken(content: bytes, path: Path, made: Changes, kept: float) -> Path:
    """The file with some bytes changed and its end cut off."""
    data = bytearray(content)
    for where, byte in made:
        data[int(where * len(data))] = byte
    path.write_bytes(bytes(data[: int(kept * len(data))]))
    return path


def read(kind: str, path: Path) -> None:
    if kind == "npz":
        golden_of(read_golden_file(path))
    elif kind == "pkl":
        read_statistics(path, SPEC)
    else:
        read_candidate(path, Options(spec=SPEC, unnormalised=True, activation="tanh"))


@pytest.mark.parametrize("kind", ["zip", "pkl", "npz", "pt"])
def test_pipes_and_devices_are_refused_at_once(kind: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), Path("/dev/stdin")):
        with pytest.raises(
            CheckpointError, match=f"^{path}: (Not a regular file|No such device or address): expected "
        ):
            read(kind, path)
    with pytest.raises(CheckpointError, match=f"^{tmp_path}: Is a directory: expected "):
        read(kind, tmp_path)


@pytest.mark.parametrize("kind", ["zip", "npz", "pt"])
def test_an_archive_of_several_disks_is_refused(kind: str, files: dict[str, bytes], tmp_path: Path) -> None:
    end = files[kind].rindex(b"PK\x05\x06")
    several = struct.pack("<4sIQI", b"PK\x06\x07", 0, 0, 2)
    (tmp_path / "a").write_bytes(
        files[kind][:end].removesuffix(files[kind][end - 20 : end]) + several + files[kind][end:]
    )
    with pytest.raises(CheckpointError, match=f"^{tmp_path}/a: found a zip archive without a whole directory"):
        read(kind, tmp_path / "a")


@pytest.mark.parametrize("kind", ["zip", "pkl", "npz", "pt"])
@hostile
@given(made=changes, kept=st.one_of(st.just(1.0), st.floats(0, 1)))
def test_it_is_read_or_refused(kind: str, made: Changes, kept: float, files: dict[str, bytes], tmp_path: Path) -> None:
    path = broken(files[kind], tmp_path / f"broken.{kind}", made, kept)
    with suppress(PPOFlavorError):
        read(kind, path)
