"""PPOConfig and EpisodeConfig: round trips, refusals with dotted paths, what they derive."""

import math
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_ppo_flavor.errors import SpecError
from training.config import EpisodeConfig, PPOConfig


@st.composite
def configs(draw: st.DrawFn) -> PPOConfig:
    """Valid configs of every field."""
    minibatches, size, envs = draw(st.integers(1, 8)), draw(st.integers(2, 16)), draw(st.integers(1, 8))
    return PPOConfig(
        total_timesteps=draw(st.integers(minibatches * size * envs, 10**9)),
        num_envs=envs,
        num_steps=minibatches * size,
        num_minibatches=minibatches,
        learning_rate=draw(st.floats(1e-9, 1.0)),
        lr_schedule=draw(st.sampled_from(("linear", "constant"))),
        gamma=draw(st.floats(0, 1)),
        gae_lambda=draw(st.floats(0, 1)),
        clip_coef=draw(st.floats(1e-6, 1)),
        clip_vloss=draw(st.booleans()),
        ent_coef=draw(st.floats(0, 10)),
        vf_coef=draw(st.floats(0, 100)),
        max_grad_norm=draw(st.floats(1e-9, 1e9)),
        update_epochs=draw(st.integers(1, 1000)),
        norm_adv=draw(st.booleans()),
        target_kl=draw(st.none() | st.floats(1e-9, 100)),
        seed=draw(st.integers(0, 2**63 - 1)),
        hidden_dims=tuple(draw(st.lists(st.integers(1, 65_536), min_size=1, max_size=4))),
    )


@given(configs())
def test_ppo_config_round_trips(config: PPOConfig) -> None:
    assert PPOConfig.from_dict(config.to_dict()) == config


@given(st.integers(1, 10**9), st.floats(1e-6, 1e15), st.floats(1e-9, 1e9), st.floats(0, 0.999))
def test_episode_config_round_trips(length: int, equity: float, scale: float, ruin: float) -> None:
    episode = EpisodeConfig(length, equity, scale, ruin)
    assert EpisodeConfig.from_dict(episode.to_dict()) == episode


def test_missing_keys_have_their_defaults() -> None:
    assert PPOConfig.from_dict({}) == PPOConfig()
    assert EpisodeConfig.from_dict({"length": 7}) == EpisodeConfig(length=7)


def test_whole_numbers_are_read_as_floats() -> None:
    config = PPOConfig.from_dict({"gamma": 1, "hidden_dims": [64, 64]})
    assert type(config.gamma) is float
    assert config.hidden_dims == (64, 64)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"gamma": 1.5}, "config.gamma: found 1.5, expected a number in [0, 1]"),
        ({"gamma": math.nan}, "config.gamma: found nan, expected a number in [0, 1]"),
        ({"hidden_dims": [64, 0]}, "config.hidden_dims[1]: found 0, expected a whole number in [1, 65536]"),
        ({"hidden_dims": []}, "config.hidden_dims: found 0 layers, expected 1 to 16 layers"),
        ({"lr_schedule": "cosine"}, "config.lr_schedule: found 'cosine', expected one of linear, constant"),
        ({"norm_adv": 1}, "config.norm_adv: found 1, expected true or false"),
        ({"target_kl": 0}, "config.target_kl: found 0, expected a number in [1e-09, 100]"),
        ({"device": ""}, "config.device: found '', expected a string that isn't empty"),
        ({"device": "gpu"}, "config.device: found 'gpu', expected a device as torch names it, such as cpu or cuda:0"),
        (
            {"num_envs": 3, "num_steps": 5, "num_minibatches": 4},
            "config.num_minibatches: found 4, expected a divisor of the batch, 15 (num_envs × num_steps), "
            "that leaves 2 steps or more each",
        ),
        (
            {"num_envs": 2, "num_steps": 2, "num_minibatches": 4},
            "config.num_minibatches: found 4, expected a divisor of the batch, 4 (num_envs × num_steps), "
            "that leaves 2 steps or more each",
        ),
        (
            {"total_timesteps": 2047},
            "config.total_timesteps: found 2047, expected at least one batch, 2048 (num_envs × num_steps)",
        ),
    ],
)
def test_refusals_say_where_what_and_what_else(data: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError) as refused:
        PPOConfig.from_dict(data, "config")
    assert str(refused.value) == message
    with pytest.raises(SpecError) as constructed:
        PPOConfig(**data)  # type: ignore[arg-type]
    assert f"config.{constructed.value}" == message


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(
        SpecError, match=r"^config\.gama: found an unknown key, expected one of total_timesteps, num_envs"
    ):
        PPOConfig.from_dict({"gama": 0.9}, "config")
    with pytest.raises(
        SpecError, match=r"^episode\.lenght: found an unknown key, expected one of length, initial_equity"
    ):
        EpisodeConfig.from_dict({"lenght": 3}, "episode")
    with pytest.raises(SpecError, match=r"^length: found 0, expected a whole number in \[1, "):
        EpisodeConfig(length=0)


@given(configs())
def test_schedule_falls_linearly_or_stays(config: PPOConfig) -> None:
    last = config.num_updates - 1
    rates = [config.learning_rate_at(update) for update in (0, last // 2, last)]
    if config.lr_schedule == "constant":
        assert rates == [config.learning_rate] * 3
    else:
        whole = config.num_updates
        expected = [config.learning_rate * (whole - update) / whole for update in (0, last // 2, last)]
        assert rates == pytest.approx(expected, rel=1e-6)
        assert min(rates) > 0


def test_every_field_is_read() -> None:
    assert {field.name for field in fields(PPOConfig)} == set(PPOConfig().to_dict())
    assert PPOConfig().batch_size == 2048
    assert PPOConfig().minibatch_size == 512
    assert PPOConfig().num_updates == 48
