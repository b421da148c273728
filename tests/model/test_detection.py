"""Which version a checkpoint is of: the whole spec, the declared version, or the weights, which decide."""

import re
import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mlflow_ppo_flavor as ppo
from mlflow_ppo_flavor.contract.releases import MODEL_SPECS, get_checkpoint_metadata
from mlflow_ppo_flavor.errors import CheckpointError, IncompatibleModel, SpecError, UnknownFormat
from mlflow_ppo_flavor.model.detection import inspect_checkpoint
from mlflow_ppo_flavor.model.inert import Holder
from tests import tiers

RELEASED_SHAPES = {"2.3.0": (5300, 3), "2.6.0": (5600, 3), "2.7.0": (5900, 7)}


def state(obs_dim: int, n_actions: int, hidden: tuple[int, ...] = (6, 5)) -> dict[str, torch.Tensor]:
    """Weights of a network of this shape, on the meta device: shapes are all that detection reads."""
    widths = (obs_dim, *hidden)
    layers = {f"trunk.{i}": (b, a) for i, (a, b) in enumerate(pairwise(widths))}
    layers |= {"actor": (n_actions, hidden[-1]), "critic": (1, hidden[-1])}
    named = {f"{name}.weight": torch.empty(size, device="meta") for name, size in layers.items()}
    return named | {f"{name}.bias": torch.empty(size[0], device="meta") for name, size in layers.items()}


def checkpoint(version: str, **changes: Any) -> dict[str, Any]:
    """A checkpoint of a released version, with keys changed, or left out where None."""
    spec = MODEL_SPECS[version]
    content = {"policy_state_dict": state(spec.obs_dim, spec.n_actions), **get_checkpoint_metadata(spec), **changes}
    return {key: value for key, value in content.items() if value is not None}


def legacy(version: str, **changes: Any) -> dict[str, Any]:
    """The same without the whole spec."""
    return checkpoint(version, spec=None, spec_format=None, **changes)


def bare(obs_dim: int, n_actions: int) -> dict[str, Any]:
    """Weights alone."""
    return {"policy_state_dict": state(obs_dim, n_actions)}


@pytest.mark.parametrize("version", MODEL_SPECS)
def test_a_whole_spec_or_a_declared_version_is_taken_without_findings(version: str) -> None:
    assert inspect_checkpoint(checkpoint(version)) == (version, MODEL_SPECS[version], ())
    assert inspect_checkpoint(legacy(version)) == (version, MODEL_SPECS[version], ())


@pytest.mark.parametrize(("version", "shape"), RELEASED_SHAPES.items())
def test_without_metadata_the_weights_tell(version: str, shape: tuple[int, int]) -> None:
    found, spec, (finding,) = inspect_checkpoint(bare(*shape))
    assert (found, spec) == (version, MODEL_SPECS[version])
    assert (finding.code, finding.kind) == ("detected", "warning")
    equal = "2.4.0, 2.5.0, 2.6.0, which are equal: it is taken as 2.6.0" if version == "2.6.0" else version
    assert finding.message == (
        f"model_version: found no version and no spec, the weights have {shape[0]} inputs and {shape[1]} actions, as "
        f"{equal}: save it with save_checkpoint, so that the whole spec travels with the weights"
    )


def test_detecting_warns_of_what_it_found() -> None:
    with pytest.warns(
        UserWarning, match=r"^\[warning\] model_version: found no version and no spec.*2.4.0, 2.5.0, 2.6.0"
    ):
        assert ppo.detect_version_from_checkpoint(bare(5600, 3)) == ("2.6.0", MODEL_SPECS["2.6.0"])


@pytest.mark.parametrize("declared", ["2.8.0", "9.9", "latest", 2.7, ["2.7.0"]])
def test_an_unknown_declared_version_without_a_spec_is_refused(declared: object) -> None:
    message = re.escape(
        f"model_version: found {declared!r}, expected one of 2.3.0, 2.4.0, 2.5.0, 2.6.0, 2.7.0, or a whole"
    )
    with pytest.raises(CheckpointError, match=f"^{message}"):
        ppo.detect_version_from_checkpoint(legacy("2.7.0", model_version=declared))


