"""Weight files: what is read is what safetensors' own reader reads, and what that one refuses is refused."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import load, save

from mlflow_ppo_flavor.errors import SpecError
from mlflow_ppo_flavor.model.hashed_file import ALIGNMENT, read_hashed
from mlflow_ppo_flavor.model.weight_file import best_shift, read_weights

KINDS = st.sampled_from([torch.float32, torch.float64])
TENSORS = st.builds(
    lambda kind, shape, seed: torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(kind),
    KINDS,
    st.lists(st.integers(0, 5), max_size=3),
    st.integers(0, 99),
)
FILES = st.dictionaries(st.text("abc.é", min_size=1, max_size=5), TENSORS, max_size=4)


def as_array(content: bytes) -> np.ndarray:
    return np.frombuffer(bytearray(content), dtype=np.uint8)


def file_of(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(begin: int, end: int, shape: Any = (1,), dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


@given(FILES)
def test_it_reads_what_safetensors_writes(tensors: dict[str, torch.Tensor]) -> None:
    content = save(tensors, metadata={"made": "here"})
    found = read_weights(as_array(content), "w")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype
        assert found[name].data_ptr() % ALIGNMENT == 0


@settings(max_examples=2 * settings.default.max_examples)
@given(FILES, st.integers(0, 2**31), st.integers(1, 255), st.booleans())
def test_altered_bytes_are_read_as_safetensors_reads_them_or_refused(
    tensors: dict[str, torch.Tensor], place: int, change: int, shorter: bool
) -> None:
    content = bytearray(save(tensors))
    at = place % len(content)
    content[at] ^= change
    if shorter:
        del content[at:]
    try:
        found = read_weights(as_array(content), "w")
    except SpecError:
        return
    expected = load(bytes(content))
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].numpy().tobytes() == tensor.numpy().tobytes()
        assert found[name].shape == tensor.shape


@pytest.mark.parametrize(
    ("content", "message", "safetensors_takes_it"),
    [
        (b"", "w: found 0 bytes, expected a whole safetensors file", False),
        (b"\xff" * 8, "w: found 8 bytes, expected a whole safetensors file", False),
        (file_of(b"{"), "w: found a header that isn't JSON (", False),
        (file_of(b"\xff"), "w: found a header that isn't JSON (", False),
        (file_of(b"[" * 50_000), "w: found a header that isn't JSON (maximum recursion depth", False),
        (file_of([1]), "w: found [1], expected a header of tensors by name", False),
        (file_of({"a": 1}), "w.a: found 1, expected a mapping", False),
        (file_of({"a": entry(0, 4, dtype="I32")}, bytes(4)), "w.a.dtype: found 'I32', expected one of F32, F64", True),
        (file_of({"a": entry(0, 8)}, bytes(8)), "w.a.data_offsets: found [0, 8], expected two, as far apart as", False),
        (file_of({"a": entry(0, 4, [-1])}, bytes(4)), "w.a.shape[0]: found -1, expected a whole number in", False),
        (file_of({"a": entry(0, 4, [2**62, 4])}), "w.a.data_offsets: found [0, 4], expected two", False),
        (
            file_of({"a": entry(0, 4), "b": entry(0, 4)}, bytes(4)),
            "w.b: found bytes from 0, expected bytes from",
            False,
        ),
        (file_of({"a": entry(4, 8)}, bytes(8)), "w.a: found bytes from 4, expected bytes from 0", False),
        (file_of({"a": entry(0, 4)}, bytes(9)), "w: found 9 bytes of tensors, expected 4, as its header says", False),
        (file_of({"a": entry(0, 4)}, bytes(3)), "w: found 3 bytes of tensors, expected 4, as its header says", False),
        (
            file_of(b'{"a": %b, "a": %b}' % ((json.dumps(entry(0, 4)).encode(),) * 2), bytes(4)),
            "w: found a header that isn't JSON (a key stands twice), expected a safetensors file",
            True,
        ),
    ],
)
def test_what_is_no_whole_file_is_refused(content: bytes, message: str, safetensors_takes_it: bool) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}"):
        read_weights(as_array(content), "w")
    if not safetensors_takes_it:
        with pytest.raises(SafetensorError):
            load(content)


@pytest.mark.parametrize("names", [("a", "w"), ("a.long", "w"), ("a" * 13, "b"), ("w" * 99, "z")])
def test_the_largest_tensor_is_read_to_where_it_needs_no_copy(tmp_path: Path, names: tuple[str, str]) -> None:
    tensors = {names[0]: torch.ones(7), names[1]: torch.randn(300, 5), "x": torch.zeros(3)}
    (tmp_path / "w").write_bytes(save(tensors))
    content, digest = read_hashed(tmp_path / "w", best_shift(tmp_path / "w"))
    assert digest == hashlib.sha256((tmp_path / "w").read_bytes()).hexdigest()
    found = read_weights(content, "w")
    begin, end = content.ctypes.data, content.ctypes.data + len(content)
    assert begin <= found[names[1]].data_ptr() < end
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor)


@pytest.mark.parametrize("content", [b"", b"\xff" * 9, file_of([1]), file_of({}), file_of({"a": 1}), file_of(b"{")])
def test_no_guess_is_made_of_what_is_no_file_of_weights(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w").write_bytes(content)
    assert best_shift(tmp_path / "w") == 0


@pytest.mark.parametrize("size", [0, 1, 63, 64, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, 1_000_001])
def test_a_file_is_read_whole_to_the_address_and_hashed(tmp_path: Path, size: int) -> None:
    content = np.random.default_rng(size).bytes(size)
    (tmp_path / "f").write_bytes(content)
    for shift in (0, 1, 40):
        found, digest = read_hashed(tmp_path / "f", shift)
        assert found.tobytes() == content
        assert digest == hashlib.sha256(content).hexdigest()
        assert size == 0 or found.ctypes.data % ALIGNMENT == shift
