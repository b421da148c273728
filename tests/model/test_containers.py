"""The two containers of torch.save: what each may hold, and how others are told from them."""

import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_ppo_flavor.errors import CheckpointError
from mlflow_ppo_flavor.model.inert import Holder, read_torch, read_torch_file
from mlflow_ppo_flavor.model.pickled.archive import Archive
from tests import tiers
from tests.model.hostile import archive, name, plain, storage, stream, tensor

ONE = tensor(0, (4,), (1,), storage(4)) + b"."
STORED = (4).to_bytes(8, "little") + bytes(16)


def zipped(members: dict[str, bytes], **options: Any) -> bytes:
    """A zip archive of these members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as made:
        for member, content in members.items():
            made.writestr(member, content)
    return file.getvalue()


def refused(content: bytes, message: str) -> None:
    """Reading it is refused with this message, a pattern."""
    with pytest.raises(CheckpointError, match=f"^c.pt: {message}"):
        read_torch(io.BytesIO(content), "c.pt")


def test_an_archive_may_be_called_anything() -> None:
    for root in ("archive", "c", "some name.v2"):
        content = zipped({f"{root}/data.pkl": ONE, f"{root}/data/0": bytes(16)})
        assert read_torch(io.BytesIO(content), "c.pt").tolist() == [0] * 4


def test_its_members_are_where_its_directory_says() -> None:
    content = zipped({"a/one": b"1", "a/two": b"22"})
    read = Archive(io.BytesIO(content), "a.zip")
    assert list(read.members) == ["a/one", "a/two"]
    assert [content[start : start + size] for start, size in read.members.values()] == [b"1", b"22"]
    assert read.read("a/two", 2) == b"22"
    with pytest.raises(CheckpointError, match=r"^a.zip: a/two: found 2 bytes, expected at most 1: give a file that"):
        read.read("a/two", 1)
    with pytest.raises(CheckpointError, match=r"^a.zip: found no member a/three, expected every part of a checkpoint"):
        read.read("a/three", 1)


def test_other_archives_are_told_by_name(tmp_path: Path) -> None:
    class Twice(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2

    exported = torch.export.export(Twice(), (torch.zeros(2),))
    torch.export.save(exported, tmp_path / "c.pt2")
    refused(
        (tmp_path / "c.pt2").read_bytes(), r"found a torch.export archive \(.pt2\), expected .*: save the state dict"
    )
    script = {"c/data.pkl": b"N.", "c/constants.pkl": b"N.", "c/code/c.py": b""}
    refused(zipped(script), "found a TorchScript archive, which holds code, expected .*: save the state dict with")
    baselines = {"data": b"{}", "policy.pth": b"", "policy.optimizer.pth": b""}
    refused(zipped(baselines), "found a model of stable-baselines3, expected .*: register it with `mlflow-ppo import`")
    refused(zipped({"a.npy": b""}), r"found a zip archive with no data.pkl \(a.npy\), expected one of torch.save")
    refused(zipped({}), "found ")
    two = {"a/data.pkl": b"N.", "b/data.pkl": b"N."}
    refused(zipped(two), r"found a zip archive with 2 data.pkl \(a/data.pkl, b/data.pkl\)")


def test_members_that_are_packed_are_refused() -> None:
    packed = zipped({"c/data.pkl": b"N.", "c/zeros": bytes(100_000)}, compression=zipfile.ZIP_DEFLATED)
    refused(packed, r"found 100002 bytes packed into \d+, expected members stored as they are")


@pytest.mark.parametrize("odd", ["../data.pkl", "/data.pkl", "a\\b", "c/../../data.pkl"])
def test_members_of_odd_names_are_refused(odd: str) -> None:
    refused(zipped({"c/data.pkl": b"N.", odd: b""}), "found the member .*, expected plain names")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_doubled_and_overlapping_members_are_refused() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for content in (b"N.", b"]."):
            made.writestr("c/data.pkl", content)
    refused(file.getvalue(), "found two members c/data.pkl, expected each once")

    content = bytearray(zipped({"c/data.pkl": b"N.", "c/data/0": b"abcd"}))
    first = content.index(b"PK\x01\x02")
    second = content.index(b"PK\x01\x02", first + 1)
    content[first + 20 : first + 28] = struct.pack("<II", 20, 20)
    refused(bytes(content), r"c/data.pkl: found bytes up to \d+ that belong to the next member, or to none, expected")
    content[first + 20 : first + 28] = struct.pack("<II", 2, 2)
    content[second + 42 : second + 46] = struct.pack("<I", 1)
    refused(bytes(content), "c/data/0: found no header, expected the member's own before its bytes")


def test_a_directory_that_points_outside_of_the_file_is_refused() -> None:
    content = bytearray(archive(ONE))
    # where the directory begins, and so everything that it lists, is counted from there
    start = content.rindex(b"PK\x05\x06") + 16
    for shift in (1, 2**20, 2**31):
        content[start : start + 4] = struct.pack("<I", len(content) + shift)
        refused(bytes(content), ".*: found no header, expected the member's own before its bytes")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (archive(ONE, bytes(12)), r"data/0: found 12 bytes, expected 16 \(4 of torch.float32\)"),
        (archive(ONE, bytes(20)), r"data/0: found 20 bytes, expected 16"),
        (archive(tensor(0, (4,), (1,), storage(4, key="1")) + b"."), "found no member any/data/1, expected every part"),
        (archive(ONE, byteorder=b"big"), "found the byte order 'big', expected this machine's, little: save it again"),
        (archive(ONE, byteorder=bytes(100)), "any/byteorder: found 100 bytes, expected at most 64"),
        (archive(ONE)[:-30], r"found a zip archive without a whole directory \(BadZipFile\), expected a whole one"),
        (stream(ONE, ["0"], STORED[:-1]), "storage 0: found its end, expected 16 bytes"),
        (stream(ONE, ["0"], STORED[:5]), "found its end in the middle of a value"),
        (
            stream(ONE, ["0"], (3).to_bytes(8, "little") + bytes(16)),
            "storage 0: found 3 elements, expected 4 of torch.float",
        ),
        (stream(ONE, [], STORED), "found other storages than its tensors have, expected the bytes of each"),
        (stream(ONE, ["0", "1"], STORED), "found other storages than its tensors have"),
        (stream(ONE, ["0", "0"], STORED), "found other storages than its tensors have"),
        (stream(ONE, ["0"]), "found a storage of 16 bytes, expected no more than the file has|found its end"),
        (pickle.dumps({"a": 1}, 2), "found a pickle of a dict alone, expected a checkpoint of torch.save"),
        (pickle.dumps(3, 4), "found a pickle of an int alone, expected a checkpoint of torch.save"),
        (
            stream(b"N.").replace(plain(1001), plain(1002), 1),
            "found another stream than torch's, expected protocol 1001",
        ),
        (
            stream(b"N.").replace(b"little_endian", b"little_endiam"),
            "found another byte order, expected this",
        ),
        (b"", "found an empty file, expected a checkpoint"),
        (b"hello", "found bytes that start with b'hello', expected a checkpoint of torch.save"),
    ],
)
def test_broken_containers_are_told(content: bytes, message: str) -> None:
    refused(content, f"(data.pkl: )?({message})")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none.pt: No such file or directory: expected a checkpoint file"):
        read_torch_file(tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match=r": Is a directory: expected a checkpoint file"):
        read_torch_file(tmp_path)


def saved(legacy: bool) -> bytes:
    """A checkpoint with all kinds of values, in one of the formats."""
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.randn(4, 3, generator=torch.Generator().manual_seed(0))).sum().backward()
    optimizer.step()
    content = {
        "policy_state_dict": net.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "config": {"lr": 0.1, "mask": torch.tensor([True, False]), "path": Path("x"), "array": np.arange(3)},
    }
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


SAVED = {legacy: saved(legacy) for legacy in (False, True)}


def plain_all_through(value: Any) -> bool:
    """Whether a value is made of plain values, dense tensors on the CPU, arrays and holders alone."""
    if isinstance(value, torch.Tensor):
        return (
            value.layout == torch.strided and value.device.type == "cpu" and bool((value == value).shape == value.shape)
        )
    if isinstance(value, Holder):
        return isinstance(repr(value), str)
    if isinstance(value, dict):
        return all(map(plain_all_through, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(plain_all_through, value))
    return isinstance(
        value, type(None) | bool | int | float | complex | str | bytes | np.ndarray | np.generic | torch.dtype
    )


@settings(max_examples=tiers.EXAMPLES * 4)
@given(st.booleans(), st.data())
def test_a_changed_file_is_read_or_refused_and_never_anything_else(legacy: bool, data: st.DataObject) -> None:
    content = bytearray(SAVED[legacy])
    # among the bytes that say what is what, and anywhere
    where = st.integers(0, len(content) - 1) | st.integers(0, 2_000)
    for _ in range(data.draw(st.integers(1, 4), label="bytes")):
        content[data.draw(where)] = data.draw(st.integers(0, 255))
    try:
        outcome = plain_all_through(read_torch(io.BytesIO(content), "c.pt"))
    except CheckpointError as error:
        outcome = str(error).startswith("c.pt: ")
    assert outcome


@settings(max_examples=tiers.EXAMPLES)
@given(st.booleans(), st.data())
def test_a_truncated_file_is_refused(legacy: bool, data: st.DataObject) -> None:
    content = SAVED[legacy]
    length = data.draw(st.integers(0, len(content) - 1))
    refused(content[:length], ".*found .*, expected .*: give a file that save_checkpoint or a trainer")


def test_holders_of_a_stream_are_read_beside_the_weights() -> None:
    pickled = b"(" + name("acme", "Config") + b")R" + ONE[:-1] + b"t."
    holder, weights = read_torch(io.BytesIO(stream(pickled, ["0"], STORED)), "c.pt")
    assert (holder.path, weights.tolist()) == ("acme.Config", [0] * 4)


def test_a_whole_module_of_old_is_a_holder() -> None:
    module = b"(" + plain("module") + name("acme", "Net") + plain("net.py") + plain("class Net: ...") + b"tQ)\x81}"
    holder = read_torch(io.BytesIO(stream(module + plain("weight") + ONE[:-1] + b"sb.", ["0"], STORED)), "c.pt")
    assert (holder.path, list(holder.state)) == ("acme.Net", ["weight"])
