"""ONNX models written by hand, with the onnx package: one linear layer, as strangers may have it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.model.policies import SPEC

FLOAT, DOUBLE = TensorProto.FLOAT, TensorProto.DOUBLE
Port = tuple[str, int, list[Any]]
INPUT: Port = ("observations", FLOAT, ["n", SPEC.obs_dim])
LOGITS: Port = ("logits", FLOAT, ["n", SPEC.n_actions])


def graph_of(nodes: Sequence[onnx.NodeProto], inputs: Sequence[Port] = (), outputs: Sequence[Port] = ()) -> Any:
    """A graph of these nodes."""
    ports = [[helper.make_tensor_value_info(*port) for port in side] for side in (inputs, outputs)]
    return helper.make_graph(list(nodes), "policy", *ports)


def model_of(graph: Any) -> onnx.ModelProto:
    """A model of one graph, of an operator set that every supported runtime has."""
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def linear_model(inputs: Sequence[Port] = (INPUT,), outputs: Sequence[Port] = (LOGITS,)) -> onnx.ModelProto:
    """Logits = observations × weight, for whatever ports it is said to have."""
    graph = graph_of([helper.make_node("MatMul", [inputs[0][0], "weight"], [outputs[0][0]])], inputs, outputs)
    for name, *_ in outputs[1:]:
        graph.node.append(helper.make_node("ReduceSum", [inputs[0][0], "axes"], [name], keepdims=0))
        graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "axes"))
    kind = np.float64 if inputs[0][1] == DOUBLE else np.float32
    weight = np.linspace(-1, 1, SPEC.obs_dim * SPEC.n_actions, dtype=kind).reshape(SPEC.obs_dim, SPEC.n_actions)
    graph.initializer.insert(0, numpy_helper.from_array(weight, "weight"))
    return model_of(graph)
