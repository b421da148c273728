"""OnnxPolicy: any module, exported, computes what it computed; and whatever else stands in the file is refused."""

import logging
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.errors import ObservationError, SpecError
from mlflow_ppo_flavor.model.golden import record_golden
from mlflow_ppo_flavor.model.inference import infer
from mlflow_ppo_flavor.model.onnx_export import export_module
from mlflow_ppo_flavor.model.onnx_policy import OnnxPolicy
from mlflow_ppo_flavor.model.prediction import Predictor
from mlflow_ppo_flavor.model.proof import Golden
from mlflow_ppo_flavor.model.replay import replay
from mlflow_ppo_flavor.model.storage import StoredModel
from tests.model.modules import ConvolvedActor, actor_module, actor_policy, critic_module, critic_policy, seeded
from tests.model.onnx_models import DOUBLE, FLOAT, INPUT, LOGITS, Port, linear_model
from tests.model.policies import SPEC, observations, policy_of, small_bars


def as_evaluated(module: nn.Module, seen: torch.Tensor) -> Any:
    with torch.no_grad():
        found = module.eval()(seen)
    module.train()
    return found


@pytest.mark.parametrize("n", [0, 1, 3, 64, 1_000])
def test_it_computes_what_the_module_computes(n: int) -> None:
    seen = observations(SPEC, n, seed=n)
    logits, values = infer(actor_policy(), seen.numpy())
    assert (logits.dtype, logits.shape, values.dtype, values.shape) == (np.float32, (n, 4), np.float32, (n,))
    assert np.isnan(values).all()
    if n:
        np.testing.assert_allclose(logits, as_evaluated(actor_module(), seen), rtol=1e-5, atol=1e-5)
        logits, values = infer(critic_policy(), seen.numpy())
        expected = as_evaluated(critic_module(), seen)
        np.testing.assert_allclose(logits, expected[0], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(values, expected[1][:, 0], rtol=1e-5, atol=1e-5)


def test_it_says_what_it_is() -> None:
    assert actor_policy().architecture == critic_policy().architecture == {"class": "Onnx"}
    assert (actor_policy().has_critic, critic_policy().has_critic) == (False, True)
    assert actor_policy().spec is SPEC


def test_the_same_bytes_give_the_same_bits_again() -> None:
    seen = observations(SPEC, 7).numpy()
    again = OnnxPolicy(SPEC, critic_policy().content)
    for part, other in zip(infer(again, seen), infer(critic_policy(), seen), strict=True):
        assert part.tobytes() == other.tobytes()


def test_it_is_called_with_tensors_as_an_actor_critic_is() -> None:
    flat = observations(SPEC, 3)
    for one, other in zip(critic_policy()(flat), critic_policy()(flat.reshape(3, 4, 6)), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(ObservationError, match=r"^observations: found numpy.ndarray, expected a torch.Tensor: give"):
        critic_policy()(flat.numpy())
    with pytest.raises(ObservationError, match=r"^observations: found float32\[3, 23\], expected float32 of shape"):
        critic_policy()(flat[:, 1:])


def test_the_module_stays_as_it_was_and_the_exporter_is_quiet(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    module = nn.Sequential(nn.Linear(24, 6), nn.Dropout(0.9), nn.BatchNorm1d(6).eval(), nn.Linear(6, 4)).train()
    module[2].eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    with warnings.catch_warnings(), caplog.at_level(logging.INFO):
        warnings.simplefilter("error")
        policy = export_module(module, SPEC)
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert [part.training for part in module] == [True, True, False, True]
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert __file__.encode() not in policy.content


class Strange(nn.Module):
    """What a function makes of observations."""

    def __init__(self, compute: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.compute = compute

    def forward(self, x: torch.Tensor) -> Any:
        return self.compute(x)


@pytest.mark.parametrize(
    ("compute", "found"),
    [
        (lambda x: x[:, :3], "[3, 3] for 3 observations"),
        (lambda x: x[0, :4], "[4] for 3 observations"),
        (lambda x: (x[:, :4], x[:, :2]), "[3, 4] and [3, 2] for 3 observations"),
        (lambda x: (x[:, :4], x[:, 0], x[:, 0]), "[3, 4] and [3] and [3] for 3 observations"),
        (lambda x: (x[:, :4], 1.0), "[3, 4] and float for 3 observations"),
        (lambda x: {"logits": x}, "dict for 3 observations"),
        (lambda x: (), "nothing for 3 observations"),
    ],
)
def test_outputs_of_other_shapes_are_refused(compute: Callable[[torch.Tensor], Any], found: str) -> None:
    expected = "expected logits [3, 4] alone, or with values [3]: they are what spec 1.0.0 decides by"
    with pytest.raises(SpecError, match=f"^{re.escape(f'policy: found {found}, {expected}')}$"):
        export_module(Strange(compute), SPEC)


def test_what_takes_no_observations_is_told() -> None:
    kind = "torch.nn.modules.linear.Linear"
    message = (
        f"policy: found a {kind} that raises RuntimeError (mat1 and mat2 shapes cannot be multiplied (3x24 and 9x4))"
    )
    with pytest.raises(
        SpecError, match=f"^{re.escape(message)}, {re.escape('expected one that takes float32[3, 24]')}"
    ):
        export_module(nn.Linear(9, 4), SPEC)


def test_what_torch_cannot_export_is_told() -> None:
    decides = Strange(lambda x: x[:, :4] if float(x.detach().numpy().sum()) > 1e9 else x[:, 4:8])
    with pytest.raises(
        SpecError, match=r"^policy: found a \S+Strange that torch can't export \(.*\w.*\), expected one that"
    ):
        export_module(decides, SPEC)


def test_what_draws_random_numbers_differs_once_exported() -> None:
    noisy = Strange(lambda x: x[:, :4] + torch.rand_like(x[:, :4]))
    with pytest.raises(
        SpecError,
        match=r"^policy: found outputs that differ by 0.\d+ × max\(1, \|output\|\) once exported, expected at most "
        r"1e-05: does it draw random numbers, or decide by its input in Python\?$",
    ):
        export_module(noisy, SPEC)


@pytest.mark.parametrize(("spec", "found"), [(None, "nothing"), ("2.7.0", "str")])
def test_its_spec_must_be_given(spec: Any, found: str) -> None:
    with pytest.raises(SpecError, match=f"^spec: found {found}, expected a ModelSpec"):
        export_module(seeded(ConvolvedActor), spec)


EXPECTED_IN = "expected observations float32[n, 24]"
EXPECTED_OUT = "expected logits float32[n, 4]"


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        ((("x", FLOAT, ["n", 24]),), (LOGITS,), f"inputs: found x tensor(float)['n', 24], {EXPECTED_IN}"),
        ((INPUT, ("x", FLOAT, ["n", 24])), (LOGITS,), "inputs: found observations tensor(float)['n', 24], x tensor"),
        ((("observations", FLOAT, ["n", 24]),), (("y", FLOAT, ["n", 4]),), "outputs: found y tensor(float)['n', 4], "),
        (
            (("observations", DOUBLE, ["n", 24]),),
            (("logits", DOUBLE, ["n", 4]),),
            "inputs: found observations tensor(do",
        ),
        (
            (("observations", FLOAT, [3, 24]),),
            (("logits", FLOAT, [3, 4]),),
            "inputs: found observations tensor(float)[3",
        ),
        ((("observations", FLOAT, ["n", "m"]),), (LOGITS,), "inputs: found observations tensor(float)['n', 'm'], exp"),
        (
            (INPUT,),
            (LOGITS, ("values", FLOAT, ["n"]), ("more", FLOAT, ["n"])),
            "outputs: found logits tensor(float)['n', 4], values tensor(float)['n'], more tensor(float)['n'], "
            "expected logits float32[n, 4], values float32[n]",
        ),
    ],
)
def test_other_inputs_and_outputs_are_refused(inputs: tuple[Port], outputs: tuple[Port], message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape('p.' + message)}"):
        OnnxPolicy(SPEC, linear_model(inputs, outputs).SerializeToString(), "p")


def test_a_hand_written_model_is_run() -> None:
    seen = observations(SPEC, 5).numpy()
    policy = OnnxPolicy(SPEC, linear_model(outputs=(LOGITS, ("values", FLOAT, ["n"]))).SerializeToString())
    logits, values = infer(policy, seen)
    np.testing.assert_allclose(logits, seen @ np.linspace(-1, 1, 96, dtype=np.float32).reshape(24, 4), rtol=1e-4)
    np.testing.assert_allclose(values, seen.sum(axis=1), rtol=1e-4, atol=1e-5)


def test_what_the_runtime_does_not_take_is_told() -> None:
    model = linear_model()
    model.graph.node[0].op_type = "Nonsense"
    with pytest.raises(
        SpecError, match=r"^p: found a model that onnxruntime doesn't take \(.*Nonsense.*\), expected a"
    ):
        OnnxPolicy(SPEC, model.SerializeToString(), "p")
    # the runtime's other format, told by these bytes, would not have been checked
    with pytest.raises(SpecError, match=r"^p: found "):
        OnnxPolicy(SPEC, b"\x00\x00\x00\x00ORTM" + b"\x00" * 64, "p")


@pytest.mark.parametrize("make", [actor_policy, critic_policy])
def test_golden_decisions_are_recorded_and_replayed(make: Callable[[], OnnxPolicy]) -> None:
    golden = record_golden(make(), small_bars())
    assert np.isnan(golden.values).all() == (not make().has_critic)
    golden = Golden.from_tensors(golden.to_tensors())
    assert replay(golden, make(), SPEC) == ()
    first: Finding = replay(golden, policy_of(SPEC), SPEC)[0]
    assert first.place.startswith("golden.logit of ")


def test_the_table_has_no_value_where_there_is_no_critic() -> None:
    seen = observations(SPEC, 4).numpy()
    table = Predictor(StoredModel(SPEC, actor_policy(), "0" * 64, None)).predict(seen)
    assert table["value"].isna().all()
    assert list(table["action"]) == as_evaluated(actor_module(), torch.from_numpy(seen)).argmax(1).tolist()
    assert Predictor(StoredModel(SPEC, critic_policy(), "0" * 64, None)).predict(seen)["value"].notna().all()
