"""Features on disk: found by what they were computed from, and never taken from a damaged file."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlflow_ppo_flavor.decision.features import cached_features, compute_features
from mlflow_ppo_flavor.decision.features.cache import cache_name, pack, unpack
from mlflow_ppo_flavor.errors import BarsError, SpecError
from tests.decision.features.markets import random_walk

CHOSEN = ("rsi_7@1", "body@1", "month_cos@1")
GOLDEN = Path(__file__).parents[2] / "golden" / "feature_matrix.features"
MATRIX = np.array([[0.5, -1.0, 0.0], [1.625, 3.1415927, -0.0]], dtype=np.float32)


def stored_file(store: Path) -> Path:
    """The only file in a store."""
    (file,) = store.iterdir()
    return file


def test_the_second_call_reads_what_the_first_one_stored(tmp_path: Path) -> None:
    bars = random_walk(200)
    first = cached_features(bars, CHOSEN, tmp_path / "store")
    np.testing.assert_array_equal(first, compute_features(bars, CHOSEN))
    stored_file(tmp_path / "store").write_bytes(pack(first + 1))
    second = cached_features(bars, CHOSEN, tmp_path / "store")
    np.testing.assert_array_equal(second, first + 1)
    assert second.dtype == np.float32
    assert second.flags.c_contiguous


def test_other_bars_other_features_and_another_order_have_other_files(tmp_path: Path) -> None:
    bars = random_walk(200)
    tables = [bars, bars[1:], random_walk(200, seed=1)]
    choices = [CHOSEN, CHOSEN[:2], CHOSEN[::-1]]
    names = {cache_name(table, features) for table in tables for features in choices}
    assert len(names) == 9
    assert cache_name(bars, list(CHOSEN)) == cache_name(random_walk(200), CHOSEN)


@pytest.mark.parametrize("keep", [0, 1, 31, 32, 33, 100, 160, -1])
def test_a_truncated_file_is_computed_again_and_repaired(tmp_path: Path, keep: int) -> None:
    bars = random_walk(200)
    whole = cached_features(bars, CHOSEN, tmp_path)
    file = stored_file(tmp_path)
    content = file.read_bytes()
    file.write_bytes(content[:keep])
    np.testing.assert_array_equal(cached_features(bars, CHOSEN, tmp_path), whole)
    assert file.read_bytes() == content


def test_a_sound_file_of_another_shape_is_computed_again(tmp_path: Path) -> None:
    bars = random_walk(200)
    whole = cached_features(bars, CHOSEN, tmp_path)
    stored_file(tmp_path).write_bytes(pack(whole[1:]))
    np.testing.assert_array_equal(cached_features(bars, CHOSEN, tmp_path), whole)


@given(st.data())
def test_no_altered_byte_goes_unnoticed(data: st.DataObject) -> None:
    packed = bytearray(pack(MATRIX))
    place = data.draw(st.integers(0, len(packed) - 1))
    packed[place] ^= data.draw(st.integers(1, 255))
    assert unpack(bytes(packed)) is None


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, min_side=0)))
def test_a_matrix_round_trips(values: np.ndarray) -> None:
    read = unpack(pack(values))
    assert read is not None
    np.testing.assert_array_equal(read.view(np.uint32), values.view(np.uint32))


def test_the_format_is_the_golden_file() -> None:
    assert pack(MATRIX) == GOLDEN.read_bytes()
    np.testing.assert_array_equal(unpack(GOLDEN.read_bytes()), MATRIX)


def test_concurrent_writers_and_readers_leave_one_whole_file(tmp_path: Path) -> None:
    tables = [random_walk(3000, seed=9) for _ in range(16)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda bars: cached_features(bars, CHOSEN, tmp_path), tables))
    expected = compute_features(tables[0], CHOSEN)
    for result in results:
        np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(unpack(stored_file(tmp_path).read_bytes()), expected)


def test_a_store_that_cannot_be_written_is_an_os_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("in the way")
    with pytest.raises(OSError, match="store"):
        cached_features(random_walk(200), CHOSEN, tmp_path / "store")
    assert [file.name for file in tmp_path.iterdir()] == ["store"]


def test_too_few_bars_and_unknown_features_are_refused_as_without_a_store(tmp_path: Path) -> None:
    with pytest.raises(BarsError, match="found 5 bars, expected at least 120: load 115 earlier ones"):
        cached_features(random_walk(5), CHOSEN, tmp_path)
    with pytest.raises(SpecError, match=r"features\[0\]: found rsi_8@1"):
        cached_features(random_walk(5), ["rsi_8@1"], tmp_path)
    assert list(tmp_path.iterdir()) == []
