"""Objects whose unpickling would do something: nothing happens, nothing is imported, the weights beside them load."""

import contextlib
import copyreg
import functools
import importlib
import io
import operator
import os
import pickle
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mlflow_ppo_flavor.errors import CheckpointError
from mlflow_ppo_flavor.model.checkpoint import load_checkpoint
from mlflow_ppo_flavor.model.inert import Holder, read_pickle, read_torch, read_torch_file
from tests.model.hostile import archive, name, plain, stream, text

MODULE = "module_with_side_effects"


@dataclass(frozen=True)
class Trap:
    """What payloads would touch: a file, a module whose import makes one, an address where somebody listens."""

    folder: Path
    listener: socket.socket

    @property
    def file(self) -> str:
        """A file that isn't there, and must not come."""
        return str(self.folder / "touched")

    @property
    def touched(self) -> list[Path]:
        """The files that came after all."""
        return list(self.folder.glob("touched*"))

    @property
    def command(self) -> str:
        """What would make it."""
        return f"touch {self.file}"

    @property
    def expression(self) -> str:
        """What would make it."""
        return f"open({self.file!r}, 'w')"


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trap]:
    """Traps that are found untouched afterwards."""
    modules = tmp_path / "modules"
    modules.mkdir()
    made = f"open({str(tmp_path / 'touched')!r}, 'w').close()"
    (modules / f"{MODULE}.py").write_text(
        f"{made}\nclass Config:\n    def __setstate__(self, state):\n        {made}\n"
    )
    monkeypatch.syspath_prepend(str(modules))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        trap = Trap(tmp_path, listener)
        yield trap
        assert not trap.touched
        assert MODULE not in sys.modules
        with pytest.raises(BlockingIOError):
            listener.accept()


