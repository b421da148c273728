"""Faults of a foreign file as findings: all of them are told at once."""

from __future__ import annotations

from collections.abc import Sequence

from mlflow_ppo_flavor.contract.compatibility import Finding, Verdict
from mlflow_ppo_flavor.errors import IncompatibleModel

CODE = "import"
ONNX = "log the torch module itself, where its class exists: ppo.log_model(module, spec=...) runs it through ONNX"


def fault(place: str, found: str, expected: str, remedy: str) -> Finding:
    """A reason to refuse; `expected` follows the word `expected`."""
    return Finding(CODE, "safety", place, found, f"expected {expected}", remedy)


def refusal(findings: Sequence[Finding]) -> IncompatibleModel:
    """The error that tells these findings."""
    return IncompatibleModel(Verdict(tuple(findings), strict=False))


def refuse(findings: Sequence[Finding]) -> None:
    """Raise IncompatibleModel with all findings where one of them doesn't allow it; nothing otherwise."""
    error = refusal(findings)
    if not error.verdict.allowed:
        raise error