def test_an_unknown_version_with_its_whole_spec_is_taken() -> None:
    spec = {**MODEL_SPECS["2.7.0"].to_dict(), "version": "3.0.0", "family": "acme"}
    content = checkpoint("2.7.0", spec=spec, model_version="3.0.0")
    assert ppo.detect_version_from_checkpoint(content)[0] == "3.0.0"


def test_the_weights_decide_against_a_declared_version() -> None:
    lying = legacy("2.6.0", model_version="2.7.0", n_features=None, n_actions=None, obs_dim=None)
    lying |= {"action_meanings": MODEL_SPECS["2.6.0"].action_meanings}
    version, spec, (finding,) = inspect_checkpoint(lying)
    assert (version, spec) == ("2.6.0", MODEL_SPECS["2.6.0"])
    assert finding.kind == "safety"
    assert finding.message.startswith(
        "model_version: found 2.7.0, the weights have 5600 inputs and 3 actions, as 2.6.0: save it with save_checkpoint"
    )
    with pytest.raises(IncompatibleModel, match=r"refused, 1 finding\(s\)\n  \[safety\] model_version: found 2.7.0"):
        ppo.assert_compatibility(lying)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_features": 56}, "n_features: found 56, spec 2.7.0 says 59"),
        ({"n_actions": 3}, "n_actions: found 3, spec 2.7.0 says 7"),
        ({"obs_dim": 5600}, "obs_dim: found 5600, spec 2.7.0 says 5900"),
        ({"min_trader_version": "2.4.0"}, "min_trader_version: found '2.4.0', spec 2.7.0 says '2.7.0'"),
        (
            {"action_meanings": {0: "HOLD", 1: "BUY"}},
            "action_meanings: found {0: 'HOLD', 1: 'BUY'}, spec 2.7.0 says {0",
        ),
        ({"model_version": "2.6.0"}, "model_version: found '2.6.0', spec 2.7.0 says '2.7.0'"),
    ],
)
def test_metadata_that_contradicts_the_spec_is_a_safety_finding(change: dict[str, Any], message: str) -> None:
    (finding,) = inspect_checkpoint(checkpoint("2.7.0", **change)).findings
    assert finding.kind == "safety"
    assert finding.message.startswith(message)
    if "model_version" not in change:
        assert inspect_checkpoint(legacy("2.7.0", **change)).findings == (finding,)


_numbers = st.integers() | st.sampled_from([400, 5_000]).map((10).__pow__) | st.floats(allow_nan=True)
_arrays = st.sampled_from(
    [
        *(torch.tensor([7, 7]), torch.tensor([[59.0]]), torch.tensor(float("nan")), torch.empty(2, device="meta")),
        *(np.array([5900, 1]), np.array([]), np.array("2.7.0"), np.float64("nan"), np.bool_(True)),
    ]
)
poison = st.recursive(
    st.none() | st.booleans() | _numbers | st.text(max_size=5) | st.binary(max_size=3) | _arrays,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.integers(0, 6) | st.text(max_size=3), inner, max_size=3)
        | st.dictionaries(st.just(0), inner, min_size=1).map(MODEL_SPECS["2.7.0"].action_meanings.__or__)
    ),
    max_leaves=5,
)
DECLARED = ("min_trader_version", "n_features", "n_actions", "obs_dim", "action_meanings")


def are_equal(value: object, own: object) -> bool:
    """Whether two values are equal; an array within one compares to an array, which is no truth."""
    try:
        return bool(value == own)
    except (ValueError, RuntimeError):
        return False


@settings(max_examples=tiers.EXAMPLES)
@given(st.sampled_from(DECLARED), poison, st.booleans())
def test_metadata_of_any_kind_is_a_finding_and_never_an_error(key: str, value: object, whole: bool) -> None:
    spec = MODEL_SPECS["2.7.0"]
    content = (checkpoint if whole else legacy)("2.7.0") | {key: value}
    version, found, findings = inspect_checkpoint(content)
    assert (version, found) == ("2.7.0", spec)
    own = getattr(spec, key)
    if value is None or (isinstance(value, type(own)) and are_equal(value, own)):
        assert findings == ()
    else:
        (finding,) = findings
        assert (finding.code, finding.kind, finding.place) == ("metadata", "safety", key)
        assert len(finding.message) < 1_000


