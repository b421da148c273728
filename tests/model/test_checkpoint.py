"""Checkpoints: what is written, that it is whole or not there, and that reading one runs no code."""

import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mlflow_ppo_flavor as ppo
from mlflow_ppo_flavor.contract.releases import get_checkpoint_metadata
from mlflow_ppo_flavor.errors import CheckpointError, SpecError
from mlflow_ppo_flavor.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mlflow_ppo_flavor.model.policy import ActorCritic
from mlflow_ppo_flavor.model.proof import Golden
from tests import tiers
from tests.model.policies import SPEC, any_policies, observations, policy_of, small_golden, small_policy

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=5) | st.integers(0, 9), inner, max_size=3)
    ),
    max_leaves=8,
)


def same_weights(one: ActorCritic, other: ActorCritic) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return one.architecture == other.architecture and all(torch.equal(a, b) for a, b in pairs)


def test_it_has_the_protocols_keys_and_the_whole_spec(tmp_path: Path) -> None:
    optimizer = torch.optim.Adam(small_policy().parameters(), lr=1e-3)
    save_checkpoint(tmp_path / "c.pt", small_policy(), optimizer, 12, {"lr": 1e-3}, spec=SPEC, golden=small_golden())
    checkpoint = load_checkpoint(tmp_path / "c.pt")
    assert list(checkpoint) == [
        *("policy_state_dict", "optimizer_state_dict", "global_step", "config"),
        *("model_version", "min_trader_version", "n_features", "n_actions", "obs_dim", "action_meanings"),
        *("spec_format", "spec", "architecture", "golden"),
    ]
    assert {key: checkpoint[key] for key in get_checkpoint_metadata(SPEC)} == get_checkpoint_metadata(SPEC)
    assert (checkpoint["global_step"], checkpoint["config"], len(checkpoint)) == (12, {"lr": 1e-3}, 14)
    assert checkpoint["action_meanings"] == {0: "HOLD", 1: "BUY_50%", 2: "BUY_100%", 3: "SELL_50%"}
    assert checkpoint.spec == SPEC
    assert same_weights(checkpoint.policy(), small_policy())
    assert isinstance(checkpoint.golden, Golden)
    assert checkpoint.golden.digests == small_golden().digests
    assert checkpoint["optimizer_state_dict"]["param_groups"][0]["lr"] == 1e-3


