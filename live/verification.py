"""Verification: what a trader makes of a model's files before they may act: read, judged, replayed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.compatibility import Finding, Verdict, judge
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.contract.trader import Trader
from mlflow_ppo_flavor.errors import IntegrityError, PPOFlavorError
from mlflow_ppo_flavor.model.reproduction import Reproduction
from mlflow_ppo_flavor.model.storage import MLMODEL, StoredModel, read_model
from mlflow_ppo_flavor.model.verification import reproduce_model


@dataclass(frozen=True, slots=True)
class Terms:
    """What a model is judged by besides its trader: strictness, and what the trader was told to trade.

    `timeframe` and `adjustment` None take the spec's own; differing ones are safety findings.
    """

    strict: bool
    timeframe: str | None
    adjustment: str | None
    symbols: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Verification:
    """All findings on a model, and what they are of.

    `stored` is None where its files can't be used, `reproduction` None where there is nothing to replay.
    """

    stored: StoredModel | None
    verdict: Verdict
    reproduction: Reproduction | None = None

    @property
    def reproduced(self) -> bool:
        """Whether golden decisions were there, and came out equal."""
        return self.reproduction is not None and self.reproduction.reproduced

    @property
    def unproven(self) -> str:
        """Why nothing was replayed of a model that can be read, and who vouches for it; empty where something was."""
        if self.stored is None or self.reproduction is not None:
            return ""
        vouch = self.stored.vouch
        return "no golden decisions" + ("" if vouch is None else f", {vouch.text}")


def verify(root: Path, registered: str | None, trader: Trader, terms: Terms) -> Verification:
    """Verify the model in a folder for a trader; what is wrong with it becomes findings.

    `registered` is the digest that the registry read when it was registered; None where that isn't known.
    """
    try:
        stored = read_model(root)
        _check_registered(stored, registered)
        return _judged(stored, trader, terms)
    except PPOFlavorError as error:
        return Verification(None, Verdict((unusable(error),), terms.strict))


def unusable(error: Exception) -> Finding:
    """The finding of a model whose files can't be used; a stranger's error is named by its type."""
    code = "integrity" if isinstance(error, IntegrityError) else "unloadable"
    found = str(error) if isinstance(error, PPOFlavorError) else parsing.told(error)
    return Finding(code, "safety", "model", found, "expected a model as logged", "log it again")


def _judged(stored: StoredModel, trader: Trader, terms: Terms) -> Verification:
    verdict = judge(
        stored.spec,
        trader,
        proven=stored.golden is not None,
        strict=terms.strict,
        timeframe=terms.timeframe,
        adjustment=terms.adjustment,
        symbols=terms.symbols,
        vouched="" if stored.vouch is None else stored.vouch.text,
    )
    reproduction = reproduce_model(stored)
    replayed = () if reproduction is None else reproduction.findings
    findings = (*verdict.findings, *_bars_findings(stored.spec, terms), *replayed)
    return Verification(stored, Verdict(findings, terms.strict), reproduction)


def _check_registered(stored: StoredModel, registered: str | None) -> None:
    """Refuse bytes that aren't those that the registry read when the version was registered."""
    if registered is not None and registered != stored.digest:
        found = (
            f"{MLMODEL}: found digest {stored.digest}, expected {registered} as the registry read it at registration"
        )
        raise IntegrityError(f"{found}: the model was changed since, don't trade it")


def _bars_findings(spec: ModelSpec, terms: Terms) -> tuple[Finding, ...]:
    """A spec that doesn't say its bars needs a trader that was told them."""
    if spec.bars is not None or (terms.timeframe and terms.adjustment):
        return ()
    expected = "expected a timeframe and an adjustment from the spec or from the trader's flags"
    return (Finding("bars", "safety", "bars", "neither", expected, "give --timeframe and --adjustment"),)