class Payload:
    """An object that unpickling replaces by a call's result."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = function, args

    def __call__(self) -> None:
        """Only what can be called may be pickled as what is to be called."""

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


PAYLOADS: dict[str, Callable[[Trap], Payload]] = {
    "os.system": lambda t: Payload(os.system, t.command),
    "subprocess": lambda t: Payload(subprocess.Popen, ["touch", t.file]),
    "open": lambda t: Payload(open, t.file, "w"),
    "io": lambda t: Payload(io.FileIO, t.file, "w"),
    "pathlib": lambda t: Payload(Path.touch, Path(t.file)),
    "shutil": lambda t: Payload(shutil.copy, __file__, t.file),
    "socket": lambda t: Payload(socket.create_connection, t.listener.getsockname()),
    "import": lambda t: Payload(importlib.import_module, MODULE),
    "__import__": lambda t: Payload(__import__, MODULE),
    "eval": lambda t: Payload(eval, t.expression),
    "exec": lambda t: Payload(exec, t.expression),
    "getattr": lambda t: Payload(Payload(getattr, Payload(__import__, "os"), "system"), t.command),
    "map": lambda t: Payload(list, Payload(map, os.system, [t.command])),
    "operator": lambda t: Payload(operator.methodcaller("__call__", t.command), Payload(eval, "os.system")),
    "functools": lambda t: Payload(functools.partial(os.system, t.command)),
    "reduce": lambda t: Payload(functools.reduce, operator.call, [os.system, t.command]),
    "numpy": lambda t: Payload(np.memmap, t.file, "uint8", "w+", 0, (3,)),
    "numpy.load": lambda t: Payload(np.save, t.file, np.zeros(2)),
    "torch": lambda t: Payload(torch.save, [1], t.file),
    "torch storage": lambda t: Payload(torch.storage._load_from_bytes, pickle.dumps(Payload(os.system, t.command))),
    "torch tensor": lambda t: Payload(torch._utils._rebuild_parameter, Payload(os.system, t.command), False, {}),
    "copyreg": lambda t: Payload(copyreg._reconstructor, Payload(os.system, t.command), object, None),  # type: ignore[attr-defined]
    "a set": lambda t: Payload(frozenset, [Payload(os.system, t.command)]),
    "a dict": lambda t: Payload(dict, [(1, Payload(os.system, t.command))]),
}
PLACES: dict[str, Callable[[dict[str, Any], Payload], object]] = {
    "config": lambda content, payload: content.update(config={"callback": payload}),
    "policy_state_dict": lambda content, payload: content["policy_state_dict"].update(x=payload),
    "optimizer_state_dict": lambda content, payload: content["optimizer_state_dict"]["state"].update({0: payload}),
    "spec": lambda content, payload: content.update(spec=payload),
    "a key": lambda content, payload: content.update(config={payload: 1, "lr": 2}),
    "a member of a key": lambda content, payload: content.update(config={("lr", payload): 2}),
    "a member of a set": lambda content, payload: content.update(config={payload}),
}


@pytest.mark.parametrize("payload", [payload for payload in PAYLOADS if payload != "functools"])
def test_the_traps_are_real(trap: Trap, payload: str) -> None:
    made = None
    # some fail once they did what they were to do
    with contextlib.suppress(TypeError, AttributeError, RuntimeError):
        made = pickle.loads(pickle.dumps(PAYLOADS[payload](trap), 2))
    if isinstance(made, subprocess.Popen):
        made.wait()
    elif isinstance(made, socket.socket | io.IOBase):
        made.close()
    if payload == "socket":
        trap.listener.accept()[0].close()
    else:
        assert trap.touched or MODULE in sys.modules
        for path in trap.touched:
            path.unlink()
        sys.modules.pop(MODULE, None)


def loaded(trap: Trap, place: str, payload: Payload, zipped: bool, protocol: int) -> tuple[Path, Any]:
    """A checkpoint with a payload somewhere in it, saved and read; the weights beside it are whole."""
    net = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    content: dict[str, Any] = {
        "policy_state_dict": dict(net.state_dict()),
        "optimizer_state_dict": optimizer.state_dict(),
        "model_version": "2.6.0",
    }
    PLACES[place](content, payload)
    path = trap.folder / "c.pt"
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    before = set(sys.modules)
    found = read_torch_file(path)
    assert set(sys.modules) == before
    assert all(torch.equal(found["policy_state_dict"][name], net.state_dict()[name]) for name in ("weight", "bias"))
    return path, found


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_happens_and_the_weights_load(trap: Trap, payload: str, place: str) -> None:
    for zipped, protocol in ((True, 2), (False, 2), (True, 4), (False, 5)):
        path, found = loaded(trap, place, PAYLOADS[payload](trap), zipped, protocol)
        if place == "policy_state_dict":
            assert isinstance(found[place]["x"], Holder | frozenset)
            with pytest.raises(
                CheckpointError, match=r"c.pt: policy_state_dict.x: found .*, expected a tensor: nothing of it was run"
            ):
                load_checkpoint(path)
        else:
            assert load_checkpoint(path)["model_version"] == "2.6.0"


SPELLED = {
    "a class of a module not yet imported": name(MODULE, "Config"),
    "an object of it": name(MODULE, "Config") + b")\x81",
    "an object of it with a state": name(MODULE, "Config") + b")\x81}" + text("a") + b"K\x01sb",
    "an instance of old": b"(i" + MODULE.encode() + b"\nConfig\n",
    "one more of old": b"(" + name(MODULE, "Config") + b"o",
    "with keywords": name(MODULE, "Config") + b")}\x92",
    "rebuilt": name("copyreg", "_reconstructor") + b"(" + name(MODULE, "Config") + name("builtins", "object") + b"NtR",
    "a dotted name": text("os") + text("path.os.system") + b"\x93" + text("true") + b"\x85R",
    "a storage of it": name("torch._utils", "_rebuild_tensor_v2") + name(MODULE, "FloatStorage") + b"\x85R",
    "a tensor's type": name("torch._tensor", "_rebuild_from_type_v2")
    + b"("
    + name("os", "system")
    + name("torch", "Tensor")
    + plain(("true",))
    + b"}tR",
    "an array of its type": name("numpy._core.multiarray", "_reconstruct") + b"(" + name(MODULE, "Config") + b"tR",
    "a dtype of it": name("numpy", "dtype") + name(MODULE, "Config") + b"\x85R",
}


@pytest.mark.parametrize("spelled", SPELLED.values(), ids=SPELLED)
def test_names_alone_import_nothing(trap: Trap, spelled: bytes) -> None:
    read = [read_pickle(spelled + b".")]
    read += [read_torch(io.BytesIO(spell(spelled + b".")), "c.pt") for spell in (archive, stream)]
    assert all(isinstance(found, Holder) for found in read)


def test_what_an_array_or_tensor_would_do_with_a_state_is_not_asked(trap: Trap) -> None:
    array = pickle.dumps(np.arange(3.0), 2)[:-1] + b"}b."
    with pytest.raises(CheckpointError, match=r"^pickle: found a state for a ndarray, expected one for an object"):
        read_pickle(array)
