"""Recorded values of revision 1: whoever changes one must give the feature another revision.

Recorded by `python -m tests.decision.features.test_golden`; run it for a new revision alone.
"""

import json
from pathlib import Path

import numpy as np

from mlflow_ppo_flavor.decision.features import FEATURES, compute_features
from tests.decision.features.markets import market

GOLDEN = Path(__file__).parents[2] / "golden" / "features.json"
ROWS = (259, 500, 1000, 1330, 2000, 2700, 3269)


def recorded() -> dict[str, list[float]]:
    """{reference: value at each of ROWS} on the real bars of AAPL, prices in cents."""
    values = compute_features(market("AAPL in cents"), tuple(FEATURES), start=ROWS[0])
    table = values[np.array(ROWS) - ROWS[0]]
    return {reference: [float(str(value)) for value in table[:, i]] for i, reference in enumerate(FEATURES)}


def test_values_are_those_that_were_recorded() -> None:
    """Within a rounding error of float32: libraries of other machines may round a logarithm's last bit otherwise."""
    golden = json.loads(GOLDEN.read_text())
    found = recorded()
    assert list(golden) == list(found)
    for reference, values in golden.items():
        np.testing.assert_allclose(found[reference], values, rtol=2e-7, atol=1e-12, err_msg=reference)


if __name__ == "__main__":
    rows = ",\n".join(f'  "{reference}": {values}' for reference, values in recorded().items())
    GOLDEN.write_text(f"{{\n{rows}\n}}\n")
