"""Speed of the features, measured beside TA-Lib."""

import pytest

from benchmarks.features import BAR_LIMIT_MICROSECONDS, TABLE_LIMIT_SECONDS, main, time_one_bar, time_table

pytestmark = pytest.mark.bench


def test_a_table_of_20000_bars_is_within_its_limit() -> None:
    assert time_table().ours <= TABLE_LIMIT_SECONDS


def test_one_new_bar_is_within_its_limit() -> None:
    assert time_one_bar().ours * 1e6 <= BAR_LIMIT_MICROSECONDS


def test_the_figures_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    printed = capsys.readouterr().out
    with capsys.disabled():
        print(f"\n{printed}")
    assert "20,000 bars × 53 features" in printed