def test_what_is_left_out_is_empty(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c.pt", small_policy())
    checkpoint = load_checkpoint(tmp_path / "c.pt")
    assert checkpoint["optimizer_state_dict"] is None
    assert (checkpoint["global_step"], checkpoint["config"], checkpoint.golden) == (0, {}, None)


def test_training_goes_on_from_a_checkpoint_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    def step(policy: ActorCritic, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        logits, values = policy(observations(SPEC, 8))
        (logits.square().mean() + values.square().mean()).backward()
        optimizer.step()

    policy = policy_of(SPEC, 3)
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    step(policy, optimizer)
    save_checkpoint(tmp_path / "c.pt", policy, optimizer)
    step(policy, optimizer)

    checkpoint = load_checkpoint(tmp_path / "c.pt")
    resumed = checkpoint.policy()
    again = torch.optim.Adam(resumed.parameters())
    again.load_state_dict(checkpoint["optimizer_state_dict"])
    step(resumed, again)
    assert same_weights(resumed, policy)


@settings(max_examples=tiers.SLOW_EXAMPLES)
@given(any_policies, st.dictionaries(st.text(max_size=5), plain, max_size=4), st.integers(0, 2**40))
def test_everything_survives_a_round_trip(
    tmp_path_factory: pytest.TempPathFactory, policy: ActorCritic, config: dict[str, Any], step: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "round-trip.pt"
    save_checkpoint(path, policy, global_step=step, config=config)
    checkpoint = load_checkpoint(path)
    assert same_weights(checkpoint.policy(), policy)
    assert (checkpoint.spec, checkpoint["config"], checkpoint["global_step"]) == (policy.spec, config, step)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"lr": np.float64(0.1)},
            r"config.lr: found np.float64\(0.1\) \(numpy.float64\), expected NoneType, bool, int",
        ),
        ({"a": [1, {"b": Path("x")}]}, r"config.a\[1\].b: found PosixPath\('x'\) \(pathlib.PosixPath\), expected None"),
        ({"a": {("x", 1): 2}}, r"config.a: found the key \('x', 1\), expected str or int keys"),
        ({"kind": type("Kind", (str,), {})("x")}, r"config.kind: found 'x' \(.*Kind\), expected NoneType"),
    ],
)
def test_a_config_that_is_not_plain_is_refused_by_its_path(
    tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        save_checkpoint(tmp_path / "c.pt", small_policy(), config=config)
    assert not list(tmp_path.iterdir())


def nested(levels: int) -> list[Any]:
    """A list in a list, and so on."""
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("kind", ["itself", "twice itself", "5,000 deep"])
def test_a_config_that_nests_too_deep_is_refused_by_its_path(tmp_path: Path, kind: str) -> None:
    value = nested(5_000)
    if kind != "5,000 deep":
        value = []
        value += [value] * (2 if kind == "twice itself" else 1)
    with pytest.raises(
        CheckpointError, match=r"^config.r\[0\]\[0\].*…: found more than 32 levels, expected at most that: flatten"
    ):
        save_checkpoint(tmp_path / "c.pt", small_policy(), config={"r": value})
    assert not list(tmp_path.iterdir())
    save_checkpoint(tmp_path / "c.pt", small_policy(), config={"r": nested(20)})
    assert load_checkpoint(tmp_path / "c.pt")["config"] == {"r": nested(20)}


def unfolding() -> list[Any]:
    """A few lists whose repr would have 10^12 characters."""
    value: list[Any] = [0] * 10
    for _ in range(11):
        value = [value] * 10
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (unfolding(), "found more than 4000000 values, expected a checkpoint's few"),
        (nested(100), "found more than 32 levels, expected a checkpoint's few"),
        (torch.zeros(1).expand(2**40), ": found a tensor that isn't stored whole, expected a dense one"),
        ([torch.zeros(1).expand(2**40)], "[0]: found a tensor that isn't stored whole"),
    ],
    ids=["aliases", "deep", "expanded", "expanded in a list"],
)
def test_a_small_file_that_claims_much_is_refused(tmp_path: Path, value: Any, message: str) -> None:
    path = tmp_path / "c.pt"
    torch.save({"policy_state_dict": {}, "odd": value}, path)
    assert path.stat().st_size < 10_000
    with pytest.raises(CheckpointError, match=f"^{re.escape(str(path))}: odd.*{re.escape(message)}"):
        load_checkpoint(path)


