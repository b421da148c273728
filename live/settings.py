"""What the command line says, as what the trader works with; contradictions are refused."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from live.access import Endpoints
from live.identity import installed_trader
from live.risk import RiskLimits
from live.seal_check import SealTerms
from live.trader import Mandate, OnRefused
from live.verification import Terms
from mlflow_ppo_flavor.contract.keys import VerifyingKeys
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.trader import Trader
from mlflow_ppo_flavor.errors import SpecError

WORKSPACE_VARIABLE = "MLFLOW_WORKSPACE"
"""Where MLflow's client takes its workspace from."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of `python -m live`, as given; `--help` tells what each means."""

    model_uri: str
    symbols: tuple[str, ...]
    paper: bool
    real_money: bool
    strict_version: bool
    trader_id: str
    state_dir: Path
    trading_url: str | None
    data_url: str | None
    tracking_uri: str | None
    capital: float | None
    max_daily_loss: float | None
    on_refused: OnRefused
    adopt_position: bool
    resume: bool
    as_trader: str | None
    timeframe: str | None
    adjustment: str | None
    poll_seconds: float
    verdict_key: tuple[Path, ...]
    require_verdict: bool | None

    @property
    def reference(self) -> Reference:
        """The reference in the model's URI; SpecError for one that names a version or no registered model."""
        reference = Reference.of_uri(self.model_uri)
        if reference is None:
            expected = "models:/<name>/Production, models:/<name>/Staging or models:/<name>@<alias>"
            raise SpecError("MODEL_URI", self.model_uri, expected, "give a version an alias to trade it")
        return reference

    @property
    def trader(self) -> Trader:
        """Who trades; SpecError as `installed_trader`."""
        return installed_trader(self.trader_id, paper=self.paper, as_trader=self.as_trader)

    @property
    def endpoints(self) -> Endpoints:
        """Where it trades; BrokerError as `Endpoints.choose`."""
        return Endpoints.choose(
            paper=self.paper, trading_url=self.trading_url, data_url=self.data_url, real_money=self.real_money
        )

    @property
    def terms(self) -> Terms:
        """What models are judged by."""
        return Terms(self.strict_version, self.timeframe, self.adjustment, self.symbols)

    @property
    def seal_terms(self) -> SealTerms:
        """How the registry's verdicts are checked; SpecError for a key that can't be read, and for none where verdicts
        are required.
        """
        keys = VerifyingKeys.read(self.verdict_key)
        required = not self.paper if self.require_verdict is None else self.require_verdict
        if required and not keys:
            remedy = "`mlflow-ppo guard public-key` prints it; --require-verdict 0 trades without"
            raise SpecError("--verdict-key", "none", "the public key of the registry's gate", remedy)
        return SealTerms(keys, required, os.environ.get(WORKSPACE_VARIABLE) or None)

    @property
    def mandate(self) -> Mandate:
        """What the trader is told."""
        limits = RiskLimits(max_daily_loss=self.max_daily_loss)
        return Mandate(self.symbols, self.capital, limits, self.on_refused, self.adopt_position)
