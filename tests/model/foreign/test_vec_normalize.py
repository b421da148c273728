"""VecNormalize files: read without running them, and refused with all that is wrong."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.errors import CheckpointError
from mlflow_ppo_flavor.model.foreign.vec_normalize import read_statistics
from tests.model.foreign.baselines import SPEC, Market, normalised

REMEDY = "give the file that VecNormalize.save wrote beside this model"


def written(path: Path, env: Any) -> str:
    path.write_bytes(pickle.dumps(env))
    return str(path)


def messages(path: str, spec: ModelSpec = SPEC) -> list[str]:
    statistics, findings = read_statistics(path, spec)
    assert statistics is None
    return [finding.message.removeprefix(f"{path}: ") for finding in findings]


def test_it_reads_what_was_written(tmp_path: Path) -> None:
    env = normalised(clip_obs=7)
    env.save(str(tmp_path / "v.pkl"))
    found, findings = read_statistics(tmp_path / "v.pkl", SPEC)
    assert found is not None
    assert findings == []
    assert (found.mean.numpy() == env.obs_rms.mean).all()
    assert (found.scale.numpy() == np.sqrt(env.obs_rms.var + env.epsilon)).all()
    assert found.clip == 7.0


def test_a_window_is_flattened_in_time_order(tmp_path: Path) -> None:
    env = VecNormalize(DummyVecEnv([lambda: Market((SPEC.window, SPEC.n_features))]))
    env.obs_rms.mean = np.arange(float(SPEC.obs_dim)).reshape(SPEC.window, SPEC.n_features)
    found, _ = read_statistics(written(tmp_path / "v.pkl", env), SPEC)
    assert found is not None
    assert found.mean.tolist() == list(range(SPEC.obs_dim))


def test_every_fault_at_once(tmp_path: Path) -> None:
    env = normalised()
    env.clip_obs, env.epsilon = 0, "tiny"
    env.obs_rms.mean = env.obs_rms.mean[1:]
    env.obs_rms.var = env.obs_rms.var.astype(np.float32)
    wanted = f"finite numbers of float64, [50] or [{SPEC.window}, {SPEC.n_features}]"
    assert messages(written(tmp_path / "v.pkl", env)) == [
        f"clip_obs: found 0, expected a number above 0: {REMEDY}",
        f"epsilon: found 'tiny', expected a number: {REMEDY}",
        f"obs_rms.mean: found float64[49], expected {wanted}: {REMEDY}",
        f"obs_rms.var: found float32[50], expected {wanted}: {REMEDY}",
    ]


@pytest.mark.parametrize("variance", [0.0, -1.0])
def test_nothing_is_divided_by_nothing(variance: float, tmp_path: Path) -> None:
    env = normalised(epsilon=0.0)
    env.obs_rms.var[3] = variance
    assert messages(written(tmp_path / "v.pkl", env)) == [
        f"obs_rms.var: found variance {variance:g} + epsilon 0 of number 3, expected more than 0: it is divided by its "
        f"root: {REMEDY}"
    ]


def test_nan_is_refused(tmp_path: Path) -> None:
    env = normalised()
    env.obs_rms.mean[0] = np.nan
    (message,) = messages(written(tmp_path / "v.pkl", env))
    assert message.startswith("obs_rms.mean: found float64[50], with NaN or infinity, expected finite numbers of")


def test_a_window_that_is_turned_around_is_refused(tmp_path: Path) -> None:
    env = VecNormalize(DummyVecEnv([lambda: Market((SPEC.n_features, SPEC.window))]))
    shape = f"[{SPEC.n_features}, {SPEC.window}]"
    assert messages(written(tmp_path / "v.pkl", env))[0] == (
        f"obs_rms.mean: found float64{shape}, expected finite numbers of float64, [50] or "
        f"[{SPEC.window}, {SPEC.n_features}]: {REMEDY}"
    )


@pytest.mark.parametrize("said", [False, np.False_, 0])
def test_observations_that_were_not_normalised(said: Any, tmp_path: Path) -> None:
    env = normalised()
    env.norm_obs = said
    assert read_statistics(written(tmp_path / "v.pkl", env), SPEC) == (None, [])


def test_another_class_of_the_same_name_is_refused(tmp_path: Path) -> None:
    env = normalised()
    content = pickle.dumps(env, protocol=2).replace(b"stable_baselines3.common.vec_env.vec_normalize", b"acme.envs", 1)
    (tmp_path / "v.pkl").write_bytes(content)
    assert messages(str(tmp_path / "v.pkl")) == [
        f"found acme.envs.VecNormalize, expected a pickled VecNormalize of stable-baselines3: {REMEDY}"
    ]


def test_observations_of_several_parts_are_refused(tmp_path: Path) -> None:
    env = normalised()
    env.obs_rms = {"bars": RunningMeanStd(shape=(50,)), "account": RunningMeanStd(shape=(6,))}
    assert messages(written(tmp_path / "v.pkl", env))[0] == (
        "obs_rms: found one for each of bars, account, expected those of one observation, not of several: a dict "
        "observation isn't a spec's"
    )


def test_what_it_is_not(tmp_path: Path) -> None:
    space = gymnasium.spaces.Discrete(3)
    assert messages(written(tmp_path / "v.pkl", space)) == [
        f"found gymnasium.spaces.discrete.Discrete, expected a pickled VecNormalize of stable-baselines3: {REMEDY}"
    ]
    assert messages(written(tmp_path / "v.pkl", {})) == [
        f"found dict, expected a pickled VecNormalize of stable-baselines3: {REMEDY}"
    ]


class Payload:
    """Creates a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def test_nothing_of_it_is_run(tmp_path: Path) -> None:
    env, mark = normalised(), tmp_path / "ran"
    env.old_reward = Payload(mark)
    found, findings = read_statistics(written(tmp_path / "v.pkl", env), SPEC)
    assert found is not None
    assert findings == []
    assert not mark.exists()
    pickle.loads((tmp_path / "v.pkl").read_bytes())
    assert mark.exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "found "),
        (b"\x80\x04\x95", "found "),
        (b"nonsense", "found "),
        (None, "No such file or directory: expected"),
    ],
)
def test_a_file_that_is_none_is_an_error(content: bytes | None, told: str, tmp_path: Path) -> None:
    path = tmp_path / "v.pkl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        read_statistics(path, SPEC)
    assert str(caught.value).removeprefix(f"{path}: ").startswith(told)