def test_a_file_whose_members_unfold_is_refused_before_they_do(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c.pt", small_policy(), config={"zeros": torch.zeros(1_000_000)})
    with zipfile.ZipFile(tmp_path / "c.pt") as whole, zipfile.ZipFile(tmp_path / "bomb.pt", "w") as packed:
        for member in whole.infolist():
            packed.writestr(member.filename, whole.read(member), zipfile.ZIP_DEFLATED)
    with pytest.raises(
        CheckpointError, match=r"bomb.pt: found \d+ bytes packed into \d+, expected members stored as they are: give"
    ):
        load_checkpoint(tmp_path / "bomb.pt")


@pytest.mark.parametrize("policy", [None, torch.nn.Linear(2, 2), "model.pt"])
def test_what_is_no_policy_is_told(tmp_path: Path, policy: Any) -> None:
    kind = {type(None): "NoneType", str: "str"}.get(type(policy), "torch.nn.modules.linear.Linear")
    with pytest.raises(SpecError, match=f"^policy: found {kind}, expected an ActorCritic$"):
        save_checkpoint(tmp_path / "c.pt", policy)
    with pytest.raises(SpecError, match=r"^spec: found str, expected a ModelSpec, such as MODEL_SPECS\['2.7.0'\]"):
        save_checkpoint(tmp_path / "c.pt", small_policy(), spec="2.7.0")  # type: ignore[arg-type]


def test_a_view_does_not_drag_its_whole_storage_into_the_file(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "small.pt", small_policy(), config={"mean": torch.zeros(3)})
    save_checkpoint(tmp_path / "view.pt", small_policy(), config={"mean": torch.zeros(1_000_000)[:3]})
    assert (tmp_path / "view.pt").stat().st_size == (tmp_path / "small.pt").stat().st_size


def test_a_spec_or_golden_decisions_of_another_contract_are_refused(tmp_path: Path) -> None:
    other = ppo.MODEL_SPECS["2.6.0"]
    with pytest.raises(SpecError, match=r"^spec: found features\[0\] return_1@1|^spec: found features"):
        save_checkpoint(tmp_path / "c.pt", small_policy(), spec=other)
    with pytest.raises(SpecError, match=r"^golden.spec: found .*, expected the policy's own"):
        save_checkpoint(tmp_path / "c.pt", policy_of(other, hidden_dims=(4,)), golden=small_golden())
    with pytest.raises(SpecError, match=r"^global_step: found -1, expected a whole number"):
        save_checkpoint(tmp_path / "c.pt", small_policy(), global_step=-1)


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(path, small_policy(), global_step=1)
    before = path.read_bytes()
    with pytest.raises(CheckpointError):
        save_checkpoint(path, small_policy(), global_step=2, config={"x": object()})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["c.pt"]


def test_others_may_read_it_as_they_may_any_new_file(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c.pt", small_policy())
    (tmp_path / "new").touch()
    assert (tmp_path / "c.pt").stat().st_mode == (tmp_path / "new").stat().st_mode


def test_no_place_to_write_is_told_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere/c.pt: No such file or directory: expected a place to write"):
        save_checkpoint(tmp_path / "nowhere" / "c.pt", small_policy())
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "full").touch()
    with pytest.raises(CheckpointError, match=r"folder: Is a directory: expected a place to write a checkpoint"):
        save_checkpoint(tmp_path / "folder", small_policy())
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


def test_the_deepest_that_is_written_is_read(tmp_path: Path) -> None:
    deepest = 0
    while deepest < 100:
        try:
            save_checkpoint(tmp_path / "c.pt", small_policy(), config={"r": nested(deepest + 1)})
        except CheckpointError:
            break
        deepest += 1
    assert load_checkpoint(tmp_path / "c.pt")["config"] == {"r": nested(deepest)}
    assert deepest == 31


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@settings(max_examples=tiers.EXAMPLES)
@given(st.data())
def test_a_damaged_file_is_refused_or_read_whole(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.pt"
    save_checkpoint(path, small_policy())
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans(), label="truncate"):
        del content[data.draw(st.integers(0, len(content) - 1), label="length") :]
    else:
        for _ in range(data.draw(st.integers(1, 4), label="bytes")):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        outcome = f"{path}: found {type(load_checkpoint(path)).__name__}"
    except CheckpointError as error:
        outcome = str(error)
    assert re.match(rf"{re.escape(str(path))}: (.*: )?found ", outcome)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found an empty file, expected a checkpoint: give a file that save_checkpoint or a trainer of this"),
        (b"PK\x03\x04", "found a zip archive without a whole directory (BadZipFile), expected a whole one: give"),
        (b"hello, world\n" * 50, "found bytes that start with b'hello, w', expected a checkpoint of torch.save: give"),
        (
            pickle.dumps({"policy_state_dict": {}}),
            "found a pickle of a dict alone, expected a checkpoint of torch.save",
        ),
        (os.urandom(4_000), "found "),
    ],
)
def test_what_is_no_checkpoint_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=re.escape(message)):
        load_checkpoint(tmp_path / "c.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "found a list, expected a dict with policy_state_dict"),
        ({"model": {}, "epoch": 3}, "found a dict with model, epoch, expected a dict with policy_state_dict"),
        ({}, "found a dict with nothing, expected"),
        ({"policy_state_dict": 3}, "policy_state_dict: found an int, expected a mapping of names to tensors"),
        (Path("x"), "found an object of pathlib.PosixPath, expected a dict with policy_state_dict"),
        (
            {Path("x"): 1, 2: 3},
            "found a dict with an object of pathlib.PosixPath, 2, expected a dict with policy_state",
        ),
    ],
)
def test_other_contents_are_told(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=re.escape(message)):
        load_checkpoint(tmp_path / "c.pt")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none.pt: No such file or directory: expected a checkpoint file"):
        load_checkpoint(tmp_path / "none.pt")


def test_a_checkpoint_without_architecture_says_what_to_do(tmp_path: Path) -> None:
    legacy = Checkpoint("old.pt", {"policy_state_dict": {}, "model_version": "2.6.0"})
    message = (
        "old.pt: architecture: found nothing, expected class, hidden_dims and activation: an activation can't be told"
    )
    with pytest.raises(CheckpointError, match=re.escape(message)):
        legacy.policy()
