"""docs/features.md says of every feature what the code declares."""

import re
from pathlib import Path

from mlflow_ppo_flavor.decision.features import FEATURES

PAGE = Path(__file__).parents[3] / "docs" / "features.md"
ROW = re.compile(r"^\| `(\w+@\d+)` \| (\d+) \| (\S+) to (\S+) \| (\S+) \| (.+) \|$", re.MULTILINE)


def test_the_table_is_what_the_code_declares() -> None:
    rows = ROW.findall(PAGE.read_text())
    assert [reference for reference, *_ in rows] == list(FEATURES)
    for reference, lookback, low, high, degenerate, value in rows:
        feature = FEATURES[reference]
        assert int(lookback) == feature.lookback, reference
        assert [float(low), float(high), float(degenerate)] == [feature.low, feature.high, feature.degenerate], (
            reference
        )
        assert value
