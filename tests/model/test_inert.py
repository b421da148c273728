"""Reading inertly: equal to torch.load and pickle.loads for plain values, Holders for all else, in every spelling."""

import collections
import io
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mlflow_ppo_flavor.errors import CheckpointError
from mlflow_ppo_flavor.model.inert import Holder, read_pickle, read_torch, read_torch_file
from tests import tiers
from tests.model.hostile import archive, name, plain, storage, stream, tensor, text

PROTOCOLS = st.integers(2, 5)
DTYPES = [
    *(torch.float16, torch.float32, torch.float64, torch.bfloat16, torch.complex64, torch.complex128, torch.bool),
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64),
]
ARRAY_DTYPES = ["?", "i1", "<i4", ">i8", "u2", "f2", "<f4", ">f8", "c8", "c16"]


def same(found: Any, owed: Any) -> bool:
    """Whether two values are the same, NaNs too; a dict stands for an OrderedDict, a tensor for a parameter."""
    if isinstance(owed, torch.Tensor):
        whole = isinstance(found, torch.Tensor) and found.dtype == owed.dtype and found.shape == owed.shape
        return whole and torch.equal(*(t.detach().contiguous().flatten().view(torch.uint8) for t in (found, owed)))
    if isinstance(owed, np.ndarray | np.generic):
        native = owed.dtype.newbyteorder("=")
        whole = type(found) is type(owed) and (found.dtype, found.shape) == (native, owed.shape)
        return whole and bool(found.tobytes() == owed.astype(native).tobytes())
    if isinstance(owed, dict):
        keys = isinstance(found, dict) and list(map(repr, found)) == list(map(repr, owed))
        return keys and all(same(a, b) for a, b in zip(found.values(), owed.values(), strict=True))
    if isinstance(owed, list | tuple):
        whole = isinstance(found, list | tuple) and isinstance(found, list) == isinstance(owed, list)
        return whole and len(found) == len(owed) and all(map(same, found, owed))
    if isinstance(owed, set | frozenset):
        return type(found) is type(owed) and found == owed
    return type(found) is type(owed) and repr(found) == repr(owed)


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """Tensors of any dtype and up to three axes: whole, transposed, sliced, sharing or parameters."""
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    seed = draw(st.integers(0, 2**31))
    whole = torch.randint(0, 200, shape, generator=torch.Generator().manual_seed(seed)).to(
        draw(st.sampled_from(DTYPES))
    )
    kind = draw(st.sampled_from(["whole", "transposed", "slice", "parameter"]))
    if kind == "parameter" and whole.is_floating_point():
        return torch.nn.Parameter(whole)
    return whole.T if kind == "transposed" and len(shape) == 2 else whole[1:] if kind == "slice" and shape else whole


keys = st.text(max_size=4) | st.integers(-(2**62), 2**62) | st.binary(max_size=3) | st.tuples(st.text(max_size=2))
arrays = st.sampled_from(ARRAY_DTYPES).flatmap(
    lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, min_side=0))
)
leaves = st.one_of(
    *(st.none(), st.booleans(), st.integers(-(2**200), 2**200), st.floats(), st.complex_numbers(), st.text()),
    *(
        st.binary(),
        st.binary().map(bytearray),
        arrays,
        arrays.filter(lambda array: array.size).map(lambda a: a.flat[0]),
    ),
    *(st.sets(st.integers(-(2**62), 2**62), max_size=3), st.frozensets(st.text(max_size=3), max_size=1)),
)


