"""ONNX files: what one may hold to be run, found in its bytes before any runtime reads them.

An ONNX file is a protobuf message (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). The runtime would follow it
to other files for its numbers, and to other code for its operators; so its fields are walked first, by their numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mlflow_ppo_flavor.errors import SpecError

_DEEPEST = 32
_MOST_BYTES = 2**31 - 1
_DOMAINS = (b"", b"ai.onnx")
# per message: field number → the message in it; of everything else the content doesn't matter here
_MESSAGES: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 8: "operator set", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "operator set": {},
    "tensor": {},
}
_REFUSED = {"training": "training information", "function": "functions of its own"}
_DOMAIN_FIELDS = {"operator set": 1, "node": 7}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14


def check_onnx(content: bytes, path: str) -> None:
    """Refuse an ONNX model that isn't all in these bytes, or of other operators than ONNX's own; SpecError says which.

    Numbers in other files, operators of other domains, functions, and training information are refused, and what is no
    protobuf message. Nothing is read but `content`.
    """
    if len(content) > _MOST_BYTES:
        raise SpecError(path, f"{len(content)} bytes", f"at most {_MOST_BYTES}")
    _check(memoryview(content), "model", path, _DEEPEST)


def _check(message: memoryview, kind: str, path: str, deeper: int) -> None:
    if deeper == 0:
        raise SpecError(path, f"messages nested more than {_DEEPEST} deep", "a network's few levels")
    for field, value in _fields(message, path):
        if kind == "tensor" and (field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0)):
            raise SpecError(path, "a tensor in another file", "every number in this one", "export it as a single file")
        if field == _DOMAIN_FIELDS.get(kind) and (isinstance(value, int) or bytes(value) not in _DOMAINS):
            shown = value if isinstance(value, int) else bytes(value[:80]).decode(errors="replace")
            raise SpecError(path, f"operators of {shown!r}", "ONNX's own (ai.onnx)", "custom operators aren't run")
        inner = _MESSAGES[kind].get(field)
        if inner in _REFUSED:
            raise SpecError(path, _REFUSED[inner], "one graph of ONNX's own operators")
        if inner is not None:
            if isinstance(value, int):
                raise _broken(path)
            _check(value, inner, path, deeper - 1)


def _fields(message: memoryview, path: str) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of each field: an integer, or the bytes of a string, a message or a number of fixed length."""
    at = 0
    while at < len(message):
        key, at = _integer(message, at, path)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _integer(message, at, path)
            yield number, value
            continue
        if wire == 2:
            length, at = _integer(message, at, path)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise _broken(path)
        if length > len(message) - at:
            raise _broken(path)
        yield number, message[at : at + length]
        at += length


def _integer(message: memoryview, at: int, path: str) -> tuple[int, int]:
    """A base-128 integer, least first, of at most ten bytes; and where it ends."""
    found = 0
    for i, byte in enumerate(message[at : at + 10]):
        found |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return found, at + i + 1
    raise _broken(path)


def _broken(path: str) -> SpecError:
    return SpecError(path, "bytes that aren't ONNX", "a whole ONNX model")
