"""Objects of classes that aren't there: holders with their state, however they are spelled."""

import collections
import copyreg
import dataclasses
import enum
import functools
import pickle
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from mlflow_ppo_flavor.model.inert import Holder, plain_state, read_pickle
from tests.model.hostile import name, text


@pytest.fixture
def acme() -> Iterator[types.ModuleType]:
    """A module of training code, gone once its objects are pickled."""
    module = types.ModuleType("acme_training")
    sys.modules["acme_training"] = module
    yield module
    sys.modules.pop("acme_training", None)


def gone(acme: types.ModuleType, value: Any, protocol: int) -> Any:
    """The value pickled, and read when its module is no more."""
    data = pickle.dumps(value, protocol)
    del sys.modules["acme_training"]
    found = read_pickle(data)
    assert "acme_training" not in sys.modules
    return found


def of(acme: types.ModuleType, kind: type) -> Any:
    """A class moved into the module."""
    kind.__module__, kind.__qualname__ = "acme_training", kind.__name__
    setattr(acme, kind.__name__, kind)
    return kind


@pytest.mark.parametrize("protocol", range(6))
def test_a_config_of_a_module_that_is_gone_has_its_state(acme: types.ModuleType, protocol: int) -> None:
    class Activation(enum.Enum):
        TANH = "tanh"

    @dataclasses.dataclass
    class Optimizer:
        lr: float = 3e-4

    @dataclasses.dataclass(eq=False)
    class Config:
        activation: Any
        optimizer: Any
        layer: type
        parent: Any = None

    for kind in (Activation, Optimizer, Config):
        of(acme, kind)
    config = Config(Activation.TANH, Optimizer(), torch.nn.Tanh)
    config.parent = config
    found = gone(acme, {"config": config, config: 1}, protocol)
    holder = found["config"]
    assert (holder.path, found[holder]) == ("acme_training.Config", 1)
    state = plain_state(holder)
    assert list(state) == ["activation", "optimizer", "layer", "parent"]
    assert state["parent"] is holder
    assert (state["activation"].path, plain_state(state["optimizer"])) == ("acme_training.Activation", {"lr": 3e-4})
    assert "tanh" in state["activation"].args
    assert (state["layer"].path, state["layer"].args) == ("torch.nn.modules.activation.Tanh", None)
    assert repr(holder) == "<object acme_training.Config with activation, optimizer, layer, parent>"
    assert repr(state["layer"]) == "<name torch.nn.modules.activation.Tanh>"


@pytest.mark.parametrize("protocol", range(2, 6))
def test_objects_of_every_spelling_become_holders(acme: types.ModuleType, protocol: int) -> None:
    class Names(list):  # type: ignore[type-arg]
        pass

    class Table(dict):  # type: ignore[type-arg]
        pass

    class Group(set):  # type: ignore[type-arg]
        pass

    class Slots:
        __slots__ = ("__dict__", "gamma")

    kinds = [of(acme, kind) for kind in (Names, Table, Group, Slots)]
    slots, table = kinds[3](), kinds[1](b=3)
    slots.gamma, slots.free, table.note = 0.5, 1, "x"
    point = of(acme, collections.namedtuple("Point", "x y"))(1, 2)
    values = [kinds[0]([1, 2]), table, kinds[2]({1}), slots, point]
    names, items, group, slotted, tuples = gone(acme, values, protocol)
    assert list(names.appended) == [1, 2]
    assert (items.items, plain_state(items)) == ([("b", 3)], {"note": "x", "b": 3})
    assert "[1]" in repr((group.args, group.appended))
    assert plain_state(slotted) == {"free": 1, "gamma": 0.5}
    assert tuples.args == (1, 2)


@pytest.mark.parametrize(
    ("spelled", "path", "args"),
    [
        (b"(iacme\nConfig\n.", "acme.Config", ()),
        (b"(K\x01iacme\nConfig\n.", "acme.Config", (1,)),
        (b"(" + name("acme", "Config") + b"K\x01o.", "acme.Config", (1,)),
        (name("acme", "Config") + b")\x81.", "acme.Config", ()),
        (text("acme") + text("Outer.Inner") + b"\x93.", "acme.Outer.Inner", None),
        (name("builtins", "set") + b"K\x01\x85R.", "builtins.set", (1,)),
        (name("collections", "OrderedDict") + b"K\x01\x85R.", "collections.OrderedDict", (1,)),
        (name("torch", "Size") + text("x") + b"\x85R.", "torch.Size", ("x",)),
    ],
)
def test_old_and_odd_spellings(spelled: bytes, path: str, args: Any) -> None:
    found = read_pickle(spelled)
    assert (found.path, found.args) == (path, args)


def test_an_object_made_with_keywords_has_them() -> None:
    found = read_pickle(name("acme", "Config") + b"K\x01\x85}" + text("lr") + b"K\x02s\x92.")
    assert (found.path, found.args, found.keywords) == ("acme.Config", (1,), {"lr": 2})


def test_what_a_call_made_is_called_in_its_turn() -> None:
    maker = functools.partial(int, "7")
    found = read_pickle(pickle.dumps(maker, 2)[:-1] + b")R.")
    assert found.path == "functools.partial"
    made_by, args = found.args
    assert (made_by.path, args) == ("functools.partial", ())


def test_a_class_that_is_rebuilt_as_of_old_is_a_holder_of_its_own_name() -> None:
    spelled = name("copyreg", "_reconstructor") + b"(" + name("acme", "Config") + name("builtins", "object") + b"NtR."
    assert read_pickle(spelled).path == "acme.Config"
    assert copyreg._reconstructor is not None  # type: ignore[attr-defined]


def test_plain_state_of_what_has_none() -> None:
    assert [plain_state(value) for value in (None, 3, [1], Holder("a", "B"))] == [{}] * 4
    assert plain_state({"a": 1, 2: 3}) == {"a": 1}


def test_a_repr_is_short_whatever_is_held() -> None:
    holder = Holder("m" * 1_000, "n", ())
    holder.state = {f"key{i}" + "x" * 100: holder for i in range(1_000)}
    assert len(repr(holder)) < 500
    assert repr(holder).endswith(", …>")