def nestings(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Containers of plain types."""
    dicts = st.dictionaries(keys, inner, max_size=3)
    return (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=4).map(tuple)
        | dicts
        | dicts.map(collections.OrderedDict)
    )


@settings(max_examples=tiers.EXAMPLES * 2)
@given(st.recursive(leaves | tensors(), nestings, max_leaves=8), st.booleans(), PROTOCOLS)
def test_what_torch_saves_reads_as_torch_loads_it(value: Any, zipped: bool, protocol: int) -> None:
    file = io.BytesIO()
    twice = {"one": value, "again": [value]}
    torch.save(twice, file, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    found = read_torch(file, "c.pt")
    assert same(found, twice)
    if zipped:  # of the older format, torch can't read its own unsigned types
        file.seek(0)
        assert same(found, torch.load(file, weights_only=False))
    assert not any(isinstance(t, torch.Tensor) and t.requires_grad for t in (found["one"], *found["again"]))


@settings(max_examples=tiers.EXAMPLES)
@given(st.recursive(leaves, nestings, max_leaves=8), st.integers(0, 5))
def test_plain_pickles_read_as_they_are(value: Any, protocol: int) -> None:
    assert same(read_pickle(pickle.dumps([value, value], protocol)), [value, value])


@pytest.mark.parametrize("zipped", [True, False])
def test_views_of_one_storage_share_it(tmp_path: Path, zipped: bool) -> None:
    base = torch.arange(6.0)
    torch.save([base, base[2:4], base.view(2, 3).T], tmp_path / "c.pt", _use_new_zipfile_serialization=zipped)
    whole, part, turned = read_torch_file(tmp_path / "c.pt")
    whole[2] = 10
    assert (part[0], turned[2, 0], turned.stride()) == (10, 10, (1, 3))


@pytest.mark.parametrize("module", ["torch", "torch.cuda"])
@pytest.mark.parametrize("spell", [archive, lambda p, data: stream(p, ["0"], (4).to_bytes(8, "little") + data)])
def test_what_was_saved_on_another_device_is_on_the_cpu(module: str, spell: Any) -> None:
    numbers = torch.arange(4.0)
    kept = storage(4).replace(name("torch", "FloatStorage"), name(module, "FloatStorage"))
    pickled = tensor(0, (2, 2), (2, 1), kept.replace(text("cpu"), text("cuda:3"))) + b"."
    found = read_torch(io.BytesIO(spell(pickled, numbers.numpy().tobytes())), "c.pt")
    assert found.device.type == "cpu"
    assert torch.equal(found, numbers.view(2, 2))


def test_a_view_of_a_storage_as_old_files_have_it() -> None:
    pickled = tensor(1, (2,), (1,), storage(6, view=(("1", 2, 4),))) + b"."
    stored = (6).to_bytes(8, "little") + np.arange(6, dtype=np.float32).tobytes()
    assert read_torch(io.BytesIO(stream(pickled, ["0"], stored)), "c.pt").tolist() == [3, 4]


def test_a_bool_is_true_or_false_whatever_its_byte() -> None:
    pickled = tensor(0, (4,), (1,), storage(4, "BoolStorage")) + b"."
    found = read_torch(io.BytesIO(archive(pickled, bytes([0, 1, 2, 255]))), "c.pt")
    assert found.view(torch.uint8).tolist() == [0, 1, 1, 1]
    array = pickle.dumps(np.array([True, False]), 2).replace(text("\x01\x00"), text("\x07\x00"))
    assert read_pickle(array).view(np.uint8).tolist() == [1, 0]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dtype", ARRAY_DTYPES)
def test_arrays_of_older_and_newer_numpy_read_alike(dtype: str, protocol: int) -> None:
    array = np.asfortranarray(np.arange(6).reshape(2, 3).astype(dtype))
    for value in (array, array[1], array[1, 2]):
        new = pickle.dumps(value, min(protocol, 3))
        old = new.replace(b"numpy._core.", b"numpy.core.")
        assert new != old
        assert all(same(read_pickle(spelled), value) for spelled in (new, old, pickle.dumps(value, protocol)))


@pytest.mark.parametrize(
    "value",
    [
        np.array([{}, None], dtype=object),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.array(["2020-01-01"], dtype="M8[D]"),
        np.ma.masked_array([1, 2], [True, False]),
        np.float64,
        np.random.default_rng(0),
    ],
    ids=["objects", "records", "dates", "masked", "a type", "a generator"],
)
@pytest.mark.parametrize("protocol", [2, 5])
def test_what_is_no_plain_array_is_a_holder(value: Any, protocol: int) -> None:
    found = read_pickle(pickle.dumps([value], protocol))[0]
    assert isinstance(found, Holder)
    assert found.module.startswith("numpy")


def test_python_2_strings_are_text_or_bytes() -> None:
    assert read_pickle(b"U\x03abc.") == "abc"
    assert read_pickle(b"U\x02\xff\xfe.") == b"\xff\xfe"
    assert read_pickle(b"S'a\\tb'\n.") == "a\tb"


def test_a_state_dict_is_a_dict(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "c.pt")
    found = read_torch_file(tmp_path / "c.pt")
    assert type(found) is dict
    assert list(found) == ["weight", "bias"]


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("kind", ["sparse", "meta", "quantized", "conjugated"])
def test_tensors_that_are_not_dense_are_holders(tmp_path: Path, kind: str) -> None:
    odd = {
        "sparse": lambda: torch.zeros(2, 2).to_sparse(),
        "meta": lambda: torch.empty(3, device="meta"),
        "quantized": lambda: torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8),
        "conjugated": lambda: torch.complex(torch.ones(2), torch.ones(2)).conj(),
    }[kind]()
    torch.save({"dense": torch.ones(2), "odd": odd}, tmp_path / "c.pt")
    found = read_torch_file(tmp_path / "c.pt")
    assert found["dense"].tolist() == [1, 1]
    assert isinstance(found["odd"], Holder)
    assert found["odd"].module == "torch._utils"


STORED = (4).to_bytes(8, "little") + bytes(16)


@pytest.mark.parametrize(
    ("spelled", "message"),
    [
        (
            tensor(0, (5,), (1,), storage(4)),
            "found a tensor [5] that ends at element 4, expected one inside its storage of 4",
        ),
        (tensor(1, (4,), (1,), storage(4)), "found a tensor [4] that ends at element 4, expected one inside"),
        (tensor(0, (2, 2), (3, 1), storage(4)), "found a tensor [2, 2] that ends at element 4"),
        (tensor(-1, (2,), (1,), storage(4)), "found a tensor's size, stride or offset that can't be"),
        (tensor(0, (2**40, 2**40), (0, 0), storage(4)), "found a tensor's size, stride or offset that can't be"),
        (tensor(0, (2,), (-1,), storage(4)), "found a tensor's size, stride or offset that can't be"),
        (tensor(0, (2.5,), (1,), storage(4)), "found a tensor's size, stride or offset that can't be"),
        (tensor(0, (2,), (1, 1), storage(4)), "found a tensor's size and stride that aren't, expected two tuples"),
        (tensor(0, (1,) * 65, (1,) * 65, storage(4)), "found a tensor's size and stride that aren't"),
        (tensor(0, (2**40,), (0,), storage(4)), "found a tensor that isn't stored whole, expected a dense one"),
        (tensor(0, (1,), (1,), plain([1])), "found a tensor of a list, expected one of a storage"),
        (tensor(0, (1,), (1,), storage(4, "Tensor")), "found a storage of type torch.Tensor, expected one of Double"),
        (tensor(0, (1,), (1,), storage("4")), "found a storage without key and number of elements"),
        (tensor(0, (1,), (1,), storage(-4)), "found a storage without key and number of elements"),
        (
            tensor(0, (1,), (1,), storage(4, view=(("1", 3, 2),))),
            "found a view of elements 3 to 5, expected one inside a",
        ),
        (
            b"(" + storage(4) + storage(4, "IntStorage") + b"t",
            "found storage 0 a second time as 4 of torch.int32, expected",
        ),
        (text("3") + b"Q", "found a persistent id that isn't torch's"),
        (b"(" + text("storage") + b"tQ", "found a persistent id of 1 parts"),
    ],
)
@pytest.mark.parametrize("spell", [archive, lambda pickled: stream(pickled, ["0"], STORED)], ids=["zip", "stream"])
def test_tensors_out_of_their_bounds_are_refused(spelled: bytes, message: str, spell: Any) -> None:
    with pytest.raises(CheckpointError, match=rf"^c.pt: (data.pkl: |: )?{re.escape(message)}"):
        read_torch(io.BytesIO(spell(spelled + b".")), "c.pt")


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (b"", "found its end in the middle of a value, expected a whole pickle (the file is truncated)"),
        (b".", "found a broken pickle (IndexError), expected a whole one"),
        (b"\x80\x09N.", "found pickle protocol 9, expected 0 to 5"),
        (b"\x80\x02\x82\x01.", "found the byte 0x82, a number from a registry of extensions, expected a plain pickle"),
        (b"\x80\x05\x97.", "found the byte 0x97, a buffer outside of the pickle, expected a plain pickle"),
        (b"\xff", "found the byte 0xff, no opcode, expected a plain pickle"),
        (b"N)R.", "found a call of a NoneType, expected one of a name with a tuple of arguments"),
        (name("a", "b") + b"]R.", "found a call of a Holder, expected one of a name with a tuple of arguments"),
        (b"]}b.", "found a state for a list, expected one for an object"),
        (b"}K\x01a.", "found members for a dict, expected a list"),
        (b"]K\x01K\x01s.", "found items for a list, expected a dict"),
        (b"}(K\x01u.", "found a broken pickle (ValueError), expected a whole one"),
        (b"}]Ns.", "found a key of type list, expected a checkpoint's keys"),
        (b"}(]tNs.", "found a key of type list, expected a checkpoint's keys"),
        (b"Pfile\n.", "found a persistent id, expected a pickle that stands alone"),
        (b"Sabc\n.", "found a string without quotes, expected a whole pickle"),
        (b"Vabc", "found text without an end, expected a whole pickle"),
        (b"K\x01K\x02\x93.", "found a name that isn't text, expected a whole pickle"),
        (b"h\x05.", "found a broken pickle (KeyError)"),
    ],
)
def test_broken_pickles_are_told(pickled: bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=f"^vec.pkl: {re.escape(message)}.*: give a file that"):
        read_pickle(pickled, "vec.pkl")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((text("\x01\x00"), text("\x01")), "found 1 bytes for an array bool[2], expected as many as it takes"),
        (
            (b"K\x02\x85", plain(-2) + b"\x85"),
            "found an array's shape that isn't one, expected at most 32 whole numbers",
        ),
        ((b"K\x02\x85", plain(2**62) + b"\x85"), "found 2 bytes for an array bool[4611686018427387904]"),
        ((text("|"), text("?")), "found a numpy.dtype without its byte order"),
    ],
)
def test_arrays_that_lie_are_refused(change: tuple[bytes, bytes], message: str) -> None:
    spelled = pickle.dumps(np.array([True, False]), 2)
    assert change[0] in spelled
    with pytest.raises(CheckpointError, match=f"^pickle: {re.escape(message)}"):
        read_pickle(spelled.replace(*change))