def test_metadata_as_numpy_counts_it_is_the_same() -> None:
    spec = MODEL_SPECS["2.7.0"]
    counts = {key: np.int64(getattr(spec, key)) for key in ("n_features", "n_actions", "obs_dim")}
    assert inspect_checkpoint(checkpoint("2.7.0", **counts)).findings == ()


@pytest.mark.parametrize("count", [torch.tensor, lambda n: torch.tensor(n, dtype=torch.int16), np.array, np.int32])
def test_a_whole_number_counts_whatever_holds_it(count: Any) -> None:
    spec = MODEL_SPECS["2.7.0"]
    meanings = {count(key).item(): text for key, text in spec.action_meanings.items()}
    counts = {key: count(getattr(spec, key)) for key in ("n_features", "n_actions", "obs_dim")}
    assert inspect_checkpoint(legacy("2.7.0", **counts, action_meanings=meanings)).findings == ()
    (finding,) = inspect_checkpoint(legacy("2.7.0", **counts | {"n_actions": count(3)})).findings
    assert (finding.kind, finding.place) == ("safety", "n_actions")


def test_meanings_by_numpy_numbers_are_the_same() -> None:
    meanings = {np.int64(key): np.str_(text) for key, text in MODEL_SPECS["2.6.0"].action_meanings.items()}
    assert inspect_checkpoint(legacy("2.6.0", action_meanings=meanings)).findings == ()


HELD = Holder("acme.training", "Version", ("2.6.0",))


@pytest.mark.parametrize("key", ["min_trader_version", "n_features", "n_actions", "obs_dim", "action_meanings"])
def test_metadata_of_a_class_that_is_gone_is_a_finding(key: str) -> None:
    (finding,) = inspect_checkpoint(legacy("2.6.0", **{key: HELD})).findings
    assert finding.message.startswith(f"{key}: found <object acme.training.Version>, spec 2.6.0 says ")


def test_a_version_or_spec_of_a_class_that_is_gone_is_refused() -> None:
    with pytest.raises(
        CheckpointError, match=r"^model_version: found <object acme.training.Version>, expected one of 2"
    ):
        inspect_checkpoint(legacy("2.6.0", model_version=HELD))
    with pytest.raises(SpecError, match=r"^spec: found <object acme.training.Version>, expected a mapping"):
        inspect_checkpoint(checkpoint("2.6.0", spec=HELD))


@pytest.mark.parametrize("version", ["2.4.0", "2.5.0", "2.6.0"])
def test_a_version_is_chosen_among_equals_and_nothing_is_guessed(version: str) -> None:
    assert inspect_checkpoint(bare(5600, 3), version) == (version, MODEL_SPECS[version], ())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ppo.detect_version_from_checkpoint(bare(5600, 3), as_version=version)[1] == MODEL_SPECS[version]


@pytest.mark.parametrize(
    ("content", "chosen", "message"),
    [
        (
            bare(5600, 3),
            "2.7.0",
            "found '2.7.0', expected one of 2.4.0, 2.5.0, 2.6.0: the weights have 5600 inputs and 3",
        ),
        (
            bare(5600, 3),
            "2.9.0",
            "found '2.9.0', expected one of 2.4.0, 2.5.0, 2.6.0: the weights have 5600 inputs and 3",
        ),
        (bare(5300, 3), "2.4.0", "found '2.4.0', expected 2.3.0: the weights have 5300 inputs and 3 actions"),
        (legacy("2.7.0"), "2.6.0", "found '2.6.0', expected 2.7.0: the weights have 5900 inputs and 7 actions"),
        (checkpoint("2.6.0"), "2.5.0", "found '2.5.0', expected 2.6.0, the whole spec that it was saved with: leave"),
    ],
)
def test_a_choice_that_does_not_fit_is_refused(content: dict[str, Any], chosen: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=f"^as_version: {message}"):
        inspect_checkpoint(content, chosen)


