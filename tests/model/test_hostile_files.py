"""Files that would take a reader's memory or time without measure: refused or read within little of both, in a process
whose memory is limited.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from mlflow_ppo_flavor.errors import CheckpointError
from mlflow_ppo_flavor.model.checkpoint import load_checkpoint
from mlflow_ppo_flavor.model.inert import read_torch_file
from tests.model import hostile
from tests.model.hostile import archive, plain, storage, tensor

ROOM_MB, SECONDS = 600, 60
# memory is limited to what is taken once everything is imported, and some room
READ_ALL = f"""
import io, json, resource, sys
from mlflow_ppo_flavor.errors import CheckpointError
from mlflow_ppo_flavor.model.inert import read_pickle, read_torch
from tests.model.hostile import FILES, PICKLES
taken = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (taken + {ROOM_MB} * 2**20,) * 2)
told = {{}}
for name, content in (PICKLES | FILES).items():
    try:
        value = read_pickle(content) if name in PICKLES else read_torch(io.BytesIO(content), "pickle")
        told[name] = "read a " + type(value).__name__
        del value
    except CheckpointError as error:
        told[name] = str(error)
print(json.dumps(told))
"""
UNFOLDING, LARGE = "found values that unfold to many times its size", "found a length of "
MANY_KEYS = "found many thousands of keys that are numbers or tuples"
OWED = {
    "a string of 2^63 bytes": LARGE + "9223372036854775808, 2 bytes are left, expected a whole pickle",
    "bytes of 2^32": LARGE + "4294967295, 2 bytes are left",
    "a bytearray of 2^40": LARGE + "1099511627776, 1 bytes are left",
    "an integer of 2^31 bytes": LARGE + "2147483647, 1 bytes are left",
    "an integer of a million digits": "found a number of 1000001 digits",
    "a frame of 2^63 around nothing": "found its end in the middle of a value",
    "two million empty sets": UNFOLDING,
    "three million lists": "found more than 2000000 steps, expected a checkpoint's few",
    "many marks": "found a broken pickle (IndexError)",
    "many levels": "[0]" * 26 + "[0: found more than 32 levels, expected a checkpoint's few",
    "many levels of tuples as a key": "found a tuple of many members as a key",
    "a tuple of 2^100 members as a key": "found a tuple of many members as a key",
    "keys of one hash": "found a whole number of more than 64 bits as a key",
    "sixty thousand numbers as keys": MANY_KEYS,
    "six thousand pairs as keys": MANY_KEYS,
    "a megabyte of text encoded over and over": UNFOLDING,
    "a list made a set over and over": UNFOLDING,
    "many objects": "read a tuple",
    "a storage of 2^60 numbers": "data/0: found 16 bytes, expected 4611686018427387904",
    "a stream's storage of 2^60": "found a storage of 4611686018427387904 bytes, expected no more than the file has",
    "many tensors": "data.pkl: " + UNFOLDING,
    "a directory of 70,000": "found two members a, expected each once",
    "a directory of a million": "found a directory of 47000000 bytes, expected at most 4194304",
    "a directory of 2^32": "found a zip archive without a whole directory (BadZipFile)",
}


def test_memory_and_time_are_bounded() -> None:
    root = Path(hostile.__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", READ_ALL],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert run.returncode == 0, run.stderr[-2_000:]
    told = json.loads(run.stdout)
    assert told.keys() == OWED.keys()
    for name, message in OWED.items():
        owed = message if message.startswith("read") else f"pickle: {message}"
        assert told[name].startswith(owed), name


@pytest.mark.parametrize("length", [0, 1, 2, 300, 5_000, 100_000])
@pytest.mark.parametrize("start", [b"", b"PK\x03\x04", b"PK\x05\x06", b"\x80\x02", b"\x80\x04\x95", b"\x93NUMPY"])
def test_random_files_are_told(tmp_path: Path, start: bytes, length: int) -> None:
    path = tmp_path / "c.pt"
    path.write_bytes(start + random.Random(length).randbytes(length))
    with pytest.raises(CheckpointError, match=rf"^{path}: found .*, expected .*: "):
        load_checkpoint(path)


def test_a_file_of_a_terabyte_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    path.write_bytes(archive(b"N."))
    os.truncate(path, 2**40)
    with pytest.raises(CheckpointError, match=r"c.pt: found 1099511627776 bytes, expected at most 8589934592"):
        read_torch_file(path)


def test_a_tensor_of_a_large_file_takes_its_own_bytes_alone(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    path.write_bytes(archive(b"(" + tensor(0, (2,), (1,), storage(4)) + plain("x") + b"t."))
    found, _ = read_torch_file(path)
    assert found.untyped_storage().nbytes() == 16


def test_a_tar_is_told_by_name(tmp_path: Path) -> None:
    import tarfile

    (tmp_path / "storages").write_bytes(b"\x80\x02K\x00.")
    with tarfile.open(tmp_path / "c.pt", "w") as tar:
        tar.add(tmp_path / "storages", "storages")
    message = r"c.pt: found a tar archive, as torch wrote before 0.1.10, expected .*: load it with a torch of that time"
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "c.pt")
