"""The client's side of the fleet: a trader tells the registry which reference it loads, and takes its answer."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from packaging.version import Version

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.contract.releases import CURRENT_TRADER_VERSION
from mlflow_ppo_flavor.contract.trader import Announcement, Trader
from mlflow_ppo_flavor.errors import PromotionRefused, RegistryError, SpecError

ANNOUNCE_TAG = "ppo.announce"
"""The registered-model tag that carries an announcement; the registry's gate reads it and doesn't keep it."""
_PACKAGES = ("mlflow-ppo-flavor", "mlflow", "numpy", "numba", "torch")
_CONFLICT = 409
# MLflow may answer with whole statements and pages
_LONGEST_REASON = 400


def _now() -> datetime:
    return datetime.now(UTC)


def announce_trader(
    model: str,
    *,
    trader_id: str,
    reference: str,
    trader_version: str = CURRENT_TRADER_VERSION,
    paper: bool = True,
    clock: Callable[[], datetime] = _now,
) -> Announcement:
    """Tell the registry that this trader loads `reference` (`Production`, `Staging` or `@alias`) of a registered model.

    The model is created if it isn't there: one announces for an empty reference too. `trader_version` below the
    installed one lowers what the trader computes to that release's; above it is a SpecError, as are a bad id or
    reference. On a registry without the gate it warns: nobody reads the announcement. PromotionRefused, with the gate's
    findings, where the present model can't serve this trader; RegistryError where the registry can't be reached or
    answers otherwise.
    """
    if Version(parsing.version(trader_version, "trader_version")) > Version(CURRENT_TRADER_VERSION):
        expected = f"at most {CURRENT_TRADER_VERSION}, which is installed"
        raise SpecError(
            "trader_version", trader_version, expected, "upgrade mlflow-ppo-flavor: a version can't be claimed"
        )
    trader = Trader.released(trader_version, trader_id=trader_id, paper=paper)
    said = {
        "trader": trader.to_dict(),
        "reference": {"model": model, "label": reference},
        "announced_at": clock().isoformat(),
        "packages": dict(_installed()),
    }
    announcement = Announcement.from_dict(said)
    _send(announcement)
    return announcement


def _send(announcement: Announcement) -> None:
    client, reference = MlflowClient(), announcement.reference
    value = canonical_json(announcement.to_dict()).decode()
    with answering(
        f"{reference}: not announced", "look whether the tracking and registry URI are right, and the server up"
    ):
        try:
            client.set_registered_model_tag(reference.model, ANNOUNCE_TAG, value)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            _create(client, reference.model)
            client.set_registered_model_tag(reference.model, ANNOUNCE_TAG, value)
        kept = ANNOUNCE_TAG in client.get_registered_model(reference.model).tags
    if kept:
        warnings.warn(
            f"{reference}: the registry kept the announcement as a plain tag, expected its gate to read it: "
            "start the server with --registry-store-uri ppo:<database URI>, or promotions are not checked",
            stacklevel=3,
        )


def _create(client: MlflowClient, model: str) -> None:
    """Create a registered model; another trader may have been faster."""
    try:
        client.create_registered_model(model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


@contextmanager
def answering(asked: str, remedy: str = "") -> Iterator[None]:
    """MLflow's errors as ours: PromotionRefused with the gate's findings for a conflict, RegistryError otherwise.

    `asked` begins what RegistryError says, and `remedy` ends it.
    """
    try:
        yield
    except MlflowException as error:
        reason = error.message.removeprefix(f"{error.error_code}: ")
        if error.get_http_status_code() != _CONFLICT:
            short = reason if len(reason) <= _LONGEST_REASON else reason[:_LONGEST_REASON] + "…"
            raise RegistryError(": ".join(filter(None, (asked, short, remedy)))) from error
        # a refusal arrives as JSON through a server, as keyword arguments from a store in this process
        findings = (getattr(error, "json", None) or error.json_kwargs).get("findings")
        raise PromotionRefused(reason, findings if isinstance(findings, list) else ()) from error


def _installed() -> Iterator[tuple[str, str]]:
    for package in _PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue
