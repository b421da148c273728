"""Speed of loading, predicting and replaying, each measured beside its base; run by `make bench`."""

from collections.abc import Callable

import pytest

from benchmarks import loading, prediction, replay

pytestmark = pytest.mark.bench


def test_loading_is_within_its_limit_of_reading_and_building() -> None:
    assert loading.time_loading().ratio <= loading.LIMIT


def test_one_prediction_adds_little() -> None:
    added = prediction.time_prediction(1, rounds=1_000).added
    assert added * 1e6 <= prediction.ADDED_LIMIT_MICROSECONDS


def test_a_thousand_predictions_add_a_small_share() -> None:
    assert prediction.time_prediction(1_000, rounds=25).share <= prediction.ADDED_LIMIT_SHARE


def test_one_observation_takes_hardly_more_than_reading_the_weights() -> None:
    assert prediction.time_network().ratio <= prediction.NETWORK_LIMIT


def test_replay_is_within_its_limit() -> None:
    assert replay.time_replay().replay * 1e3 <= replay.LIMIT_MILLISECONDS


@pytest.mark.parametrize(
    ("main", "first"),
    [
        (loading.main, "a policy of 12 MB"),
        (prediction.main, "mlflow.pyfunc.PyFuncModel.predict"),
        (replay.main, "24 golden decisions"),
    ],
)
def test_the_figures_are_printed(main: Callable[[], None], first: str, capsys: pytest.CaptureFixture[str]) -> None:
    main()
    printed = capsys.readouterr().out
    with capsys.disabled():
        print(f"\n{printed}")
    assert printed.startswith(first)