def test_a_choice_does_not_help_what_fits_nothing_or_declares_the_unknown() -> None:
    with pytest.raises(CheckpointError, match=r"^checkpoint: found 4000 inputs and 5 actions, which no released spec"):
        inspect_checkpoint(bare(4000, 5), "2.6.0")
    with pytest.raises(CheckpointError, match=r"^model_version: found '2.8.0', expected one of 2.3.0"):
        inspect_checkpoint(legacy("2.6.0", model_version="2.8.0"), "2.6.0")


def test_a_declared_version_that_differs_from_the_choice_is_told() -> None:
    version, spec, (finding,) = inspect_checkpoint(legacy("2.6.0"), "2.5.0")
    assert (version, spec, finding.kind) == ("2.5.0", MODEL_SPECS["2.5.0"], "warning")
    assert finding.message == (
        "model_version: found 2.6.0, as_version says 2.5.0: ask those who trained it: the weights fit both"
    )
    assert inspect_checkpoint(legacy("2.5.0"), "2.5.0").findings == ()
    assert inspect_checkpoint(checkpoint("2.6.0"), "2.6.0").findings == ()


def test_a_choice_does_not_hide_a_lie() -> None:
    lying = legacy("2.7.0", policy_state_dict=state(5600, 3))
    version, _, findings = inspect_checkpoint(lying, "2.5.0")
    assert version == "2.5.0"
    assert {(finding.kind, finding.place) for finding in findings} == {
        ("safety", place)
        for place in ("model_version", "min_trader_version", "n_features", "n_actions", "obs_dim", "action_meanings")
    }
    assert findings[0].message.startswith(
        "model_version: found 2.7.0, the weights have 5600 inputs and 3 actions, as 2.5.0"
    )


def test_partial_metadata_that_agrees_adds_nothing() -> None:
    (finding,) = inspect_checkpoint(bare(5600, 3) | {"n_features": 56, "action_meanings": None}).findings
    assert finding.code == "detected"
    (warning,) = inspect_checkpoint({"n_features": 56}, "2.5.0").findings
    assert (warning.kind, warning.found) == ("warning", "no weights")


