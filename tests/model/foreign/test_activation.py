"""The activation: by what a file readably says or the user does, never guessed."""

from __future__ import annotations

import argparse
import enum
import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mlflow_ppo_flavor.model.architecture import ACTIVATIONS
from mlflow_ppo_flavor.model.foreign.activation import Mention, chosen, find_mentions, of_text
from mlflow_ppo_flavor.model.inert import read_torch


class Kind(enum.Enum):
    MISH = "mish"


class Swish(nn.Module):
    """An activation of somebody's own code."""


@dataclass
class Config:
    activation_fn: Any = nn.ELU
    layers: list[int] = field(default_factory=lambda: [64, 64])


class Settings(dict[str, Any]):
    """A dict of somebody's own."""


def mentions(config: object) -> list[tuple[str, str | None]]:
    """(place, name) of every mention in what torch.save wrote."""
    stream = io.BytesIO()
    torch.save({"config": config}, stream)
    return [(found.place, found.name) for found in find_mentions(read_torch(stream, "model.pt"))]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_way_to_say_it(name: str) -> None:
    kind = ACTIVATIONS[name]
    words = (name, name.upper(), kind.__name__, f"nn.{kind.__name__}", f"torch.nn.{kind.__name__}()", str(kind))
    assert {of_text("a", word).name for word in words} == {name}
    assert mentions({"activation": name}) == [("config.activation", name)]
    assert mentions({"activation_fn": kind}) == [("config.activation_fn", name)]
    assert mentions({"policy": {"activation_function": kind()}}) == [("config.policy.activation_function", name)]


@pytest.mark.parametrize(
    ("config", "found"),
    [
        (argparse.Namespace(activation="ReLU", seed=1), [("config.activation", "relu")]),
        (Config(), [("config.activation_fn", "elu")]),
        (Settings(nonlinearity="swish"), [("config.nonlinearity", "silu")]),
        ({"model": {"hidden_activation": Kind.MISH}}, [("config.model.hidden_activation", "mish")]),
        # torch's classes tell it wherever they stand
        ([1, {"act": nn.SELU}], [("config.1.act", "selu")]),
        ({"activation": "tanh", "b": nn.ReLU}, [("config.activation", "tanh"), ("config.b", "relu")]),
        # the heads have none after their last layer: what is said of that isn't this
        ({"output_activation": "softmax", "activation": "tanh"}, [("config.activation", "tanh")]),
        ({"output_activation": nn.Identity, "final_activation": nn.Softmax(-1), "last_activation": None}, []),
        ({"output_activation": "tanh", "activation": "tanh"},
         [("config.output_activation", ""), ("config.activation", "tanh")]),
        ({"final_activation_fn": nn.Tanh}, [("config.final_activation_fn", "")]),
        ({"activations": ["relu", nn.Tanh]}, [("config.activations.0", "relu"), ("config.activations.1", "tanh")]),
        ({"activation": None, "learning_rate": 3e-4, "reactivation": "tanh"}, []),
        ({}, []),
        # not torch's defaults, not ours, not readable
        ({"activation": nn.LeakyReLU(0.2)}, [("config.activation", "")]),
        ({"activation": nn.GELU("tanh")}, [("config.activation", "")]),
        ({"activation": functools.partial(nn.LeakyReLU, 0.2)}, [("config.activation", "")]),
        ({"act": functools.partial(nn.LeakyReLU, 0.2)}, [("config.act", "")]),
        ({"act": functools.partial(nn.ELU, alpha=2.0)}, [("config.act", "")]),
        ({"activation": nn.PReLU}, [("config.activation", "")]),
        ({"activation": nn.Identity}, [("config.activation", "")]),
        ({"activation": "prelu"}, [("config.activation", "")]),
        ({"activation": Swish}, [("config.activation", None)]),
    ],
)  # fmt: skip
def test_where_it_is_found(config: object, found: list[tuple[str, str | None]]) -> None:
    assert mentions(config) == found


def test_a_class_of_torch_that_is_no_activation_of_ours_is_told() -> None:
    assert of_text("a", str(nn.Identity)) == Mention("a", "\"<class 'torch.nn.modules.linear.Identity'>\"", "")


