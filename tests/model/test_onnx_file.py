"""ONNX files: what reaches beyond its own bytes or ONNX's own operators is refused before a runtime sees it."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from mlflow_ppo_flavor.errors import SpecError
from mlflow_ppo_flavor.model.onnx_file import check_onnx
from tests.model.onnx_models import graph_of, linear_model, model_of
from tests.model.policies import SPEC


def external(kind: str = "weight") -> onnx.TensorProto:
    tensor = numpy_helper.from_array(np.zeros((SPEC.obs_dim, 4), np.float32), kind)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def only_the_entry() -> onnx.TensorProto:
    """Where its numbers lie is told, but not that they lie there."""
    tensor = external()
    tensor.data_location = TensorProto.DEFAULT
    return tensor


def only_the_location() -> onnx.TensorProto:
    tensor = external()
    tensor.ClearField("external_data")
    return tensor


def branch(tensor: onnx.TensorProto) -> onnx.NodeProto:
    """A node in whose inner graph a tensor stands."""
    inner = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["y"])], "inner", [], [helper.make_value_info("y", onnx.TypeProto())]
    )
    tensor.name = "w"
    inner.initializer.append(tensor)
    return helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner)


def with_node(node: onnx.NodeProto) -> onnx.ModelProto:
    model = linear_model()
    model.graph.node.append(node)
    return model


def with_initialiser(tensor: onnx.TensorProto) -> onnx.ModelProto:
    model = linear_model()
    model.graph.initializer[0].CopyFrom(tensor)
    return model


def with_sparse() -> onnx.ModelProto:
    model = linear_model()
    model.graph.sparse_initializer.add().values.CopyFrom(external())
    return model


def with_function() -> onnx.ModelProto:
    model = linear_model()
    opset = [helper.make_opsetid("", 20)]
    body = [helper.make_node("Identity", ["x"], ["y"])]
    model.functions.append(helper.make_function("mine", "f", ["x"], ["y"], body, opset))
    return model


def with_training() -> onnx.ModelProto:
    model = linear_model()
    model.training_info.add().algorithm.name = "a"
    return model


def with_domain(domain: str) -> onnx.ModelProto:
    model = linear_model()
    model.opset_import.append(helper.make_opsetid(domain, 1))
    return model


OTHER_FILE = "p: found a tensor in another file, expected every number in this one: export it as a single file"
HOSTILE: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "initialiser": (lambda: with_initialiser(external()), OTHER_FILE),
    "entry": (lambda: with_initialiser(only_the_entry()), OTHER_FILE),
    "location": (lambda: with_initialiser(only_the_location()), OTHER_FILE),
    "sparse": (with_sparse, OTHER_FILE),
    "constant": (lambda: with_node(helper.make_node("Constant", [], ["c"], value=external())), OTHER_FILE),
    "branch": (lambda: with_node(branch(external())), OTHER_FILE),
    "domain": (
        lambda: with_node(helper.make_node("Evil", ["x"], ["y"], domain="com.evil")),
        "p: found operators of 'com.evil', expected ONNX's own (ai.onnx): custom operators aren't run",
    ),
    "inner domain": (
        lambda: with_node(
            helper.make_node("If", ["c"], ["z"], then_branch=graph_of([helper.make_node("E", [], [], domain="d")]))
        ),
        "p: found operators of 'd', expected",
    ),
    "contributed": (lambda: with_domain("com.microsoft"), "p: found operators of 'com.microsoft', expected"),
    "functions": (with_function, "p: found functions of its own, expected one graph of ONNX's own operators"),
    "training": (with_training, "p: found training information, expected one graph"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_reaches_beyond_its_bytes_is_refused(name: str) -> None:
    make, message = HOSTILE[name]
    with pytest.raises(SpecError, match=f"^{re.escape(message)}"):
        check_onnx(make().SerializeToString(), "p")


def test_a_whole_model_is_taken() -> None:
    check_onnx(linear_model().SerializeToString(), "p")
    check_onnx(with_domain("ai.onnx").SerializeToString(), "p")
    check_onnx(with_node(branch(numpy_helper.from_array(np.zeros(3, np.float32)))).SerializeToString(), "p")


def test_graphs_within_graphs_without_end_are_refused() -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    for _ in range(20):
        node = helper.make_node("If", ["c"], ["y"], then_branch=graph_of([node]))
    with pytest.raises(SpecError, match=r"^p: found messages nested more than 32 deep, expected a network's few"):
        check_onnx(model_of(graph_of([node])).SerializeToString(), "p")


BROKEN = "p: found bytes that aren't ONNX, expected a whole ONNX model"


@pytest.mark.parametrize("content", [b"\x0b", b"\x3a\x05a", b"\x38\x01", b"\xff" * 20, b"\x3a", b"\x09\x00", b"\x80"])
def test_what_is_no_message_is_refused(content: bytes) -> None:
    with pytest.raises(SpecError, match=f"^{BROKEN}$"):
        check_onnx(content, "p")


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_any_altered_byte_ends_in_a_refusal_or_within_the_file(place: int, change: int) -> None:
    content = bytearray(linear_model().SerializeToString())
    content[place % len(content)] ^= change
    try:
        check_onnx(bytes(content), "p")
    except SpecError:
        return
    # what passes tells protobuf's own reader of no other file either
    model = onnx.ModelProto()
    try:
        model.ParseFromString(bytes(content))
    except DecodeError:
        return
    assert all(not t.external_data and t.data_location == 0 for t in model.graph.initializer)
    assert all(node.domain in ("", "ai.onnx") for node in model.graph.node)


TRACED = """
import sys
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.errors import SpecError
from mlflow_ppo_flavor.model.onnx_policy import OnnxPolicy
import json
from pathlib import Path
spec, content = ModelSpec.from_dict(json.loads(Path(sys.argv[1]).read_bytes())), Path(sys.argv[2]).read_bytes()
opened = []
sys.addaudithook(lambda event, args: opened.append((event, args)) if event in ("open", "os.open") else None)
try:
    OnnxPolicy(spec, content)
except SpecError as error:
    print(error)
print(opened, "onnx" in sys.modules, "onnxscript" in sys.modules)
"""


def test_the_file_that_it_names_is_never_opened(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text(json.dumps(SPEC.to_dict()))
    (tmp_path / "p.onnx").write_bytes(with_initialiser(external()).SerializeToString())
    files = [str(tmp_path / name) for name in ("spec.json", "p.onnx")]
    done = subprocess.run([sys.executable, "-c", TRACED, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == OTHER_FILE.replace("p:", "policy:", 1)
    assert second == "[] False False"