def test_a_weight_without_a_shape_is_no_weight() -> None:
    content = checkpoint("2.7.0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content["policy_state_dict"]["odd"] = torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])
    assert inspect_checkpoint(content).findings == ()


def test_a_spec_that_the_weights_contradict_is_a_safety_finding() -> None:
    wrong = checkpoint("2.7.0", policy_state_dict=state(5600, 3))
    version, _, (finding,) = inspect_checkpoint(wrong)
    assert version == "2.7.0"
    assert finding.kind == "safety"
    expected = "policy_state_dict: found 5600 inputs and 3 actions, spec 2.7.0 has 5900 inputs and 7 actions"
    assert finding.message.startswith(expected)
    with pytest.raises(IncompatibleModel, match=expected):
        ppo.assert_compatibility(wrong)


def test_weights_that_no_released_spec_fits_are_refused_with_all_that_was_seen() -> None:
    with pytest.raises(CheckpointError) as refusal:
        inspect_checkpoint({"policy_state_dict": state(4000, 5), "n_actions": 5})
    text = str(refusal.value)
    assert text.startswith(
        "checkpoint: found 4000 inputs and 5 actions, which no released spec has (2.3.0: 5300 inputs"
    )
    assert "Weights seen: trunk.0.weight [6, 4000]; " in text
    assert text.endswith("Metadata seen: n_actions 5")


@pytest.mark.parametrize("shape", [(4000, 5), (5900, 3), (5600, 7)])
def test_a_declared_version_does_not_help_weights_that_fit_nothing(shape: tuple[int, int]) -> None:
    message = f"^checkpoint: found {shape[0]} inputs and {shape[1]} actions, which no released spec has .*"
    with pytest.raises(CheckpointError, match=message + "Metadata seen: model_version '2.7.0'$"):
        inspect_checkpoint({"policy_state_dict": state(*shape), "model_version": "2.7.0"})


def test_a_message_shows_hundreds_of_weights_at_most() -> None:
    weights = {f"layer{i}": torch.empty(1, device="meta") for i in range(1_000)}
    with pytest.raises(CheckpointError, match=r"layer199 \[1\]; and 800 more. Metadata seen: none$"):
        inspect_checkpoint({"policy_state_dict": weights})


@pytest.mark.parametrize("content", [{}, {"policy_state_dict": {}}, {"policy_state_dict": None}, {"n_features": 59}])
def test_nothing_to_go_by_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises(
        CheckpointError, match=r"^checkpoint: found unknown inputs and unknown actions, which no released"
    ):
        inspect_checkpoint(content)


@pytest.mark.parametrize("content", [None, [1], "c.pt"])
def test_what_is_no_checkpoint_is_told(content: Any) -> None:
    message = f"^checkpoint: found {type(content).__name__}, expected a Checkpoint or a dict$"
    with pytest.raises(CheckpointError, match=message):
        ppo.detect_version_from_checkpoint(content)


def test_metadata_without_weights_is_believed_with_a_warning() -> None:
    version, _, (finding,) = inspect_checkpoint({"model_version": "2.6.0"})
    assert version == "2.6.0"
    assert (finding.kind, finding.found) == ("warning", "no weights")


def test_a_spec_that_cannot_be_read_is_refused_by_its_path() -> None:
    spec = MODEL_SPECS["2.7.0"].to_dict()
    with pytest.raises(UnknownFormat, match=r"^spec.format: found 2, expected 1"):
        inspect_checkpoint(checkpoint("2.7.0", spec={**spec, "format": 2}))
    with pytest.raises(SpecError, match=r"^spec.window: found 0, expected a whole number"):
        inspect_checkpoint(checkpoint("2.7.0", spec={**spec, "window": 0}))


@pytest.mark.filterwarnings("ignore:.warning. bars")
def test_version_findings_warn_and_fail_when_strict() -> None:
    new = checkpoint(
        "2.6.0", spec={**MODEL_SPECS["2.6.0"].to_dict(), "requires_trader": ">=2.6.0"}, min_trader_version=None
    )
    message = r"requires_trader: found trader 2.4.0, model 2.6.0 requires trader >=2.6.0"
    with pytest.warns(UserWarning, match=r"^\[version\] " + message):
        assert ppo.assert_compatibility(new, trader_version="2.4.0").requires_trader == ">=2.6.0"
    with pytest.raises(IncompatibleModel, match=message) as refusal:
        ppo.assert_compatibility(new, strict=True, trader_version="2.4.0")
    assert [finding.kind for finding in refusal.value.verdict.blocking] == ["version"]


def test_a_trader_that_lacks_features_is_refused_strict_or_not() -> None:
    for strict in (False, True):
        with pytest.raises(
            IncompatibleModel, match=r"features\[56\]: found position_size@1, this trader doesn't compute"
        ):
            ppo.assert_compatibility(checkpoint("2.7.0"), strict=strict, trader_version="2.6.0")


@pytest.mark.filterwarnings("ignore:.warning. bars")
@pytest.mark.parametrize("version", MODEL_SPECS)
def test_the_current_trader_runs_every_release(version: str) -> None:
    assert ppo.assert_compatibility(checkpoint(version), strict=True) == MODEL_SPECS[version]


@settings(max_examples=tiers.EXAMPLES)
@given(
    st.sampled_from(sorted(RELEASED_SHAPES.items())),
    st.lists(st.integers(16, 2048), min_size=1, max_size=5, unique=True),
    st.randoms(use_true_random=False),
    st.data(),
)
def test_any_stack_of_layers_in_any_order_is_understood(
    released: tuple[str, tuple[int, int]], hidden: list[int], random: Any, data: st.DataObject
) -> None:
    version, (obs_dim, n_actions) = released
    weights = list(state(obs_dim, n_actions, tuple(hidden)).values())
    random.shuffle(weights)
    names = data.draw(st.lists(st.text(max_size=6), min_size=len(weights), max_size=len(weights), unique=True))
    found = inspect_checkpoint({"policy_state_dict": dict(zip(names, weights, strict=True))})
    assert found.version == version
