"""`mlflow-ppo verify`: does the code that is installed here decide as the trainer's did?"""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from live.identity import installed_trader
from live.model_source import DIGEST_TAG, download
from live.verification import Terms, Verification, verify
from mlflow_ppo_flavor.announcement import attest
from mlflow_ppo_flavor.cli.connection import registry_options
from mlflow_ppo_flavor.cli.model_uri import registered_version
from mlflow_ppo_flavor.cli.report import format_option, one_line, print_json, print_verdict
from mlflow_ppo_flavor.contract.trader import Trader
from mlflow_ppo_flavor.errors import PromotionRefused, RegistryError
from mlflow_ppo_flavor.model.storage import MLMODEL

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

_STRICT = Terms(strict=True, timeframe=None, adjustment=None, symbols=())


@click.command()
@click.argument("model_uri")
@click.option("--attest", "attesting", is_flag=True, help="Tell the registry, if every decision was reproduced.")
@click.option("--trader-id", help="The trader that attests.")
@click.option("--as-trader", help="Act as an earlier trader version.  [default: the installed one]")
@registry_options
@format_option
@click.pass_context
def command(
    context: click.Context,
    model_uri: str,
    attesting: bool,
    trader_id: str | None,
    as_trader: str | None,
    tracking_uri: str | None,
    registry_uri: str | None,
    format_: str,
) -> None:
    """Replay a model's golden decisions with the code that is installed here.

    Its files are checked first; then stage by stage, from bars to quantities. MODEL_URI is a folder, runs:/… or
    models:/…; --attest needs one that names a registered version, stage or alias. Exit codes: 0 reproduced; 1 not
    reproduced, unproven, or refused for this trader; 2 unreachable. JSON: {model, version, spec_version, digest,
    outcome, unproven, trader_version, differs, stages: [{name, compared, what}], findings: [{code, kind, place, found,
    expected, remedy}], attested}; outcome is reproduced, not reproduced, unproven or refused.
    """
    if attesting != bool(trader_id):
        raise click.UsageError("--attest and --trader-id: found one of them, expected both or neither")
    trader = installed_trader(trader_id or "verify", paper=True, as_trader=as_trader)
    version = registered_version(model_uri, tracking_uri, registry_uri)
    if attesting and version is None:
        raise click.UsageError("--attest: found a model that isn't a registered version, expected models:/<name>/…")
    answer = _Answer(model_uri, version, trader, _verify(model_uri, version, trader))
    attested = _attest(answer) if attesting and answer.outcome == "reproduced" else None
    if format_ == "json":
        print_json({**answer.told(), "attested": None if attested is None else not attested.startswith("Refused")})
    else:
        answer.print()
        if attested is not None:
            click.echo(one_line(attested))
    refused = attested is not None and attested.startswith("Refused")
    context.exit(0 if answer.outcome == "reproduced" and not refused else 1)


def _verify(uri: str, version: ModelVersion | None, trader: Trader) -> Verification:
    """What the trader makes of the model; a folder is read where it is. RegistryError where it can't be had."""
    if version is None and ":/" not in uri:
        if not (Path(uri) / MLMODEL).is_file():
            expected = "expected a logged model: its folder, runs:/… or models:/…"
            raise RegistryError(f"{uri}: found no {MLMODEL} there: {expected}")
        return verify(Path(uri), None, trader, _STRICT)
    with tempfile.TemporaryDirectory(prefix="mlflow-ppo-") as folder:
        if version is None:
            return verify(download(uri, uri, folder), None, trader, _STRICT)
        root = download(uri, f"models:/{version.name}/{version.version}", folder)
        return verify(root, version.tags.get(DIGEST_TAG), trader, _STRICT)


@dataclass(frozen=True)
class _Answer:
    """What is told of one model."""

    uri: str
    version: ModelVersion | None
    trader: Trader
    found: Verification

    @property
    def outcome(self) -> str:
        """`reproduced`, `not reproduced`, `unproven`, or `refused` where it is reproduced and can't be run even so."""
        if self.found.unproven:
            return "unproven"
        if not self.found.reproduced:
            return "not reproduced"
        return "reproduced" if self.found.verdict.allowed else "refused"

    def told(self) -> dict[str, Any]:
        """The answer as JSON values."""
        stored, replayed = self.found.stored, self.found.reproduction
        stages = {} if replayed is None else replayed.to_dict()
        return {
            "model": self.uri,
            "version": None if self.version is None else str(self.version.version),
            "spec_version": None if stored is None else stored.spec.version,
            "digest": None if stored is None else stored.digest,
            "outcome": self.outcome,
            "unproven": self.found.unproven or None,
            "trader_version": self.trader.version,
            "differs": stages.get("differs"),
            "stages": stages.get("stages", []),
            "findings": [finding.to_dict() for finding in self.found.verdict.findings],
        }

    def print(self) -> None:
        """The answer as text: the fact, the stages that came out equal, then one finding a line."""
        for stage in () if self.found.reproduction is None else self.found.reproduction.stages:
            click.echo(one_line(f"  {stage.name:<13} {stage.text}"))
        print_verdict(self._fact(), self.outcome == "reproduced", self.found.verdict.findings)

    def _fact(self) -> str:
        what = f"{self.uri}: {self.outcome}"
        if self.found.unproven:
            return f"{what}: {self.found.unproven}"
        if self.found.reproduction is None:
            return f"{what}: its files can't be used"
        if not self.found.reproduced:
            return f"{what}: {self.found.reproduction.differs} differ"
        decisions = f"{self.found.reproduction.decisions} decisions"
        if not self.found.verdict.allowed:
            return f"{what}: trader {self.trader.version} reproduces its {decisions} and can't run it"
        return f"{what}: {decisions}, by trader {self.trader.version}"


def _attest(answer: _Answer) -> str:
    """What came of attesting: in one line, which begins with `Refused` where the registry's gate refused it."""
    version, reproduction, trader = answer.version, answer.found.reproduction, answer.trader
    if version is None or reproduction is None:
        raise RegistryError(f"{answer.uri}: found nothing to attest, expected a registered version that was reproduced")
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always", UserWarning)
            attest(
                version.name, version.version, reproduction, trader_id=trader.trader_id, trader_version=trader.version
            )
    except PromotionRefused as refusal:
        return str(refusal).partition("\n")[0]
    for warning in warned:
        if issubclass(warning.category, UserWarning):
            click.echo(one_line(f"Warning: {warning.message}"), err=True)
    return f"attested: {version.name} version {version.version} by {trader.trader_id} ({trader.version})"
