"""Pickles and archives spelled by hand, opcode by opcode, such as no writer writes: some bytes or megabytes each."""

import io
import pickle
import struct
import zipfile
from typing import Any

import torch

from tests import tiers

MANY, MEGA = tiers.HOSTILE_MEMBERS, 1_000_000


def text(value: str) -> bytes:
    """The opcode that pushes a string."""
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def name(module: str, attribute: str) -> bytes:
    """The opcode that pushes a name."""
    return f"c{module}\n{attribute}\n".encode()


def plain(value: Any) -> bytes:
    """The opcodes that push a plain value."""
    return pickle.dumps(value, protocol=2)[2:-1]


def storage(count: Any, kind: str = "FloatStorage", key: Any = "0", view: tuple[Any, ...] = ()) -> bytes:
    """The opcodes that push a storage by its persistent id."""
    parts = text("storage"), name("torch", kind), plain(key), text("cpu"), plain(count), *map(plain, view)
    return b"(" + b"".join(parts) + b"tQ"


def tensor(offset: Any, size: Any, stride: Any, stored: bytes) -> bytes:
    """The opcodes of a tensor of one storage, spelled as torch does."""
    hooks = name("collections", "OrderedDict") + b")R"
    spelled = stored + plain(offset) + plain(size) + plain(stride) + b"\x89" + hooks
    return name("torch._utils", "_rebuild_tensor_v2") + b"(" + spelled + b"tR"


def archive(pickled: bytes, data: bytes = bytes(16), **members: bytes) -> bytes:
    """A zip archive as torch.save writes it, around any pickle, with one storage."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for member, content in {"data.pkl": pickled, "byteorder": b"little", "data/0": data, **members}.items():
            made.writestr(f"any/{member}", content)
    return file.getvalue()


def stream(pickled: bytes, keys: Any = (), stored: bytes = b"") -> bytes:
    """The format before zip, around any pickle."""
    file = io.BytesIO()
    torch.save(None, file, _use_new_zipfile_serialization=False)
    head = file.getvalue().removesuffix(pickle.dumps(None, protocol=2) + pickle.dumps([], protocol=2))
    return head + pickled + pickle.dumps(list(keys), protocol=2) + stored


def directory(entries: int) -> bytes:
    """An archive whose directory has many entries for one member."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("a", b"")
    content = file.getvalue()
    start = content.index(b"PK\x01\x02")
    listed, end = content[start : content.index(b"PK\x05\x06")], content[content.index(b"PK\x05\x06") :]
    end = end[:12] + struct.pack("<I", len(listed) * entries) + end[16:]
    return content[:start] + listed * entries + end


def repeated(function: bytes, argument: bytes, times: int) -> bytes:
    """The same call many times over, of one argument tuple."""
    return function + b"q\xf00" + argument + b"q\xf10(" + b"h\xf0h\xf1R" * times + b"t."


# what a reader that believes them would take: memory or time without measure
PICKLES: dict[str, bytes] = {
    "a string of 2^63 bytes": b"\x80\x04\x8d" + struct.pack("<Q", 2**63) + b"x.",
    "bytes of 2^32": b"\x80\x04B\xff\xff\xff\xffx.",
    "a bytearray of 2^40": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".",
    "an integer of 2^31 bytes": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "an integer of a million digits": b"L" + b"9" * MEGA + b"L\n.",
    "a frame of 2^63 around nothing": b"\x80\x04\x95" + struct.pack("<Q", 2**63),
    "two million empty sets": b"\x80\x04(" + b"\x8f" * (2 * MEGA) + b"t.",
    "three million lists": b"(" + b"]" * (3 * MEGA) + b"t.",
    "many marks": b"(" * MANY + b".",
    "many levels": b"]" * MANY + b"a" * (MANY - 1) + b".",
    "many levels of tuples as a key": b"})" + b"\x85" * MANY + b"Ns.",
    "a tuple of 2^100 members as a key": b"})" + b"2\x86" * 100 + b"Ns.",
    "keys of one hash": b"}(" + b"".join(plain(i * (2**61 - 1)) + b"N" for i in range(100_000)) + b"u.",
    "sixty thousand numbers as keys": b"}(" + b"".join(plain(i * 64) + b"N" for i in range(60_000)) + b"u.",
    "six thousand pairs as keys": b"}(" + b"".join(plain((1.5, i)) + b"N" for i in range(6_000)) + b"u.",
    "a megabyte of text encoded over and over": repeated(
        name("_codecs", "encode"), text("x" * MEGA) + text("latin1") + b"\x86", 100_000
    ),
    "a list made a set over and over": repeated(
        name("builtins", "frozenset"), b"(" + text("a") + b"2" * 100_000 + b"l\x85", 100_000
    ),
    "many objects": repeated(name("acme", "Config"), b")", MANY // 2),
}
FILES: dict[str, bytes] = {
    "a storage of 2^60 numbers": archive(tensor(0, (2**60,), (1,), storage(2**60)) + b"."),
    "a stream's storage of 2^60": stream(tensor(0, (2**60,), (1,), storage(2**60)) + b".", ["0"]),
    "many tensors": archive(
        repeated(
            name("torch._utils", "_rebuild_tensor"),
            b"(" + storage(4) + plain(0) + plain((4,)) + plain((1,)) + b"t",
            500_000,
        )
    ),
    "a directory of 70,000": directory(70_000),
    "a directory of a million": directory(MEGA),
    "a directory of 2^32": directory(1)[:-10] + b"\xff\xff\xff\xff" + directory(1)[-6:],
}
