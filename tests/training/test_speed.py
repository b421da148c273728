"""How much the trainer adds to its network; run by `make bench` on a machine that does nothing else."""

import pytest

from benchmarks import training


@pytest.mark.bench
def test_an_update_takes_hardly_more_than_its_network() -> None:
    measured = training.time_update()
    print(measured.report)
    assert measured.ratio <= training.LIMIT