def test_a_config_without_end_is_walked_for_a_while() -> None:
    loop: dict[str, Any] = {}
    loop["again"] = loop
    assert find_mentions(loop) == ()
    assert find_mentions([["tanh"] * 100] * 1_000) == ()
    assert find_mentions({"output_" * 100_000: "tanh"}) == ()


def test_what_stands_far_away_counts_too() -> None:
    config: Any = {"activation": "tanh"}
    for _ in range(25):
        config = {"below": config}
    history = [{"reward": 1.0}] * 20_000
    assert [name for _, name in mentions({"activation": "relu", "history": history, "z": config})] == ["relu", "tanh"]


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"activation": "leaky_relu", "negative_slope": 0.2}, "config.activation: 'leaky_relu', config.negative_sl"),
        ({"activation": "elu", "activation_kwargs": {"alpha": 0.5}}, "config.activation: 'elu', config.activation_kw"),
        ({"activation": {"name": "elu", "alpha": 2}}, "config.activation.alpha: 2"),
        ({"activation": "gelu", "activation_args": {"approximate": "tanh"}}, "config.activation: 'gelu', config.activ"),
        ({"activation": "softplus", "softplus_beta": np.float64(2)}, "config.activation: 'softplus', config.softp"),
    ],
)  # fmt: skip
def test_an_unusual_parameter_beside_the_name_is_refused(config: dict[str, Any], told: str) -> None:
    stream = io.BytesIO()
    torch.save({"config": config}, stream)
    found = find_mentions(read_torch(stream, "model.pt"))
    name, (finding,) = chosen(found, "elu" if isinstance(config["activation"], dict) else None, "x.pt: activation")
    assert name == ""
    assert finding.message.startswith(f"x.pt: activation: found {told}")
    assert "expected one of tanh, relu, elu" in finding.message


@pytest.mark.parametrize(
    "config",
    [
        {"activation": "relu", "negative_slope": 0.2},
        {"activation": "leaky_relu", "negative_slope": 0.01, "alpha": 0.5, "beta": 3},
        {"activation": "elu", "elu_alpha": 1, "activation_kwargs": {"inplace": True}},
    ],
)
def test_parameters_that_do_not_matter(config: dict[str, Any]) -> None:
    stream = io.BytesIO()
    torch.save(config, stream)
    assert chosen(find_mentions(read_torch(stream, "model.pt")), None, "a") == (config["activation"], [])


TANH, RELU = Mention("config.activation", "'tanh'", "tanh"), Mention("config.fn", "'relu'", "relu")
CODE, STRANGE = Mention("config.act", "acme.Swish", None), Mention("config.act", "'prelu'", "")


@pytest.mark.parametrize(
    ("found", "given", "name"),
    [
        ([TANH], None, "tanh"),
        ([TANH, TANH], "tanh", "tanh"),
        ([], "gelu", "gelu"),
        ([CODE], "silu", "silu"),
        ([CODE, TANH], None, "tanh"),
    ],
)  # fmt: skip
def test_what_agrees_is_taken(found: Sequence[Mention], given: str | None, name: str) -> None:
    assert chosen(found, given, "x.pt: activation") == (name, [])


@pytest.mark.parametrize(
    ("found", "given", "told"),
    [
        ([], None, "found nothing, expected a readable activation: say it: --activation tanh|relu|elu"),
        ([CODE], None, "found config.act: acme.Swish, expected a readable activation: say it: --activation tanh|relu"),
        ([TANH], "relu", "found config.activation: 'tanh', and --activation relu, expected one activation: l"),
        ([TANH, RELU], None, "found config.activation: 'tanh', config.fn: 'relu', expected one activation: leave"),
        ([STRANGE], None, "found config.act: 'prelu', expected one of tanh, relu, elu, leaky_relu, silu, gelu"),
        ([STRANGE], "tanh", "found config.act: 'prelu', expected one of tanh, relu"),
    ],
)  # fmt: skip
def test_what_does_not_is_refused(found: Sequence[Mention], given: str | None, told: str) -> None:
    name, (finding,) = chosen(found, given, "x.pt: activation")
    assert name == ""
    assert finding.message.startswith(f"x.pt: activation: {told}")
